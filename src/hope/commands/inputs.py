"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from hope.domain.case import SEQUENCES, MRSequence

Function = TypeVar("Function", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)

SCHEMES = ("peds", "brats2023", "brats2021")
"""Label schemes that a mask may be in."""

HELP = {"help_option_names": ["-h", "--help"]}
"""click keeps a command's help option from its first use, which may be without the root group around it."""


def scan_inputs(function: Function) -> Function:
    """INPUT... and --t1n, --t1c, --t2w, --t2f."""
    for sequence in reversed(SEQUENCES):
        text = f"The {sequence.title} scan: a NIfTI file or one DICOM series."
        function = click.option(f"--{sequence}", type=PATH, metavar="F", help=text)(function)
    return click.argument("inputs", nargs=-1, type=PATH, metavar="[INPUT]...")(function)


def named_scans(t1n: Path | None, t1c: Path | None, t2w: Path | None, t2f: Path | None) -> Mapping[MRSequence, Path]:
    """The scans that were named by a flag."""
    given = zip(SEQUENCES, (t1n, t1c, t2w, t2f), strict=True)
    return {sequence: path for sequence, path in given if path is not None}
