"""A program under limits: what it gets, and that it ends with whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hope.formats.bounded_program import run_bounded

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits of processes are POSIX's")


def test_status_output_and_limits() -> None:
    shell = ["/bin/sh", "-c", "ulimit -f; ulimit -t; ulimit -c; echo no >&2; exit 7"]
    done = run_bounded(shell, {"FSIZE": 2**20, "CPU": 9, "CORE": 0, "NO_SUCH": 1}, 30)
    # Blocks of 512 bytes by POSIX, of 1024 in some shells.
    assert done.stdout.split() in ([b"2048", b"9", b"0"], [b"1024", b"9", b"0"])
    assert (done.returncode, done.stderr) == (7, b"no\n")


def test_a_program_that_ends_by_a_signal() -> None:
    assert run_bounded(["/bin/sh", "-c", "kill -9 $$"], {}, 30).returncode == -signal.SIGKILL


def test_more_time_than_it_may_take() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run_bounded(["/bin/sleep", "60"], {}, 0.5)
    assert not [child for child in psutil.Process().children() if "60" in child.cmdline()]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
def test_a_caller_that_is_killed_alone_takes_the_program_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    code = f"""
from hope.formats.bounded_program import run_bounded
run_bounded(["/bin/sh", "-c", "echo $$ > {mark}.part; mv {mark}.part {mark}; exec sleep 60"], {{}}, 60)
"""
    caller = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 30
        while not mark.exists():
            assert time.monotonic() < deadline and caller.poll() is None
            time.sleep(0.02)
        program = psutil.Process(int(mark.read_text()))
        caller.kill()
        _, alive = psutil.wait_procs([program], timeout=30)
        assert not alive
    finally:
        caller.kill()
        caller.wait()
