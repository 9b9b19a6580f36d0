"""The built page is served right, explains itself when it is not built, and is small at first sight."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from hope.web.page import BUILT, accepts_gzip, page_router

FIRST_PAINT = 50_000
SCRIPT = b"export const words = 'the same words over and over, so that packing pays';\n" * 20


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """A bundle as the build leaves it."""
    assets = tmp_path / "static" / "assets"
    assets.mkdir(parents=True)
    (assets.parent / "index.html").write_text("<!doctype html><title>page</title>")
    (assets.parent / ".built-from").write_text("secret stamp")
    (assets / "index-Ab12_-Cd.js").write_bytes(SCRIPT)
    (assets / "index-Ab12_-Cd.js.gz").write_bytes(gzip.compress(SCRIPT))
    (assets / "index-Ab12_-Cd.css").write_text("body{}")
    (assets / "plain.svg").write_text("<svg/>")
    (assets / "notes.txt").write_text("not for the web")
    return assets.parent


def client(static: Path) -> TestClient:
    app = FastAPI()
    app.include_router(page_router(static))
    return TestClient(app)


def test_page_is_asked_for_again_each_time(static: Path) -> None:
    answer = client(static).get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert "<title>page</title>" in answer.text


def test_licences_are_shown_as_text(static: Path) -> None:
    assert client(static).get("/licences.md").status_code == 404
    (static / "licences.md").write_text("# Licences")
    answer = client(static).get("/licences.md")
    assert (answer.text, answer.headers["content-type"]) == ("# Licences", "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("index-Ab12_-Cd.js", "text/javascript"), ("index-Ab12_-Cd.css", "text/css"), ("plain.svg", "image/svg+xml")],
)
def test_assets_have_their_types(static: Path, name: str, kind: str) -> None:
    assert client(static).get(f"/assets/{name}").headers["content-type"].split(";")[0] == kind


def test_only_hashed_names_are_kept_for_good(static: Path) -> None:
    here = client(static)
    assert "immutable" in here.get("/assets/index-Ab12_-Cd.js").headers["cache-control"]
    assert here.get("/assets/plain.svg").headers["cache-control"] == "no-cache"


def test_packed_file_goes_to_whom_can_unpack_it(static: Path) -> None:
    here = client(static)
    packed = here.get("/assets/index-Ab12_-Cd.js", headers={"Accept-Encoding": "gzip, br"})
    plain = here.get("/assets/index-Ab12_-Cd.js", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(SCRIPT)
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content == SCRIPT
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("br;q=1.0, gzip;q=0.5", True),
        ("*", True),
        ("GZIP", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("*, gzip; q=0.0", False),
        ("gzip;q=nonsense", True),
        ("gzip;q=.", False),
    ],
)
def test_accept_encoding(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


@pytest.mark.parametrize(
    "path", ["/assets/none.js", "/assets/notes.txt", "/assets/.built-from", "/assets/..%2findex.html", "/assets/%2e%2e"]
)
def test_nothing_else_is_served(static: Path, path: str) -> None:
    assert client(static).get(path).status_code == 404


def test_head_answers_without_a_body(static: Path) -> None:
    answer = client(static).head("/assets/index-Ab12_-Cd.css")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "6")


def test_page_that_is_not_built_says_how_to_build_it(tmp_path: Path) -> None:
    here = client(tmp_path / "nothing")
    answer = here.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-store"
    assert "make page" in answer.text
    assert "/openapi.json" in answer.text
    assert "<script" not in answer.text and "style=" not in answer.text
    assert here.get("/assets/index.js").status_code == 404


def test_bundle_built_while_the_server_runs_shows_at_once(tmp_path: Path, static: Path) -> None:
    here = client(tmp_path / "later")
    assert "make page" in here.get("/").text
    shutil.copytree(static, tmp_path / "later")
    assert "<title>page</title>" in here.get("/").text


@pytest.fixture
def built() -> Path:
    """The real bundle; `make page` builds it."""
    if not (BUILT / "index.html").is_file():
        message = "the web page is not built: run `make page`"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return BUILT


def test_first_paint_is_small(built: Path) -> None:
    page = (built / "index.html").read_text()
    named = re.findall(r'(?:src|href)="(/assets/[^"]+\.(?:js|css))"', page)
    assert any(name.endswith(".js") for name in named) and any(name.endswith(".css") for name in named)
    sizes = {name: len(gzip.compress((built / name[1:]).read_bytes(), 9)) for name in named}
    sizes["/"] = len(page.encode())
    assert sum(sizes.values()) < FIRST_PAINT, sizes


@pytest.mark.parametrize(("part", "most"), [("scene", 50_000), ("niivue", 330_000)])
def test_the_viewer_keeps_its_budget(built: Path, part: str, most: int) -> None:
    (script,) = (built / "assets").glob(f"{part}-*.js")
    assert len(gzip.compress(script.read_bytes(), 9)) < most


def test_bundle_needs_no_other_host_and_no_inline_code(built: Path) -> None:
    page = (built / "index.html").read_text()
    assert not re.findall(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\bstyle=|\bon[a-z]+=", page)
    assert not re.findall(r'(?:src|href)="(?!/assets/)[^"]*"', page)
    for path in sorted((built / "assets").glob("index-*.css")):
        assert not re.findall(r"url\(\s*[\"']?(?:https?:)?//|@import", path.read_text())


def test_packed_files_hold_what_the_plain_ones_hold(built: Path) -> None:
    packed = sorted((built / "assets").glob("*.gz"))
    assert packed
    for path in packed:
        assert gzip.decompress(path.read_bytes()) == path.with_suffix("").read_bytes(), path.name
