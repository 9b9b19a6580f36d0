"""Bodies that do what stages must not do; run in a child by test_child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

from hope.domain.errors import BundleError, InputError, OutputError, StageError
from hope.domain.progress import Progress

MARK = "SURNAME" + "MARK"  # in two parts, because a traceback shows lines of the source


def run(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    if job["do"] == "litters":
        return litters()
    return DEEDS[job["do"]](progress)


def litters() -> dict[str, Any]:
    """Leave temporary files as a library and a program of its own do, and say where."""
    ours, name = tempfile.mkstemp()
    os.close(ours)
    theirs = subprocess.run(["mktemp"], capture_output=True, text=True, check=True).stdout.strip()
    return {"artifacts": [], "result": {"ours": name, "theirs": theirs}}


def prints(progress: Progress) -> dict[str, Any]:
    print('{"done": "by a library"}')  # noqa: T201
    os.write(1, b"straight to descriptor 1\n")
    os.system("echo from a process of its own")  # noqa: S605
    return {"artifacts": [], "result": {"stdin": sys.stdin.read()}}


def tells(progress: Progress) -> dict[str, Any]:
    for number in range(1001):
        progress("work", number / 1000)
    progress("work", 7.0)
    return {"artifacts": [], "result": None}


def sleeps(progress: Progress) -> dict[str, Any]:
    progress("asleep", 0.0)
    time.sleep(60)
    return {}


def deaf(progress: Progress) -> dict[str, Any]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return sleeps(progress)


def quotes(progress: Progress) -> dict[str, Any]:
    raise ValueError(f"PatientName {MARK} is too long")


def wraps(progress: Progress) -> dict[str, Any]:
    try:
        return quotes(progress)
    except ValueError as error:
        raise StageError("registration diverged") from error


def wrong_input(progress: Progress) -> dict[str, Any]:
    raise InputError("t1c is an empty image", got="every voxel is 0", fix="export the scan again")


def refuses(kind: type[Exception]) -> Callable[[Progress], dict[str, Any]]:
    def body(progress: Progress) -> dict[str, Any]:
        raise kind("it is like this")

    return body


def full(progress: Progress) -> dict[str, Any]:
    raise OSError(28, "No space left on device", f"/some/{MARK}/path")


def hungry(progress: Progress) -> dict[str, Any]:
    raise MemoryError


def not_json(progress: Progress) -> dict[str, Any]:
    return {"artifacts": [], "result": {"volume": float("nan")}}


DEEDS: dict[str, Callable[[Progress], dict[str, Any]]] = {
    "prints": prints,
    "tells": tells,
    "sleeps": sleeps,
    "deaf": deaf,
    "quotes": quotes,
    "wraps": wraps,
    "wrong_input": wrong_input,
    "bundle": refuses(BundleError),
    "output": refuses(OutputError),
    "full": full,
    "hungry": hungry,
    "not_json": not_json,
}
