"""How the engine waits for its database: a full disk is waited for too, and no pause is longer than a few seconds.

The engine tries again for ever while its database does not answer, but with pauses of up to 90 s, and a full disk ends
its workflows without a word. Both are private to it: the platform does not start with a version that lacks the names,
and tests hold what is done here with the one that constraints.txt pins.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dbos import _sys_db

from hope.adapters.database_errors import says_full

LONGEST_PAUSE_SECONDS = 5.0
"""Between two tries of the engine to reach its database."""

_callers = threading.local()


class _Clock:
    """The module `time`, whose pauses are bounded."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, LONGEST_PAUSE_SECONDS))


def install() -> None:
    """Let every wait of the engine in this process be so; again and again is fine."""
    if isinstance(getattr(_sys_db, "time"), _Clock):  # noqa: B009 - it is no public name of the module
        return
    usual: Callable[[Exception], bool] = getattr(_sys_db, "retriable_sqlite_exception")  # noqa: B009

    def waits(error: Exception) -> bool:
        return usual(error) or (says_full(error) and not getattr(_callers, "in_a_hurry", False))

    setattr(_sys_db, "time", _Clock())  # noqa: B010
    setattr(_sys_db, "retriable_sqlite_exception", waits)  # noqa: B010


@contextmanager
def at_once() -> Iterator[None]:
    """In this thread a full disk is an error: somebody waits for the answer."""
    _callers.in_a_hurry = True
    try:
        yield
    finally:
        _callers.in_a_hurry = False
