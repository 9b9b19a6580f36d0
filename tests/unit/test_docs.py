"""README and docs tell the truth: the commands they show exist, the reference is current, the links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from hope.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(hope [^`\n]+)`")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


def load_tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def calls(block: str) -> Iterator[str]:
    """Lines of a block that call `hope`, continued lines joined, comments left out."""
    for line in re.sub(r"\\\n\s*", "", block).replace("&&", "\n").splitlines():
        words = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
        if re.match(r"hope [a-z-]", words):
            yield words.split("  #")[0].split(" # ")[0]


def command_lines(text: str) -> Iterator[str]:
    """Every `hope ...` call of a page: lines of code blocks (those marked `text` are output) and inline code."""
    for language, block in FENCE.findall(text):
        if language != "text":
            yield from calls(block)
    yield from (line for line in INLINE.findall(FENCE.sub("", text)) if re.match(r"hope [a-z-]", line))


def context_of(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    """The context that click itself would make; commands remember some of its settings, so it has to be the same."""
    return click.Context(command, info_name=name, parent=parent, **command.context_settings)


def check(line: str, complete: bool = True) -> None:
    """Fail where click would not understand the line; values are not opened or converted."""
    command: click.Command = main
    words = shlex.split(line)[1:]
    context = context_of(command, "hope")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        child = command.get_command(context, words[0])
        assert child is not None, f"{line!r}: there is no command {words[0]!r}"
        context = context_of(child, words.pop(0), context)
        command = child
    try:
        values, left, _ = command.make_parser(context).parse_args(words)
    except click.UsageError as error:
        pytest.fail(f"{line!r}: {error.format_message()}")
    assert not left, f"{line!r}: nothing takes {left}"
    if complete and "help" not in values:
        missing = [p.name for p in command.params if p.required and not is_given(values.get(p.name or ""))]
        assert not missing, f"{line!r}: {missing} is missing"


def is_given(value: object) -> bool:
    """Whether a parsed value holds something: click marks an absent one with None, () or an object of its own."""
    return isinstance(value, str | int | tuple | list) and value != ()


SHOWN = [(page, line) for page in PAGES for line in command_lines(page.read_text(encoding="utf-8"))]


def name_shown(value: object) -> str:
    return value.name if isinstance(value, Path) else str(value)


@pytest.mark.parametrize(("page", "line"), SHOWN, ids=name_shown)
def test_every_command_shown_is_understood(page: Path, line: str) -> None:
    # A bare mention such as `hope segment` names a command; with more words it has to be a whole call.
    check(line, complete=len(shlex.split(line)) > 2)


def help_examples() -> Iterator[tuple[str, str]]:
    """Calls in the commands' own help: click keeps the lines of a paragraph that starts with a backspace."""
    for context in load_tool("make_cli_docs").walk(main):
        for paragraph in re.split(r"\n\s*\n", context.command.help or ""):
            if paragraph.lstrip(" \n").startswith("\b"):
                # "label:  call" and "call && call" stand on one line, "call  what it does" too.
                pieces = re.sub(r"(?<=\S)(?: {2,}| *&& *)", "\n", paragraph)
                yield from ((context.command_path, line) for line in calls(pieces))


@pytest.mark.parametrize(("name", "line"), list(help_examples()))
def test_every_example_in_the_help_is_understood(name: str, line: str) -> None:
    check(line)


def test_pages_show_commands_at_all() -> None:
    assert any(page.name == "README.md" and line.startswith("hope segment") for page, line in SHOWN)


@pytest.mark.parametrize("line", ["hope nonsense", "hope segment --no-such-option x -o y", "hope synth"])
def test_the_check_itself_can_fail(line: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(line)


def test_the_command_reference_is_current() -> None:
    tool = load_tool("make_cli_docs")
    assert tool.CLI_PAGE.read_text(encoding="utf-8") == tool.render(main), "docs/reference/cli.md is old: make docs"


def test_help_lists_exactly_the_documented_commands() -> None:
    page = (REPOSITORY / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    documented = {title.split()[1] for title in re.findall(r"^## (hope \S+)", page, re.MULTILINE)}
    text = main.get_help(context_of(main, "hope"))
    listed = set(re.findall(r"^  ([a-z][a-z-]*)  ", text.split("Commands:")[1], re.MULTILINE))
    assert listed == documented


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    targets = LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    broken = [target for target in targets if not (page.parent / target).exists()]
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_make_targets_exist(page: Path) -> None:
    known = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`(?:\$ )?make ([a-z]+)|^make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert {a or b for a, b in named} <= known


def test_version_agrees_with_the_changelog() -> None:
    from hope import __version__

    assert f"[{__version__}]" in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")


def test_constraints_hold_every_pin_of_the_project() -> None:
    def canonical(pin: str) -> str:
        name, _, version = pin.partition("==")
        return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"

    pins = re.findall(r'"([A-Za-z0-9_.-]+==[^"]+)"', (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    held = {canonical(line) for line in lines if line and not line.startswith("#")}
    assert pins
    assert {canonical(pin) for pin in pins} <= held
