"""Whether inference really works here: a self-test at the start, and again whenever a child has failed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from hope.domain.errors import HopeError, StageError
from hope.jobs.processes import StageProcesses
from hope.jobs.scratch import Scratch

LOADING, READY, BROKEN = "loading", "ready", "broken"

TEST_SECONDS = 240.0
"""SageMaker waits no longer for a container to become healthy."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0

log = logging.getLogger("hope.endpoint")


class Readiness:
    """Keeps children warm and says whether they work.

    A child that failed is followed by a self-test in a new one; only if that fails too is the endpoint broken.

    Args:
        processes: where the work is done.
        scratch: private folders.
        gate: one place for each child.
        children: how many there are.
        model: id of the bundle that the test loads; cases without a model of their own get the same.
    """

    def __init__(
        self, processes: StageProcesses, scratch: Scratch, gate: asyncio.Semaphore, children: int, model: str
    ) -> None:
        self._processes, self._scratch, self._gate = processes, scratch, gate
        self._children, self._model = children, model
        self._recheck = asyncio.Event()
        self.state = LOADING

    def recheck(self) -> None:
        """Test once more, soon."""
        self._recheck.set()

    async def keep(self) -> None:
        """Test now, and whenever the state is unknown, until cancelled."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            self._recheck.clear()
            try:
                # All at once at the start, so that each has a child of its own.
                await asyncio.gather(*(self._test() for _ in range(self._children)))
            except Exception as error:  # were this task to end, the last state would stand for ever
                self.state = BROKEN
                words = str(error) if isinstance(error, HopeError) else type(error).__name__
                log.error("the self-test failed: %s; trying again in %.0f s", words, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                continue
            if self.state != READY:
                log.info("ready: the self-test has passed")
            self.state, pause = READY, FIRST_PAUSE_SECONDS
            await self._recheck.wait()

    async def _test(self) -> dict[str, Any]:
        async with self._gate:
            with self._scratch.folder() as folder:
                job = {"do": "selftest", "model": self._model, "scratch": str(folder)}
                limit = asyncio.timeout(TEST_SECONDS)
                try:
                    async with limit:
                        return await self._processes.run(job)
                except TimeoutError as error:
                    if not limit.expired():  # of the test itself
                        raise
                    raise StageError(f"it took longer than {TEST_SECONDS:g} s") from error


@contextlib.asynccontextmanager
async def kept(readiness: Readiness) -> Any:
    """Keep it while the block runs."""
    task = asyncio.create_task(readiness.keep())
    try:
        yield readiness
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
