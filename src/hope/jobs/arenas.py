"""One heap for all threads of a process that serves for days."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

_M_ARENA_MAX = -8  # malloc.h


def share_one_arena() -> None:
    """Let all threads that begin from now on allocate from one arena of glibc's.

    Each of many threads would have one of its own, of which the largest answer that it ever read stays behind: memory
    rises for days. Threads of Python hold its lock while they allocate, so they need not wait for one another here.
    MALLOC_ARENA_MAX in the environment goes before.
    """
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(AttributeError):  # another C library than glibc
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
