"""The build of the web page: rebuilt when sources change, and clear about what is missing where it cannot be built."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def page() -> Any:
    return load(REPOSITORY / "tools" / "build_page.py")


@pytest.fixture
def viewer(tmp_path: Path) -> Path:
    """Sources of a page."""
    folder = tmp_path / "viewer"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "main.ts").write_text("export {}")
    for name in ("index.html", "package.json", "package-lock.json", "vite.config.ts"):
        (folder / name).write_text(name)
    return folder


def test_digest_changes_with_every_source_and_its_name(page: Any, viewer: Path) -> None:
    seen = {page.digest(viewer)}
    for change in (
        lambda: (viewer / "src" / "main.ts").write_text("export {} "),
        lambda: (viewer / "src" / "main.ts").rename(viewer / "src" / "other.ts"),
        lambda: (viewer / "package-lock.json").write_text("{}"),
        lambda: (viewer / "src" / "more.css").write_text(""),
    ):
        change()
        seen.add(page.digest(viewer))
    assert len(seen) == 5


def test_digest_ignores_packages_and_tests(page: Any, viewer: Path) -> None:
    before = page.digest(viewer)
    (viewer / "node_modules").mkdir()
    (viewer / "node_modules" / "x.js").write_text("")
    (viewer / "tests").mkdir()
    (viewer / "tests" / "a.test.ts").write_text("")
    (viewer / "src" / "b.test.ts").write_text("")
    assert page.digest(viewer) == before


@pytest.fixture
def fake_npm(monkeypatch: pytest.MonkeyPatch, page: Any) -> list[tuple[str, ...]]:
    """An npm that writes a page at once, and the commands that it was given."""
    ran: list[tuple[str, ...]] = []

    def npm(viewer: Path, *arguments: str) -> None:
        ran.append(arguments)
        if arguments[0] == "ci":
            (viewer / "node_modules").mkdir(exist_ok=True)
        else:
            out = Path(arguments[arguments.index("--outDir") + 1])
            out.mkdir(parents=True)
            (out / "index.html").write_text(f"built {len(ran)}")

    monkeypatch.setattr(page, "_npm", npm)
    monkeypatch.setattr(page, "node_problem", str)
    return ran


def test_builds_once_and_again_only_after_a_change(
    page: Any, viewer: Path, tmp_path: Path, fake_npm: list[tuple[str, ...]]
) -> None:
    static = tmp_path / "web" / "static"
    assert page.ensure(viewer, static, print) is True
    assert [arguments[0] for arguments in fake_npm] == ["ci", "run"]
    assert "--ignore-scripts" in fake_npm[0]
    assert page.ensure(viewer, static, print) is False
    (viewer / "src" / "main.ts").write_text("changed")
    assert page.ensure(viewer, static, print) is True
    assert [arguments[0] for arguments in fake_npm] == ["ci", "run", "run"], "same lock file: nothing to install"
    (viewer / "package-lock.json").write_text("changed")
    assert page.ensure(viewer, static, print) is True
    assert [arguments[0] for arguments in fake_npm[3:]] == ["ci", "run"]
    assert [path.name for path in static.parent.iterdir()] == ["static"], "no scratch folder is left"


def test_failed_build_leaves_the_old_page(
    page: Any, viewer: Path, tmp_path: Path, fake_npm: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    static = tmp_path / "static"
    page.ensure(viewer, static, print)
    old = (static / "index.html").read_text()
    (viewer / "src" / "main.ts").write_text("broken")

    def fails(viewer: Path, *arguments: str) -> None:
        raise page.PageError("npm run build failed")

    monkeypatch.setattr(page, "_npm", fails)
    with pytest.raises(page.PageError):
        page.ensure(viewer, static, print)
    assert (static / "index.html").read_text() == old
    assert not page.is_current(viewer, static)


def test_no_node_is_said_with_advice(page: Any, viewer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(page.PageError, match=r"not installed.*20\.19.*HOPE_SKIP_PAGE"):
        page.build(viewer, tmp_path / "static")


@pytest.mark.parametrize(
    ("said", "usable"), [("v18.19.0", False), ("v20.18.9", False), ("v20.19.0", True), ("?", False)]
)
def test_old_node_is_told_from_a_new_one(
    page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, usable: bool
) -> None:
    for name in ("node", "npm"):
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\necho '{said}'\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (page.node_problem() == "") is usable


class App:
    """What hatch shows to the user."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def display_warning(self, message: str) -> None:
        self.warnings.append(message)

    def display_info(self, message: str) -> None:
        """Not looked at."""


@pytest.fixture
def hook(tmp_path: Path, viewer: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[Any, App]]:
    """The build hook over a source tree without Node.js; hatchling itself is only there while a wheel is built."""
    interface = types.ModuleType("hatchling.builders.hooks.plugin.interface")
    interface.BuildHookInterface = object  # type: ignore[attr-defined]
    for name in ("hatchling", "hatchling.builders", "hatchling.builders.hooks", "hatchling.builders.hooks.plugin"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "build_page.py").write_text((REPOSITORY / "tools" / "build_page.py").read_text())
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.delenv("HOPE_SKIP_PAGE", raising=False)
    made = load(REPOSITORY / "hatch_build.py").PageBuildHook()
    made.root, made.app = str(tmp_path), App()
    return lambda: (made, made.app)


def test_editable_install_without_node_goes_on_and_warns(hook: Callable[[], tuple[Any, App]]) -> None:
    made, app = hook()
    made.initialize("editable", {})
    assert len(app.warnings) == 1
    assert "Node.js" in app.warnings[0]


def test_wheel_without_node_and_without_a_page_fails_with_advice(hook: Callable[[], tuple[Any, App]]) -> None:
    made, _ = hook()
    with pytest.raises(RuntimeError, match="released wheel"):
        made.initialize("standard", {})


def test_wheel_without_node_ships_the_page_that_is_there(hook: Callable[[], tuple[Any, App]], tmp_path: Path) -> None:
    made, app = hook()
    static = tmp_path / "src" / "hope" / "web" / "static"
    static.mkdir(parents=True)
    (static / "index.html").write_text("old")
    made.initialize("standard", {})
    assert "may be older" in app.warnings[0]


def test_wheel_of_a_current_page_needs_no_node(
    hook: Callable[[], tuple[Any, App]], page: Any, viewer: Path, tmp_path: Path
) -> None:
    made, app = hook()
    static = tmp_path / "src" / "hope" / "web" / "static"
    static.mkdir(parents=True)
    (static / "index.html").write_text("current")
    (static / page.STAMP).write_text(page.digest(viewer))
    made.initialize("standard", {})
    assert app.warnings == []


def test_page_can_be_left_out(hook: Callable[[], tuple[Any, App]], monkeypatch: pytest.MonkeyPatch) -> None:
    made, app = hook()
    monkeypatch.setenv("HOPE_SKIP_PAGE", "1")
    made.initialize("standard", {})
    assert len(app.warnings) == 1


def test_lock_file_names_no_registry() -> None:
    lock = (REPOSITORY / "viewer" / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert '"integrity"' in lock
