"""Stage bodies as operating system processes: warm between jobs, dead at once when their work is no longer wanted.

A body runs in a child of its own process group, so that a job can be stopped whatever library it is in, and so that a
crash takes nothing else along. The child keeps models loaded between jobs. It is reached by JSON lines on its standard
streams; it dies with its parent (`hope.jobs.child`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from hope.domain.errors import FullError, InputError, StageError, TooLargeError, WrongTypeError
from hope.domain.progress import Progress, silent

KEEP_SECONDS = 900.0
"""How long an idle child stays, unless its pool says otherwise."""

READY_SECONDS = 120.0
"""A child that has not said that it is ready by then is taken for broken; importing takes seconds on a slow disk."""

SILENCE_SECONDS = 120.0
"""A child says that it lives every two seconds; one that is silent this long hangs."""

_LINE_LIMIT = 16 * 2**20
_LAST_OUTPUT = 40

log = logging.getLogger(__name__)


_REFUSALS: Mapping[str, type[InputError]] = {"TooLargeError": TooLargeError, "WrongTypeError": WrongTypeError}
_KILLED = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


class ProcessEndedError(StageError):
    """A child ended without an answer.

    Args:
        status: its exit status, negative for a signal.
    """

    def __init__(self, status: int | None) -> None:
        super().__init__(f"the stage process ended unexpectedly ({_cause(status)})")
        self.signal = -status if status is not None and status < 0 else 0

    @property
    def by_its_input(self) -> bool:
        """Whether it crashed, and was not killed by somebody else (as by a machine out of memory)."""
        return self.signal > 0 and self.signal not in _KILLED


class _Child:
    """One process, busy or idle."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout and process.stderr and process.stdin  # noqa: S101 - all three are pipes
        self.process = process
        self._out, self._in = process.stdout, process.stdin
        self.idle_since = time.monotonic()
        self._words: deque[str] = deque(maxlen=_LAST_OUTPUT)
        self._drain = asyncio.ensure_future(self._listen(process.stderr))

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    @property
    def last_output(self) -> str:
        return "\n".join(self._words)

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        """Keep the last lines of standard error, which explain a crash; a full pipe would block the child."""
        with contextlib.suppress(ValueError):  # a line beyond the limit: what came before is enough
            async for line in stream:
                self._words.append(line.decode(errors="replace").rstrip())
        while await stream.read(65536):
            pass

    async def say(self, message: Mapping[str, Any]) -> None:
        self._in.write((json.dumps(message) + "\n").encode())
        await self._in.drain()

    async def receive(self, seconds: float) -> dict[str, Any]:
        """Take the next line; StageError if the child ended or is silent."""
        try:
            # Not wait_for: on Python 3.11 it loses a cancellation that arrives together with a line.
            async with asyncio.timeout(seconds):
                line = await self._out.readline()
        except TimeoutError:
            raise StageError(f"the stage process gave no sign of life for {seconds:.0f} s") from None
        if not line:
            await self.process.wait()
            raise ProcessEndedError(self.process.returncode)
        message = json.loads(line)
        if not isinstance(message, dict):
            raise StageError("the stage process said something that is no message")
        return message

    async def kill(self) -> None:
        """Kill the whole group, and return when the process is dead."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        self._drain.cancel()


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for it however often this task is cancelled meanwhile, so that no live process is left behind."""
    ending, cancelled = asyncio.ensure_future(work), False
    while not ending.done():
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            cancelled = True
    ending.result()
    if cancelled:
        raise asyncio.CancelledError


def _cause(status: int | None) -> str:
    if status is None or status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name if -status in list(signal.Signals) else str(-status)
    hint = "; perhaps the machine ran out of memory" if name == "SIGKILL" else ""
    return f"signal {name}{hint}"


