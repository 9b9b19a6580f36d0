"""Several cases, one after another: a bad one is reported and the rest go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from hope.commands.console import ConsoleProgress
from hope.commands.status import SOME_FAILED
from hope.domain.errors import HopeError
from hope.domain.progress import Progress

if TYPE_CHECKING:
    from hope.stages.intake.intake import CaseSource


def for_each_case(sources: Sequence[CaseSource], work: Callable[[CaseSource, Progress], None]) -> None:
    """Do ``work`` for every case. A single case fails like any call; of a batch, the failed ones are listed at the end.

    Raises:
        HopeError: the error of the one case, if there is only one.
        SystemExit: with status 3 if some cases of a batch failed.
    """
    failed: list[str] = []
    for number, source in enumerate(sources, start=1):
        prefix = f"case {number} of {len(sources)}: " if len(sources) > 1 else ""
        with ConsoleProgress(prefix=prefix) as progress:
            try:
                work(source, progress)
            except Exception as error:
                if len(sources) == 1:
                    raise
                progress.finish()
                failed.append(source.case_id)
                click.echo(f"hope: {source.case_id} failed: {_reason(error)}", err=True)
    if failed:
        done = len(sources) - len(failed)
        click.echo(
            f"hope: {len(failed)} of {len(sources)} cases failed ({', '.join(failed)}); {done} complete", err=True
        )
        raise SystemExit(SOME_FAILED)


def _reason(error: Exception) -> str:
    """What may be shown: our own sentences; of other errors nothing that could hold a path, and so a name."""
    if isinstance(error, HopeError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or "input/output error"
    return f"{type(error).__name__}, our own fault; run this case alone to see where"
