"""The process that does stages: jobs come in on stdin and answers go out on stdout, one JSON object a line.

It lives through many jobs, so that a model is loaded once, and it ends with its parent, however that ends: by the
kernel's signal, and by the end of stdin. Nothing that a library prints can get among the answers.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import logging
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hope.domain.errors import FullError, HopeError, InputError
from hope.domain.progress import Progress
from hope.formats.atomic import FULL

Run = Callable[[Mapping[str, Any], Progress], dict[str, Any]]
"""What a module of bodies offers as ``run``: does one job, tells how far it is, returns the ``done`` value."""

HEARTBEAT_SECONDS = 2.0
"""While a job is done a sign of life goes out this often, so that silence means death."""

_PR_SET_PDEATHSIG = 1
_LEAST_STEP = 0.005
_FULL_BYTES = 2**20
"""With fewer bytes free than this beside a job's files, whatever went wrong is the full disk's fault."""


class Channel:
    """Writes whole lines to the parent, from any thread.

    Args:
        descriptor: an open file descriptor; a parent that no longer listens ends this process.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one line.

        Raises:
            ValueError, TypeError: if the message is not plain JSON (NaN included); nothing is written then.
        """
        line = json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        try:
            with self._lock:
                while line:
                    line = line[os.write(self._descriptor, line) :]
        except OSError:
            os._exit(0)  # the parent is gone: nobody wants the answer


class _Teller:
    """Passes progress on, without flooding the parent with steps that nobody can see."""

    def __init__(self, channel: Channel) -> None:
        self._channel, self._message, self._share = channel, "", -1.0

    def __call__(self, message: str, share: float) -> None:
        share = min(1.0, max(0.0, float(share)))
        step = abs(share - self._share)
        if message == self._message and (step == 0 or (step < _LEAST_STEP and share < 1)):
            return
        self._message, self._share = message, share
        self._channel.send({"share": round(share, 4), "message": message})


def main(arguments: list[str] | None = None) -> int:
    """Serve jobs until stdin ends; the one argument names the module whose ``run`` does them."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1:
        sys.stderr.write("usage: python -m hope.jobs.child MODULE\n")
        return 2
    _end_with_parent()
    jobs, channel = _take_pipes()
    _keep_quiet()
    try:
        run: Run = importlib.import_module(given[0]).run
    except Exception as error:
        _log(error)
        channel.send(_error("ours", f"the stages cannot be started ({type(error).__name__})"))
        return 1
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs, lines), daemon=True, name="stdin").start()
    channel.send({"ready": True})
    while True:
        _serve(lines.get(), run, channel)
        _give_memory_back()


def _serve(line: bytes, run: Run, channel: Channel) -> None:
    """Do one job and answer exactly once."""
    with _heartbeat(channel):
        result = _result(line, run, _Teller(channel))
    try:
        channel.send(result)
    except (TypeError, ValueError) as error:
        _log(error)
        channel.send(_error("ours", "a stage answered with something that is not plain JSON"))


def _result(line: bytes, run: Run, progress: Progress) -> dict[str, Any]:
    name, job = "job", {}
    try:
        job = json.loads(line)
        name = str(job["do"])
        with _temporary_files_in(job.get("scratch")):
            return {"done": run(job, progress)}
    except InputError as error:
        if _is_full(error, job):
            return _full(name)
        parts = {name: getattr(error, name) for name in ("what", "expected", "got", "fix") if getattr(error, name)}
        return {"error": {**_error("input", error.message())["error"], "type": type(error).__name__, "parts": parts}}
    except HopeError as error:
        _log(error)
        return _full(name) if _is_full(error, job) else _error("ours", str(error))
    except MemoryError as error:
        _log(error)
        return _error("ours", f"this machine's memory does not suffice for {name}")
    except Exception as error:
        _log(error)
        if _is_full(error, job):
            return _full(name)
        return _error("ours", f"{name} failed: an unforeseen {type(error).__name__}, see the worker's log")


def _full(name: str) -> dict[str, Any]:
    return _error("full", f"{name}: the disk is full; free some space, then it goes on")


def _is_full(error: BaseException, job: Any) -> bool:
    """Whether a full disk is behind it, also where a library or a program says something else."""
    seen: BaseException | None = error
    known: set[int] = set()  # an error may be its own cause
    while seen is not None and id(seen) not in known:
        if isinstance(seen, FullError) or (isinstance(seen, OSError) and seen.errno in FULL):
            return True
        known.add(id(seen))
        seen = seen.__cause__ or seen.__context__
    folders = [job.get(name) for name in ("out", "scratch")] if isinstance(job, dict) else []
    there = [folder for folder in folders if folder and Path(folder).is_dir()]
    return any(shutil.disk_usage(folder).free < _FULL_BYTES for folder in there)


@contextlib.contextmanager
def _temporary_files_in(folder: str | None) -> Iterator[None]:
    """Let what the job's libraries and programs write to the side go with the job's own folder, however it ends."""
    before = os.environ.get("TMPDIR")
    if folder is not None:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
    try:
        yield
    finally:
        tempfile.tempdir = None
        if before is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = before


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"error": {"kind": kind, "message": " ".join(message.split())}}


def _log(error: BaseException) -> None:
    """Write where it happened to stderr, but of foreign errors not the message: it may quote a header."""
    seen: BaseException | None = error
    while seen is not None:
        frames = "".join(traceback.format_tb(seen.__traceback__))
        words = f": {seen}" if isinstance(seen, HopeError) else ""
        sys.stderr.write(f"{frames}{type(seen).__module__}.{type(seen).__qualname__}{words}\n")
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    sys.stderr.flush()


@contextlib.contextmanager
def _heartbeat(channel: Channel) -> Iterator[None]:
    stop = threading.Event()

    def heartbeat() -> None:
        while True:
            try:
                if stop.wait(HEARTBEAT_SECONDS):
                    return
                channel.send({"alive": True})
            except MemoryError:
                # The job has taken what it may have; it hears of that itself, and until then this process lives.
                continue

    thread = threading.Thread(target=heartbeat, daemon=True, name="heartbeat")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _listen(jobs: int, lines: queue.SimpleQueue[bytes]) -> None:
    """Queue the lines of stdin; its end ends the process at once, whatever it is doing."""
    with open(jobs, "rb", closefd=False) as stream:
        for line in stream:
            if line.strip():
                lines.put(line)
    os._exit(0)


def _take_pipes() -> tuple[int, Channel]:
    """Move the pipes away from descriptors 0 and 1, where libraries and their own children would find them."""
    jobs, results = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return jobs, Channel(results)


def _end_with_parent() -> None:
    """Ask the kernel to kill this process with its parent, and end at once on the usual signals."""
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _give_memory_back() -> None:
    """Return what the job no longer uses: an idle child would else hold on to the volumes of its last case."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # glibc alone has it
            ctypes.CDLL(None).malloc_trim(0)


def _keep_quiet() -> None:
    """Keep warnings of libraries out of the log: some quote what stands in a header."""
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())


if __name__ == "__main__":
    sys.exit(main())
