"""A queue for each receiver of notices, so that one that does not answer delays nobody else's."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Final, Generic, NamedTuple, TypeVar

from hope.web.middleware.logs import error_facts
from hope.web.webhooks import RefusedTargetError

LONGEST_QUEUE: Final = 100
"""Notices that wait for one receiver; more are dropped."""

ATTEMPT_SECONDS: Final = 10.0
DEADLINE_SECONDS: Final = 600.0
"""A notice that could not be delivered for this long is dropped."""

AT_ONCE, FAILING_AT_ONCE = 128, 8
"""Attempts that run at once: to receivers whose last attempt went well, and to those whose last one failed."""

_MOST_REMEMBERED: Final = 1000

Notice = TypeVar("Notice")

log = logging.getLogger(__name__)


class Receiver(NamedTuple):
    """Whose notices wait in one queue: of one session, one way, to one address."""

    session_id: str
    way: str
    target: str


class Outboxes(Generic[Notice]):
    """Delivers to each receiver in order, and waits longer after each failure.

    Args:
        send: delivers one notice; raises if that fails.
        back_off_seconds: pauses after the first, second, ... failure in a row; the last one stays. One more try than
            there are pauses is made for each notice.
    """

    def __init__(
        self, send: Callable[[Receiver, Notice], Awaitable[None]], back_off_seconds: tuple[float, ...]
    ) -> None:
        self._send, self._back_off = send, back_off_seconds
        self._queues: dict[Receiver, deque[tuple[float, Notice]]] = {}
        self._tasks: dict[Receiver, asyncio.Task[None]] = {}
        self._failures: OrderedDict[Receiver, int] = OrderedDict()
        self._slots, self._failing_slots = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(FAILING_AT_ONCE)

    def __len__(self) -> int:
        return len(self._queues)

    def put(self, receiver: Receiver, notice: Notice) -> None:
        """Queue a notice; returns at once."""
        queue = self._queues.setdefault(receiver, deque())
        if len(queue) >= LONGEST_QUEUE:
            log.error("a notification was dropped: too many are waiting")
            return
        queue.append((time.monotonic() + DEADLINE_SECONDS, notice))
        if receiver not in self._tasks:
            self._tasks[receiver] = asyncio.create_task(self._deliver_all(receiver))

    def keep(self, session_ids: Collection[str]) -> None:
        """Forget what waits for sessions other than these: they have ended, or no longer want to be told."""
        for receiver, task in self._tasks.items():
            if receiver.session_id not in session_ids:
                task.cancel()

    async def close(self) -> None:
        """Stop; what waits is forgotten."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _deliver_all(self, receiver: Receiver) -> None:
        queue = self._queues[receiver]
        try:
            while queue:
                await self._deliver(receiver, *queue[0])
                queue.popleft()
                if queue and receiver in self._failures:
                    await asyncio.sleep(self._pause(receiver))
        finally:
            del self._queues[receiver], self._tasks[receiver]

    async def _deliver(self, receiver: Receiver, deadline: float, notice: Notice) -> None:
        """Try until it is delivered, refused, tried often enough, or too late."""
        for last in (*[False] * len(self._back_off), True):
            try:
                await self._try(receiver, notice)
            except RefusedTargetError:
                log.warning("a webhook was not sent: its address is not one that this server may call")
                return
            except Exception as error:
                kind, where = error_facts(error)
                event = f"a notification was not delivered ({receiver.way})"
                log.error(event, extra={"error": kind, "where": where})
            else:
                self._failures.pop(receiver, None)
                return
            self._failed(receiver)
            pause = self._pause(receiver)
            if last or time.monotonic() + pause > deadline:
                log.error(f"a notification was given up ({receiver.way})")
                return
            await asyncio.sleep(pause)

    async def _try(self, receiver: Receiver, notice: Notice) -> None:
        slots = self._failing_slots if receiver in self._failures else self._slots
        async with slots, asyncio.timeout(ATTEMPT_SECONDS):
            await self._send(receiver, notice)

    def _failed(self, receiver: Receiver) -> None:
        self._failures[receiver] = self._failures.get(receiver, 0) + 1
        self._failures.move_to_end(receiver)
        while len(self._failures) > _MOST_REMEMBERED:
            self._failures.popitem(last=False)

    def _pause(self, receiver: Receiver) -> float:
        """Seconds before the next attempt after so many failures in a row."""
        number = self._failures.get(receiver, 0)
        return self._back_off[min(number, len(self._back_off)) - 1] if number and self._back_off else 0.0