class StageProcesses:
    """A pool of children for one event loop. A job takes an idle child or starts a new one.

    Args:
        module: Python module whose ``run`` does the work, such as ``hope.jobs.bodies``.
        keep: most idle children that stay, with what they have loaded.
        keep_seconds: how long an idle child stays.
        spare: whether an idle child is started when the last one gets a job, so that the next job need not wait.
        ahead: modules that a child imports as soon as it is ready, and not within its first job.
    """

    def __init__(
        self,
        module: str,
        *,
        keep: int = 2,
        keep_seconds: float = KEEP_SECONDS,
        spare: bool = False,
        ahead: Sequence[str] = (),
    ) -> None:
        self._module, self._keep, self._keep_seconds, self._spare = module, keep, keep_seconds, spare
        self._ahead = tuple(ahead)
        self._starting: asyncio.Task[None] | None = None
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()

    @property
    def pids(self) -> list[int]:
        """Processes that live now."""
        return [child.process.pid for child in (*self._idle, *self._busy) if child.alive]

    async def run(
        self, job: Mapping[str, Any], progress: Progress = silent, alive: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """Let a child do a job. If the caller is cancelled, the child is dead before the cancellation goes on.

        Args:
            job: what the protocol of `hope.jobs.child` calls a job.
            progress: called for every sign of progress, in this event loop.
            alive: called for every line, progress or not.

        Returns:
            The child's ``done`` value.

        Raises:
            InputError: if the input is to blame; the sentence is the child's.
            FullError: if the disk is full.
            StageError: if the work failed, or the child died or went silent.
        """
        child = await self._take()
        self._busy.add(child)
        if self._spare and not self._idle and self._starting is None:
            self._starting = asyncio.create_task(self._start_spare())
        reusable = False
        try:
            await child.say(job)
            while True:
                message = await child.receive(SILENCE_SECONDS)
                if alive:
                    alive()
                if "share" in message:
                    progress(str(message.get("message", "")), float(message["share"]))
                elif "done" in message:
                    reusable = True
                    done: dict[str, Any] = message["done"]
                    return done
                elif "error" in message:
                    reusable = message["error"].get("kind") in ("input", "full")
                    raise self._error(message["error"], child)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise StageError("the stage process ended unexpectedly") from error
        finally:
            self._busy.discard(child)
            await self._give_back(child, reusable)

    @staticmethod
    def _error(error: Mapping[str, Any], child: _Child) -> InputError | FullError | StageError:
        problem = str(error.get("message") or "the stage failed without saying why")
        if error.get("kind") == "input":
            kind, parts = _REFUSALS.get(str(error.get("type")), InputError), dict(error.get("parts") or {})
            return kind(str(parts.pop("what", problem)), **{name: str(text) for name, text in parts.items()})
        if error.get("kind") == "full":
            return FullError(problem)
        log.error("a stage failed: %s\n%s", problem, child.last_output)
        return StageError(problem)

    async def _take(self) -> _Child:
        await self.trim()
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
        return await self._start()

    async def _start_spare(self) -> None:
        try:
            child = await self._start()
        except StageError:
            return  # it was logged; who needs a child starts one, and hears of it
        finally:
            self._starting = None
        if len(self._idle) < self._keep:
            self._idle.append(child)
        else:
            await _to_the_end(child.kill())

    async def _start(self) -> _Child:
        # Exec, never fork: a fork of a process with threads inherits locks that nobody will release.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "hope.jobs.child",
            self._module,
            *self._ahead,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            # A network's threads that wait for one another by spinning take the processor from whoever they wait for
            # as soon as anything else runs: a browser on the same laptop made segmentation many times slower.
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
            limit=_LINE_LIMIT,
        )
        child = _Child(process)
        try:
            message = await child.receive(READY_SECONDS)
            if not message.get("ready"):
                error = message.get("error", {})
                raise StageError(str(error.get("message") or "the stage process did not say that it is ready"))
        except BaseException as error:
            await _to_the_end(child.kill())
            if isinstance(error, StageError):
                log.error("a stage process could not start: %s\n%s", error, child.last_output)
            raise
        return child

    async def _give_back(self, child: _Child, reusable: bool) -> None:
        if reusable and child.alive and len(self._idle) < self._keep:
            child.idle_since = time.monotonic()
            self._idle.append(child)
            return
        await _to_the_end(child.kill())

    async def trim(self) -> None:
        """End children that nobody has needed for a while."""
        now = time.monotonic()
        old = [c for c in self._idle if not c.alive or now - c.idle_since > self._keep_seconds]
        self._idle = [c for c in self._idle if c not in old]
        for child in old:
            await child.kill()

    async def close(self) -> None:
        """Kill every child."""
        if self._starting is not None:
            starting = self._starting
            starting.cancel()
            await asyncio.wait({starting})
        for child in (*self._idle, *self._busy):
            await child.kill()
        self._idle.clear()
