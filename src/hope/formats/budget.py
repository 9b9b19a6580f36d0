"""What reading one upload has cost so far. Every reader counts here, so that compressions cannot multiply."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from hope.domain.errors import InputError
from hope.domain.limits import CASE_LIMITS, DEFAULT_LIMITS, MIB, ReadingLimits

_NEARLY = 0.85


class Budget:
    """Counts what one upload costs, and refuses what exceeds the policy.

    Args:
        limits: the policy.
        upload_bytes: size of the upload, which bounds what it may become; None if there is no single upload.
    """

    def __init__(self, limits: ReadingLimits = DEFAULT_LIMITS, upload_bytes: int | None = None) -> None:
        self.limits = limits
        self._most = limits.expanded_bytes(upload_bytes)
        self._expanded = self._elements = self._parsed = 0
        self._idle = resident_bytes()

    @property
    def left_bytes(self) -> int:
        """How many bytes may still come out of compressed ones."""
        return max(0, self._most - self._expanded)

    @property
    def memory_left(self) -> int:
        """How many more bytes of memory may be taken, here or by a converter."""
        return max(0, self.limits.memory_mb * MIB - max(0, resident_bytes() - self._idle))

    def hold(self) -> None:
        """Take what this process holds now as held by right: memory counts from here on."""
        self._idle = resident_bytes()

    def expand(self, count: int, what: str) -> None:
        """Count bytes that came out of compressed ones, or that are about to.

        Raises:
            InputError: if the upload became more than it may.
        """
        self._expanded += count
        if self._expanded > self._most:
            raise InputError(
                f"{what} unpacks to far more than it may",
                expected=f"at most {self._most / MIB:.0f} MiB out of the whole upload",
                fix="send the scans themselves, or fewer at a time",
            )

    def look_at(self, elements: int) -> None:
        """Count DICOM elements that were looked at.

        Raises:
            InputError: if they are more than may be.
        """
        self._elements += elements
        if self._elements > self.limits.elements:
            raise _too_many(self.limits.elements)

    def parse(self, elements: int) -> None:
        """Count DICOM elements that are about to be turned into values.

        Raises:
            InputError: if they are more than may be, or those before took nearly all memory that may be taken.
        """
        self._parsed += elements
        # Close to a limit of the address space every allocation is slow; far from it nothing else is.
        if resident_bytes() - self._idle > _NEARLY * self.limits.memory_mb * MIB:
            raise too_much_memory(self.limits)
        if self._parsed > self.limits.parsed_elements:
            raise _too_many(self.limits.parsed_elements)


def too_much_memory(
    limits: ReadingLimits, what: str = "the upload", fix: str = "send fewer or smaller scans"
) -> InputError:
    """The sentence for what takes more memory than it may: an upload, if nothing else is said."""
    return InputError(
        f"{what} takes more memory to read than it may", expected=f"at most {limits.memory_mb} MiB", fix=fix
    )


def _too_many(most: int) -> InputError:
    return InputError(
        "the DICOM headers hold far more elements than a study's",
        expected=f"at most {most:,} together",
        fix="export the study again, or send fewer series",
    )


_CURRENT: ContextVar[Budget | None] = ContextVar("reading_budget", default=None)


def current_budget() -> Budget:
    """The budget of the upload that is being read; a new one under the default policy where none was set."""
    return _CURRENT.get() or Budget()


@contextmanager
def reading_within(budget: Budget) -> Iterator[Budget]:
    """Let everything in the block count towards one upload."""
    token = _CURRENT.set(budget)
    try:
        yield budget
    finally:
        _CURRENT.reset(token)


@contextmanager
def reading_one_case() -> Iterator[Budget]:
    """Let everything in the block count towards one case, in the budget that holds already or in one of its own."""
    current = _CURRENT.get()
    if current is not None:
        yield current
        return
    with reading_within(Budget(CASE_LIMITS)) as budget:
        yield budget


def resident_bytes() -> int:
    """Memory that this process holds now, 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0
