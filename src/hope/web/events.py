"""Server-Sent Events: one poller per process reads `case_events` and tells everybody who listens.

A listener first gets what it missed (since Last-Event-ID), then what happens. Nothing is polled while nobody listens,
and a listener holds no database connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from anyio import to_thread
from starlette.responses import StreamingResponse

from hope.contract.job import CaseEvent, EventKind, GoneError
from hope.ports import CaseStore
from hope.web.errors import log_failure

POLL_SECONDS = 0.2
LOOK_SECONDS = 1.0
"""How soon a stream without news notices that its case was deleted or the server stops."""

HEARTBEAT_SECONDS = 5.0
SESSION_CHECK_SECONDS = 15.0
LONGEST_SECONDS = 3600.0
"""After an hour a stream ends; the browser opens the next one by itself, and so renews its session."""

EVENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$", "description": "number; missing in `gone`"},
        "event": {"enum": [*map(str, EventKind), "gone"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}

_PAGE = 500
_WAITING = 1000  # events that a slow client may be behind before it is cut off, to come back with Last-Event-ID


class EventStream(StreamingResponse):
    """An answer of Server-Sent Events."""

    media_type = "text/event-stream"


@dataclass(eq=False)
class _Listener:
    case_id: str
    cursor: int
    queue: asyncio.Queue[CaseEvent] = field(default_factory=lambda: asyncio.Queue(_WAITING))
    gone: bool = False
    slow: bool = False


class EventHub:
    """Fans out the store's events within one process.

    Args:
        store: where the events are.
        poll_seconds: how often it is asked while somebody listens.
    """

    def __init__(self, store: CaseStore, poll_seconds: float = POLL_SECONDS) -> None:
        self._store, self._poll_seconds = store, poll_seconds
        self._listeners: set[_Listener] = set()
        self._poller: asyncio.Task[None] | None = None

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    def forget(self, *case_ids: str) -> None:
        """Tell listeners at once that their cases were deleted."""
        for listener in self._listeners:
            if listener.case_id in case_ids:
                listener.gone = True

    def close(self) -> None:
        """End every stream, so that a server that stops need not wait for them."""
        for listener in self._listeners:
            listener.slow = True
        if self._poller is not None:
            self._poller.cancel()

    async def stream(self, case_id: str, session_id: str, after: int, *, follow: bool = True) -> AsyncIterator[str]:
        """The lines of one client's stream.

        Args:
            case_id: whose events.
            session_id: whose case; the stream ends with an event ``gone`` when it is no longer there.
            after: number of the last event that the client has.
            follow: False ends the stream after what is there already.
        """
        yield "retry: 1000\n\n"
        while page := await to_thread.run_sync(self._store.events, [case_id], after, _PAGE):
            for event in page:
                yield format_event(event)
            after = page[-1].number
        if not follow:
            return
        listener = _Listener(case_id, after)
        self._listen(listener)
        try:
            async for text in self._live(listener, session_id):
                yield text
        finally:
            self._listeners.discard(listener)

    def _listen(self, listener: _Listener) -> None:
        self._listeners.add(listener)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.get_running_loop().create_task(self._poll())

    async def _live(self, listener: _Listener, session_id: str) -> AsyncIterator[str]:
        begun = said = checked = time.monotonic()
        while (now := time.monotonic()) - begun < LONGEST_SECONDS and not listener.slow:
            if listener.gone or now - checked > SESSION_CHECK_SECONDS:
                checked = now
                if listener.gone or not await self._is_there(listener.case_id, session_id):
                    yield "event: gone\ndata: {}\n\n"
                    return
            with contextlib.suppress(TimeoutError):
                # Woken now and then to notice that the case was deleted or the server stops.
                # Not wait_for: on Python 3.11 it loses a cancellation that arrives together with an event.
                async with asyncio.timeout(LOOK_SECONDS):
                    event = await listener.queue.get()
                yield format_event(event)
                said = time.monotonic()
                continue
            if time.monotonic() - said >= HEARTBEAT_SECONDS - LOOK_SECONDS:
                yield ": alive\n\n"
                said = time.monotonic()

    async def _is_there(self, case_id: str, session_id: str) -> bool:
        try:
            await to_thread.run_sync(self._store.case, case_id, session_id)
        except GoneError:
            return False
        return True

    async def _poll(self) -> None:
        """Ask for news while anybody listens. Event numbers are given in order of commit, so one cursor does."""
        while self._listeners:
            try:
                await self._tell_news()
            except Exception as error:
                log_failure("events could not be read and will be asked for again", error)
                await asyncio.sleep(1.0)
            await asyncio.sleep(self._poll_seconds)

    async def _tell_news(self) -> None:
        listeners = list(self._listeners)
        cases = sorted({listener.case_id for listener in listeners})
        after = min(listener.cursor for listener in listeners)
        events = await to_thread.run_sync(self._store.events, cases, after, _PAGE)
        for event in events:
            for listener in listeners:
                if listener.case_id == event.case_id and listener.cursor < event.number:
                    self._offer(listener, event)
        if events:
            for listener in listeners:
                listener.cursor = max(listener.cursor, events[-1].number)

    def _offer(self, listener: _Listener, event: CaseEvent) -> None:
        try:
            listener.queue.put_nowait(event)
        except asyncio.QueueFull:
            listener.slow = True
            self._listeners.discard(listener)


def format_event(event: CaseEvent) -> str:
    """An event as it goes over the wire."""
    data = json.dumps({"case_id": event.case_id, "at": event.at, **event.data}, separators=(",", ":"))
    return f"id: {event.number}\nevent: {event.kind}\ndata: {data}\n\n"
