"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from hope.domain.sequence import SEQUENCES

PATH = click.Path(path_type=Path)

SCHEMES = ("peds", "brats2023", "brats2021")
"""Label schemes that a mask may be in."""

HELP = {"help_option_names": ["-h", "--help"]}
"""click keeps a command's help option from its first use, which may be without the root group around it."""


REPLACE = click.option(
    "--replace", is_flag=True, help="Replace an earlier result of the same name even if it was made from other scans."
)
REPLACE_RESULT = click.option(
    "--replace", is_flag=True, help="Replace an earlier result of the same name even if it was made from other input."
)
REPLACE_FILES = click.option(
    "--replace", is_flag=True, help="Replace files that are there, whatever they hold or were made from."
)


def scan_inputs(function: Callable[..., Any]) -> Callable[..., Any]:
    """INPUT... and a flag for each sequence; the command gets the scans that were named as ``named``."""
    decorated = named_scans("The {} scan: a NIfTI file or one DICOM series.")(function)
    return click.argument("inputs", nargs=-1, type=PATH, metavar="[INPUT]...")(decorated)


def named_scans(help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A flag for each sequence (``--t1n F`` ...); the command gets those that were given as one mapping, ``named``.

    Args:
        help_text: of each flag; ``{}`` stands for the sequence's title.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def with_scans(*args: Any, **values: Any) -> Any:
            given = {sequence: values.pop(str(sequence)) for sequence in SEQUENCES}
            return function(*args, named={s: path for s, path in given.items() if path is not None}, **values)

        decorated: Callable[..., Any] = with_scans
        for sequence in reversed(SEQUENCES):
            text = help_text.format(sequence.title)
            decorated = click.option(f"--{sequence}", str(sequence), type=PATH, metavar="F", help=text)(decorated)
        return decorated

    return decorate
