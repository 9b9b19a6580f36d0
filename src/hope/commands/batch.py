"""Several cases, one after another: a bad one is reported and the rest go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from hope.commands.console import ConsoleProgress
from hope.commands.status import SOME_FAILED
from hope.domain.errors import HopeError
from hope.domain.progress import Progress
from hope.domain.wording import counted

if TYPE_CHECKING:
    from hope.stages.intake.intake import CaseSource


def for_each_case(
    sources: Sequence[CaseSource],
    work: Callable[[CaseSource, Progress], None],
    skipped: Mapping[str, int] | None = None,
) -> None:
    """Do ``work`` for every case. A single case fails like any call; of a batch, the failed ones are listed at the end.

    Args:
        sources: the cases.
        work: what is done with each.
        skipped: what of the inputs belongs to no case, in words without a name, and how many of it; said first.

    Raises:
        HopeError: the error of the one case, if there is only one.
        SystemExit: with status 3 if some cases of a batch failed.
    """
    failed: list[str] = []
    say_skipped(skipped)
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
                click.echo(f"hope: {source.case_id} failed: {reason_of(error)}", err=True)
    say_failed(failed, len(sources), skipped)


def say_skipped(skipped: Mapping[str, int] | None, beside: str = "cases") -> None:
    """Say what of the inputs belongs to no case, or to no result."""
    for reason, count in (skipped or {}).items():
        click.echo(f"hope: left out beside the {beside}: {counted(count, reason)}", err=True)


def say_failed(failed: Sequence[str], cases: int, skipped: Mapping[str, int] | None) -> None:
    """Say at the end which of the cases failed.

    Raises:
        SystemExit: with status 3 if some did.
    """
    if failed:
        summary = f"{len(failed)} of {cases} cases failed ({', '.join(failed)}); {cases - len(failed)} complete"
        click.echo(f"hope: {summary}{_beside(skipped)}", err=True)
        raise SystemExit(SOME_FAILED)


def _beside(skipped: Mapping[str, int] | None) -> str:
    count = sum((skipped or {}).values())
    return f"; {count} left out beside them (named above)" if count else ""


def reason_of(error: Exception) -> str:
    """What may be shown: our own sentences; of other errors nothing that could hold a path, and so a name."""
    if isinstance(error, HopeError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or "input/output error"
    return f"{type(error).__name__}, our own fault; run this case alone to see where"
