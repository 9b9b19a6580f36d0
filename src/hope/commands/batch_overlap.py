"""Several cases whose steps overlap: while the network sees one, the next is read and the one before is written."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from hope.commands.batch import for_each_case, reason_of, say_failed, say_skipped
from hope.commands.console import ConsoleProgress
from hope.domain.progress import Progress
from hope.formats.names import is_nifti_name

if TYPE_CHECKING:
    from hope.stages.intake.intake import CaseSource

Steps = Callable[["CaseSource", Progress], Generator[None, None, None]]
"""The work of one case in three steps, such as `hope.pipeline.case_steps`; the last prints its result."""


def for_each_case_overlapping(
    sources: Sequence[CaseSource], steps: Steps, skipped: Mapping[str, int] | None = None
) -> None:
    """Do the steps of every case: the first beside the second of the case before, the last beside that of the next.

    Where the network takes all processors, this would gain nothing and hold more memory: they run one after another.

    The second steps, which hold the network, run in the caller's thread, one after another. At most three cases are in
    memory. Results, printed lines and their order are those of `for_each_case`: what a case says of its progress
    is kept until the cases before it are done. After an error that ends the command nothing half-made stays behind.

    Args:
        sources: the cases.
        steps: the work of one.
        skipped: as in `for_each_case`.

    Raises:
        HopeError: the error of the one case, if there is only one.
        SystemExit: with status 3 if some cases of a batch failed.
    """
    if len(sources) < 2 or not has_spare_processor():
        for_each_case(sources, lambda source, progress: _one_by_one(steps(source, progress)), skipped)
        return
    say_skipped(skipped)
    batch = _Batch(sources, steps)
    batch.run()
    say_failed(batch.failed, len(sources), skipped)


def has_spare_processor() -> bool:
    """Whether the network leaves a processor free: it is limited to fewer threads, or more than two are there."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return usable > 2 or (limit.isdecimal() and int(limit) < usable)


def _one_by_one(steps: Generator[None, None, None]) -> None:
    for _ in steps:
        pass


def can_be_read_ahead(source: CaseSource) -> bool:
    """Whether a case is four NIfTI files: what reading DICOM takes is counted as this whole process's memory."""
    return source.dicom is None and all(is_nifti_name(path) for path in source.files.values())


class _Stopped(BaseException):
    """Ends a step in another thread when the command ends."""


class _Batch:
    """The cases that are in work, and whose progress is shown.

    Attributes:
        failed: ids of the cases that failed, in order.
    """

    def __init__(self, sources: Sequence[CaseSource], steps: Steps) -> None:
        self.failed: list[str] = []
        self._sources, self._steps = sources, steps
        self._lock = threading.Lock()
        self._begun: list[_Case] = []
        self._first = 0
        self._stopped = False

    def run(self) -> None:
        """Do all cases; what ends the command lets the steps in other threads end first."""
        reader, finisher = ThreadPoolExecutor(1, "hope-read"), ThreadPoolExecutor(1, "hope-finish")
        try:
            self._run(reader, finisher)
        finally:
            self._stopped = True
            reader.shutdown(cancel_futures=True)
            finisher.shutdown(cancel_futures=True)
            for case in self._begun:
                case.close()

    def _run(self, reader: ThreadPoolExecutor, finisher: ThreadPoolExecutor) -> None:
        reading: Future[None] | None = None
        finishing: Future[None] | None = None
        for number in range(len(self._sources)):
            if reading is not None:
                case = self._begun[number]
                reading.result()
            else:
                _wait(finishing)  # its memory would count as that of the scans
                case = self._begin(number)
                case.step()
            reading = None
            if number + 1 < len(self._sources) and can_be_read_ahead(self._sources[number + 1]):
                reading = reader.submit(self._begin(number + 1).step)
            case.step()
            _wait(finishing)
            finishing = finisher.submit(self._finish, case)
        _wait(finishing)

    def _begin(self, number: int) -> _Case:
        prefix = f"case {number + 1} of {len(self._sources)}: "
        case = _Case(self._sources[number], self._steps, _Line(prefix), lambda: self._show(number))
        self._begun.append(case)
        return case

    def _finish(self, case: _Case) -> None:
        """Do the last step of the first case that is not done, say how it ended, and let the next one speak."""
        with case.line:
            case.step()
            if case.failure:
                case.line.finish()
                self.failed.append(case.source.case_id)
                click.echo(f"hope: {case.source.case_id} failed: {case.failure}", err=True)
        with self._lock:
            self._first += 1
            if self._first < len(self._begun):
                self._begun[self._first].line.show()

    def _show(self, number: int) -> None:
        """Show what a case said if it is its turn; ends its step if the command ends."""
        if self._stopped:
            raise _Stopped
        with self._lock:
            if number == self._first:
                self._begun[number].line.show()


class _Line(ConsoleProgress):
    """Progress that is kept until it is shown, with the seconds at which it was said."""

    def __init__(self, prefix: str) -> None:
        self._now = time.monotonic()
        super().__init__(prefix=prefix, clock=lambda: self._now)
        self._kept: list[tuple[float, str, float]] = []

    def keep(self, message: str, share: float) -> None:
        """Keep what is said now."""
        self._kept.append((time.monotonic(), message, share))

    def show(self) -> None:
        """Show all that was kept."""
        while self._kept:
            self._now, message, share = self._kept.pop(0)
            self(message, share)


class _Case:
    """One case, its steps, and what it says."""

    def __init__(self, source: CaseSource, steps: Steps, line: _Line, said: Callable[[], None]) -> None:
        self.source, self.line, self.failure = source, line, ""
        self._said = said
        self._steps = steps(source, self._progress)

    def step(self) -> None:
        """Do the next step, unless one before failed; of an error the message alone is kept, not the case's memory."""
        if self.failure:
            return
        try:
            next(self._steps, None)
        except Exception as error:
            self.failure = reason_of(error)

    def close(self) -> None:
        """Leave nothing of the steps that were not done."""
        with suppress(ValueError):  # a thread could not be waited for: it cleans up itself
            self._steps.close()

    def _progress(self, message: str, share: float) -> None:
        self.line.keep(message, share)
        self._said()


def _wait(work: Future[None] | None) -> None:
    if work is not None:
        work.result()
