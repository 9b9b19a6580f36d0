"""The root command: its list is written without importing what it lists."""

from __future__ import annotations

import subprocess
import sys

import click
from click.testing import CliRunner

from hope.cli import COMMANDS, main


def test_the_list_says_what_the_commands_say() -> None:
    context = click.Context(main)
    for name, said in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None and said == command.get_short_help_str(200), name
    shown = CliRunner().invoke(main, ["--help"]).stdout
    assert all(f"\n  {name} " in shown for name in COMMANDS)


def test_help_needs_neither_numpy_nor_pydantic_nor_any_command() -> None:
    code = (
        "import sys\nfrom hope.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted(m for m in sys.modules if m in ('numpy', 'pydantic') or m.startswith('hope.commands.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['hope.commands.inputs', 'hope.commands.status']"
