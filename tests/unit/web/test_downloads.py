"""Downloads come whole, with their hash, or visibly not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.unit.web.fakes import Gateway
from tests.unit.web.test_api import done_case, problem_of

from hope.contract.job import DamagedError
from hope.web.downloads import media_type_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def done(gateway: Gateway) -> AsyncIterator[tuple[Gateway, httpx.AsyncClient, str]]:
    """A finished case."""
    async with gateway.client() as client:
        await client.post("/api/session")
        yield gateway, client, await done_case(gateway, client)


def stored(gateway: Gateway, name: str) -> Path:
    """Where a file's bytes lie."""
    return next(path for path in gateway.blob_files() if path.name == name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.nii.gz", "application/gzip"),
        ("a.png", "image/png"),
        ("a.html", "text/html; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.csv", "text/csv; charset=utf-8"),
        ("a.mz3", "application/octet-stream"),
        ("a.nii", "application/octet-stream"),
    ],
)
def test_types(name: str, kind: str) -> None:
    assert media_type_of(name) == kind


async def test_head_tells_all_but_the_bytes(done: tuple[Gateway, httpx.AsyncClient, str]) -> None:
    _, client, case_id = done
    path = f"/api/cases/{case_id}/files/preview.png"
    got, head = await client.get(path), await client.head(path)
    assert head.status_code == 200 and head.content == b""
    for name in ("content-length", "content-type", "etag", "content-disposition", "accept-ranges"):
        assert head.headers[name] == got.headers[name]
    assert got.headers["accept-ranges"] == "none" and int(got.headers["content-length"]) == len(got.content)


async def test_an_unchanged_file_is_not_sent_again(done: tuple[Gateway, httpx.AsyncClient, str]) -> None:
    _, client, case_id = done
    path = f"/api/cases/{case_id}/files/preview.png"
    tag = (await client.get(path)).headers["etag"]
    for header in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = await client.get(path, headers={"If-None-Match": header})
        assert answer.status_code == 304 and answer.content == b"" and answer.headers["etag"] == tag
    assert (await client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_no_browser_keeps_a_scan_or_result_on_its_disk(done: tuple[Gateway, httpx.AsyncClient, str]) -> None:
    _, client, case_id = done
    here = f"/api/cases/{case_id}"
    names = [file["name"] for file in (await client.get(f"{here}/files")).json()["files"]]
    paths = [*(f"{here}/files/{name}" for name in names), f"{here}/series/t1c"]
    paths += [f"{here}/files/{names[0]}?inline=1", f"{here}/events?follow=false", f"{here}/diagnostics"]
    paths += ["/api/session/results.zip", "/api/session/cases.csv", "/api/cases", here]
    for path in paths:
        answer = await client.get(path)
        assert answer.status_code == 200, path
        assert "no-store" in answer.headers["cache-control"], path
    again = {"If-None-Match": (await client.get(paths[0])).headers["etag"]}
    assert "no-store" in (await client.get(paths[0], headers=again)).headers["cache-control"]


async def test_a_report_may_do_nothing(done: tuple[Gateway, httpx.AsyncClient, str]) -> None:
    _, client, case_id = done
    answer = await client.get(f"/api/cases/{case_id}/files/report.html", params={"inline": "1"})
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'") and "script-src" not in policy
    assert answer.headers["content-disposition"] == 'inline; filename="report.html"'
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_missing_bytes_are_a_problem_at_once(done: tuple[Gateway, httpx.AsyncClient, str]) -> None:
    gateway, client, case_id = done
    stored(gateway, "result.json").unlink()
    body = problem_of(await client.get(f"/api/cases/{case_id}/files/result.json"), 500)
    assert str(gateway.folder) not in body["detail"] and case_id not in body["detail"]


async def test_changed_bytes_of_a_small_file_are_a_problem_at_once(
    done: tuple[Gateway, httpx.AsyncClient, str],
) -> None:
    gateway, client, case_id = done
    path = stored(gateway, "result.json")
    path.write_bytes(path.read_bytes().replace(b"done", b"dome").replace(b"1.0", b"2.0"))
    problem_of(await client.get(f"/api/cases/{case_id}/files/result.json"), 500)


async def test_changed_bytes_of_a_large_file_cut_the_answer_off(
    done: tuple[Gateway, httpx.AsyncClient, str], monkeypatch: Any
) -> None:
    """The last chunk, with which the hash is known to be wrong, is never sent, and the answer is left incomplete."""
    gateway, client, case_id = done

    def read(*_: Any) -> Any:
        yield b"x" * 100
        raise DamagedError("the stored file result.json is damaged")

    monkeypatch.setattr(gateway.context.blobs, "read", read)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    cookie = dict(client.cookies)["hope_session"]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": f"/api/cases/{case_id}/files/result.json",
        "raw_path": b"",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8080"), (b"cookie", f"hope_session={cookie}".encode())],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 8080),
    }
    await gateway.app(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 200
    assert b"".join(message.get("body", b"") for message in sent[1:]) == b"x" * 100
    assert all(message.get("more_body") for message in sent[1:])
