"""The documentation site builds without a warning, lists every page, and loads nothing from elsewhere."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from tests.unit.test_docs import load_tool

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
LOADED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"(https?:)?//", re.IGNORECASE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; strict mode turns every warning into a failure."""
    out = tmp_path_factory.mktemp("site")
    environment = {k: v for k, v in os.environ.items() if k != "REPOSITORY_URL"} | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-q", "-d", str(out)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_page_is_built_and_names_its_disclaimer(site: Path) -> None:
    assert {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")} <= {
        path.relative_to(site) for path in site.rglob("*.html")
    }
    assert "Not a medical device" in (site / "index.html").read_text(encoding="utf-8")


def test_every_page_stands_in_the_navigation() -> None:
    listed = set(re.findall(r"[\w/.-]+\.md", (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not LOADED.search(page.read_text(encoding="utf-8")), page.name


def test_the_python_reference_shows_the_docstrings(site: Path) -> None:
    import hope

    text = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in hope.__all__:
        assert f">{name}<" in text or f".{name}" in text, name


def hooked(markdown: str, source: str, address: str) -> str:
    page = SimpleNamespace(file=SimpleNamespace(src_uri=source))
    config = {"docs_dir": str(DOCS), "repo_url": address}
    changed: str = load_tool("site_hooks").on_page_markdown(markdown, page=page, config=config)
    return changed


@pytest.mark.parametrize(
    ("markdown", "address", "expected"),
    [
        (
            "[a](../ARCHITECTURE.md#x)",
            "https://example.org/h/",
            "[a](https://example.org/h/blob/main/ARCHITECTURE.md#x)",
        ),
        ("[a](../deploy/aws)", "https://example.org/h", "[a](https://example.org/h/tree/main/deploy/aws)"),
        ("[a](../deploy/aws)", "", "a (`deploy/aws` in the repository)"),
        ("[a](tutorial.md#x)", "", "[a](tutorial.md#x)"),
        ("[a](https://example.org/)", "", "[a](https://example.org/)"),
        ("[a](nowhere.md)", "", "[a](nowhere.md)"),
        ("![a](images/preview.png)", "", "![a](images/preview.png)"),
    ],
)
def test_links_that_leave_docs_get_the_repositorys_address(markdown: str, address: str, expected: str) -> None:
    assert hooked(markdown, "index.md", address) == expected


def test_the_rest_reference_is_current() -> None:
    contract, rest = load_tool("make_contract"), load_tool("make_rest_docs")
    assert rest.REST_PAGE.read_text(encoding="utf-8") == rest.render(contract.openapi()), (
        "docs/reference/rest.md: make docs"
    )


def codes() -> Iterator[str]:
    """The first argument of every QCFlag and of the helpers that make one."""
    for path in (REPOSITORY / "src" / "hope").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            node.targets[0].id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("QCFlag", "flag"):
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant):
                    yield str(first.value)
                elif isinstance(first, ast.Name) and isinstance(constants.get(first.id), str):
                    yield str(constants[first.id])


def test_every_remark_is_explained() -> None:
    page = (DOCS / "explanation" / "remarks.md").read_text(encoding="utf-8")
    found = set(codes())
    assert len(found) > 20
    assert {code for code in found if f"`{code}`" not in page} == set()


def test_the_configuration_is_plain() -> None:
    """No plugin that sends or fetches, and strict."""
    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_constructor("!ENV", lambda load, node: load.construct_sequence(node)[-1])  # type: ignore[attr-defined]
    config = yaml.load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"), loader)  # noqa: S506 - a SafeLoader
    assert config["strict"] is True
    assert [p if isinstance(p, str) else next(iter(p)) for p in config["plugins"]] == ["search", "mkdocstrings"]
