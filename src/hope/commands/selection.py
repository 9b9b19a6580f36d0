"""hope segment --dry-run: which scans of a case would be taken, and why not the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import click

from hope.domain.progress import Progress
from hope.formats.private_directory import private_directory

if TYPE_CHECKING:
    from hope.stages.intake.case_finding import CaseSource

_COLUMNS = ("series", "shows", "plane", "taken_as", "confidence", "reason")


def print_selection(source: CaseSource, progress: Progress) -> None:
    """Print the table of one case; nothing is run and nothing is written.

    Raises:
        InputError: if it cannot be told which scan is which; DICOM series are listed before.
    """
    from hope.domain.case import SEQUENCES
    from hope.domain.errors import AmbiguousInputError
    from hope.stages.intake.scan_reading import resolve_all, unsettled

    if source.problem:
        raise source.problem
    with private_directory() as scratch:
        try:
            resolved = resolve_all(source, scratch)
        except AmbiguousInputError:
            # The question that follows is answered by looking at this.
            progress("intake: asks", 1.0)
            _print_table(unsettled(source))
            raise
    progress("intake: done", 1.0)
    click.echo(f"\n{source.case_id}")
    for sequence in SEQUENCES:
        found = resolved.found.get(sequence)
        said = f"{found.confidence:.2f}  {found.reason}" if found else "not given"
        click.echo(f"  {sequence}  {said}")
    if resolved.selection:
        click.echo("")
        _print_table(resolved.selection)
    for flag in (*source.flags, *resolved.flags, *(f for one in resolved.found.values() for f in one.flags)):
        click.echo(f"  {'!' if flag.severity == 'warning' else '-'} {flag.reason}")


def _print_table(rows: Iterable[Mapping[str, object]]) -> None:
    """Print one line for each series; nothing where there is none."""
    rows = list(rows)
    if not rows:
        return
    cells = [[name.replace("_", " ") for name in _COLUMNS]]
    cells += [[_word(row.get(name)) for name in _COLUMNS] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(_COLUMNS) - 1)]
    for line in cells:
        click.echo(
            "  " + "  ".join([*(word.ljust(width) for word, width in zip(line, widths, strict=False)), line[-1]])
        )


def _word(value: object) -> str:
    return "-" if value is None else str(value)
