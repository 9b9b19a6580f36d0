"""A log handler that counts what repeats: a client must not be able to fill the disk with one sentence."""

from __future__ import annotations

import copy
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TextIO

BURST: Final = 10
WINDOW_SECONDS: Final = 60.0
MOST_KINDS: Final = 500

_VARIABLE: Final = re.compile(r"0x[0-9a-f]+|\d+", re.IGNORECASE)
_LONGEST: Final = 300


@dataclass
class _Kind:
    """Lines of one kind: when the first one came, how many were written, and how many were only counted."""

    since: float
    written: int = 0
    counted: int = 0
    last: logging.LogRecord | None = None


class CountingHandler(logging.StreamHandler[TextIO]):
    """Writes the first lines of a kind in each minute, and then one line with the number of those that it left out.

    Two lines are of one kind if they differ in numbers only. Lines about calls that succeeded are always written: the
    rate limit bounds them, and each has a request id that a user may ask for.

    Args:
        stream: where to write.
        clock: seconds that only grow; replaced in tests.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._kinds: OrderedDict[tuple[Any, ...], _Kind] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it. The caller holds the handler's lock."""
        now = self._clock()
        self._end_windows(now - WINDOW_SECONDS)
        status = getattr(record, "status", None)
        if isinstance(status, int) and 0 < status < 400:
            super().emit(record)
            return
        kind = self._kinds.setdefault(_key(record), _Kind(now))
        if kind.written < BURST:
            kind.written += 1
            super().emit(record)
        else:
            kind.counted, kind.last = kind.counted + 1, record
        while len(self._kinds) > MOST_KINDS:
            self._tell(self._kinds.popitem(last=False)[1])

    def close(self) -> None:
        """Tell what is counted so far."""
        self.acquire()
        try:
            self._end_windows(float("inf"))
        finally:
            self.release()
        super().close()

    def _end_windows(self, before: float) -> None:
        while self._kinds:
            key, kind = next(iter(self._kinds.items()))
            if kind.since > before:
                return
            del self._kinds[key]
            self._tell(kind)

    def _tell(self, kind: _Kind) -> None:
        if kind.last is not None:
            record = copy.copy(kind.last)
            record.repeated = kind.counted
            super().emit(record)


def _key(record: logging.LogRecord) -> tuple[Any, ...]:
    """What two lines of one kind have in common; an exception counts by its type."""
    try:
        text = record.getMessage()
    except (TypeError, ValueError, KeyError):
        text = str(record.msg)
    error = type(record.exc_info[1]).__name__ if record.exc_info else ""
    facts = tuple(getattr(record, name, None) for name in ("route", "method", "status", "error", "where"))
    return record.name, record.levelno, _VARIABLE.sub("#", text[:_LONGEST]), error, facts
