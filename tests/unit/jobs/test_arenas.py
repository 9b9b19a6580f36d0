"""Threads of a process of the platform share one arena of the C library's heap."""

from __future__ import annotations

import subprocess
import sys

import pytest

MEASURED = """
import ctypes, re, sys, tempfile, threading
from pathlib import Path

if sys.argv[1] == "shared":
    from hope.jobs.arenas import share_one_arena
    share_one_arena()
def allocate():
    ready.wait()  # all live at once, else one arena goes from thread to thread
    ctypes.CDLL(None).free(ctypes.c_void_p(libc.malloc(1000)))
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
ready = threading.Barrier(6)
threads = [threading.Thread(target=allocate) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.fdopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fdopen(file.fileno(), b"w"))
    libc.malloc_info(0, stream)
    libc.fflush(stream)
    print(len(re.findall("<heap ", Path(file.name).read_text())))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's arenas")
def test_threads_share_one_arena() -> None:
    counts = {
        how: int(
            subprocess.run([sys.executable, "-c", MEASURED, how], capture_output=True, text=True, check=True).stdout
        )
        for how in ("shared", "apart")
    }
    assert counts["shared"] == 1
    assert counts["apart"] > 1
