"""Writes docs/reference/cli.md from the commands themselves: `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

WIDTH = 100
CLI_PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"

HEAD = """# Command line

<!-- Written by `make docs` from the commands' own help. Change the help text in src/hope/commands, not this page. -->
"""


def walk(command: click.Command, name: str = "hope", parent: click.Context | None = None) -> Iterator[click.Context]:
    """Yield a context for every visible command in the groups' own order, made as click makes it; the root first."""
    settings = {**command.context_settings, "terminal_width": WIDTH}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            if child is None:
                raise LookupError(f"{context.command_path} lists {child_name} but does not have it")
            if not child.hidden:
                yield from walk(child, child_name, context)


def render(root: click.Command) -> str:
    """Give the page's Markdown text."""
    sections = [f"## {context.command_path}\n\n```text\n{context.get_help().rstrip()}\n```\n" for context in walk(root)]
    return "\n".join([HEAD, *sections])


def main() -> None:
    """Write the page."""
    from hope.cli import main as root

    CLI_PAGE.parent.mkdir(parents=True, exist_ok=True)
    CLI_PAGE.write_text(render(root), encoding="utf-8")
    sys.stdout.write(f"wrote {CLI_PAGE.name}\n")


if __name__ == "__main__":
    main()
