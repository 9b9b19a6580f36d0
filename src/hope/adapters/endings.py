"""Who waits for the end of a workflow, and how they are told of it.

The engine's own wait looks at the database again and again. A pipeline that waits for a stage is told here when it has
ended, in this process or by a peer over Postgres, and looks then; it looks now and then anyway, for news that is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

UNFINISHED: Final = ("ENQUEUED", "PENDING", "DELAYED")
"""What the engine says of a workflow that has not ended."""


class Endings:
    """Waiting coroutines of one process, by the workflow that they wait for."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = defaultdict(list)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many workflows are waited for."""
        return len(self._waiting)

    def tell(self, workflow_id: str) -> None:
        """A workflow has ended. Any thread may say so; nothing happens where nobody waits for it."""
        with self._lock:
            for loop, event in self._waiting.get(workflow_id, ()):
                loop.call_soon_threadsafe(event.set)

    async def until(
        self, workflow_id: str, status: Callable[[str], Awaitable[str | None]], poll_seconds: Callable[[], float]
    ) -> str | None:
        """Wait until the workflow has ended.

        Args:
            workflow_id: which.
            status: looks what the engine says of it.
            poll_seconds: longest pause between two looks, asked before each.

        Returns:
            the status with which it ended; None if the engine does not know it, or not any more.
        """
        with self._listening(workflow_id) as ended:
            while (found := await status(workflow_id)) in UNFINISHED:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(poll_seconds()):
                        await ended.wait()
                ended.clear()
            return found

    @contextlib.contextmanager
    def _listening(self, workflow_id: str) -> Iterator[asyncio.Event]:
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting[workflow_id].append(entry)
        try:
            yield entry[1]
        finally:
            with self._lock:
                self._waiting[workflow_id].remove(entry)
                if not self._waiting[workflow_id]:
                    del self._waiting[workflow_id]
