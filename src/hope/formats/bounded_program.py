"""Another program as a child with limits: `run_bounded` starts it, and this file as a script becomes it.

The script imports nothing of HOPE and nothing beyond the standard library, so that it starts in a moment.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def run_bounded(
    command: Sequence[str], limits: Mapping[str, int], seconds: float
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end. It never outlives the thread that called this, on Linux not even after kill -9.

    Elsewhere a caller that is killed alone leaves it to whoever kills the caller's process group, as
    `hope.jobs.processes` does, and to its limit of processor time.

    Args:
        command: path of the program, and its arguments.
        limits: resource (``AS``, ``FSIZE``, ``CPU``, ``CORE``) -> most of it, in bytes or seconds. One that the system
            does not know is left out; without POSIX all are.
        seconds: wall time after which it is killed.

    Returns:
        exit status (negative for a signal) and output.

    Raises:
        subprocess.TimeoutExpired: if it took longer; it is dead then.
    """
    bounded = bounded_command(command, limits)
    return subprocess.run(bounded, capture_output=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL)


def bounded_command(command: Sequence[str], limits: Mapping[str, int]) -> list[str]:
    """The command line that runs a program with limits, and ends it when the calling thread does (see `run_bounded`).

    Args:
        command: path of the program, and its arguments.
        limits: as of `run_bounded`.
    """
    if os.name != "posix":
        return list(command)
    stated = [f"{name}={most}" for name, most in limits.items()]
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *stated, "--", *command]


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process with its parent; the wish outlives ``exec``."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it died before the kernel was asked


def _limit(name: str, most: int) -> None:
    import resource

    kind = getattr(resource, f"RLIMIT_{name}", None)
    if kind is None:
        return
    hard = resource.getrlimit(kind)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS knows RLIMIT_AS and refuses to set it
        resource.setrlimit(kind, (most, most))


def _become(arguments: Sequence[str]) -> None:
    """Take on the limits and become the program.

    Args:
        arguments: process id of the parent, limits as ``NAME=NUMBER``, ``--``, the program and its arguments.
    """
    end = arguments.index("--")
    parent, *stated = arguments[:end]
    _die_with(int(parent))
    for limit in stated:
        name, _, most = limit.partition("=")
        _limit(name, int(most))
    program = list(arguments[end + 1 :])
    os.execv(program[0], program)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    _become(sys.argv[1:])
