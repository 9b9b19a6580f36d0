"""A child process as its parent sees it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Driven:
    """One running child and the lines that it wrote."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._rest = b""

    def send(self, job: Mapping[str, Any] | bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(job if isinstance(job, bytes) else json.dumps(job).encode() + b"\n")
        self.process.stdin.flush()

    def line(self, seconds: float = 20.0) -> dict[str, Any]:
        """The next line; fails the test if none comes."""
        assert self.process.stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the child is silent"
            block = os.read(self.process.stdout.fileno(), 65536)
            assert block, f"the child ended with {self.process.wait()}"
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def answer(self, job: Mapping[str, Any] | bytes, seconds: float = 20.0) -> tuple[dict[str, Any], list[dict]]:
        """Send a job; its answer, and what was told before."""
        self.send(job)
        reported = []
        while True:
            line = self.line(seconds)
            if "done" in line or "error" in line:
                return line, reported
            reported.append(line)


@contextmanager
def child(module: str, errors: Path | None = None, ready: bool = True, **environment: str) -> Iterator[Driven]:
    """A child serving a module's jobs, dead when the block ends."""
    here = str(Path(__file__).parent)
    env = {**os.environ, "PYTHONPATH": here, **environment}
    with (errors or Path(os.devnull)).open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "hope.jobs.child", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
            env=env,
        )
    driven = Driven(process)
    try:
        if ready:
            assert driven.line() == {"ready": True}
        yield driven
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def job_in(folder: Path, do: str, case: str = "case-00000001", **more: Any) -> dict[str, Any]:
    """A job with fresh directories; `in` is shared by all jobs of the folder."""
    job: dict[str, Any] = {"do": do, "case": case, "choice": {}, **more}
    for name in ("in", f"out-{do}", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return {"in": str(folder / "in"), "out": str(folder / f"out-{do}"), "scratch": str(folder / "scratch"), **job}
