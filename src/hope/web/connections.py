"""Limits of connections: how many are open, how long a client may take with a header, and how slow a body may be.

uvicorn and h11 limit the size of a header and close a connection that is idle between two calls. This module adds what
they lack. Nothing here knows a route or a user.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import socket
import time
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from hope.domain.errors import InputError
from hope.settings import PlatformSettings

FEWEST_CONNECTIONS: Final = 16
SHARE_OF_FILES: Final = 4
"""One in so many of the files that the process may open is a connection. A connection may need a second one for the
file that it stores or reads; the rest is for databases and the pipes of child processes."""

LINGER_SECONDS: Final = 5.0
"""A client that was refused may go on sending its body for this long."""

ACCEPTED_AT_ONCE: Final = 16
"""Connections that are accepted before the first of them is counted; asyncio calls this the backlog."""

WAITING_IN_KERNEL: Final = 1024

_TICK_SECONDS: Final = 1.0
_TICKS: Final = 4
"""So many times in that time it is looked whether the process is to end. uvicorn would look ten times."""

log = logging.getLogger(__name__)


def connection_limit(settings: PlatformSettings) -> int:
    """How many connections this process may have open, from the setting and from its limit of open files.

    Raises:
        InputError: if the limit of open files is too low to serve.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return settings.max_connections
    if files // SHARE_OF_FILES < FEWEST_CONNECTIONS:
        raise InputError(
            "the limit of open files is too low for a gateway",
            expected=f"at least {FEWEST_CONNECTIONS * SHARE_OF_FILES}",
            got=str(files),
            fix="raise it, for example by `ulimit -n 4096`",
        )
    return min(settings.max_connections, files // SHARE_OF_FILES)


class Connections:
    """What the connections of one process share: their limits, and those that could be closed without harm.

    Args:
        settings: what the environment chose.

    Attributes:
        limit: most connections that are open at once.
        waiting: connections between two calls or with half a header, those that have waited longest first.
    """

    def __init__(self, settings: PlatformSettings) -> None:
        self.limit = connection_limit(settings)
        self.header_seconds = settings.header_timeout_seconds
        self.window_seconds = settings.body_timeout_seconds
        self.window_bytes = settings.min_bytes_per_second * settings.body_timeout_seconds
        self.waiting: dict[GuardedProtocol, None] = {}


class GuardedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with limits on what a client may make the server wait for.

    A call's header must be complete within ``header_timeout_seconds``. Then, in each ``body_timeout_seconds``, the
    client must send or take ``min_bytes_per_second`` on average. Time in which the server itself does not read does
    not count. When all connections are in use, the one that has waited longest for a header makes room.

    Args:
        shared: limits, one object for all connections of the process.
        config, server_state, app_state, _loop: as uvicorn gives them.
    """

    def __init__(self, shared: Connections, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shared = shared
        self._phase: tuple[object, object] = (None, None)
        self._waited = 0.0
        self._received = 0
        self._pending, self._stuck = 0, 0.0

    def connection_made(self, transport: Any) -> None:
        """Count the connection; refuse it if there is no room."""
        super().connection_made(transport)
        shared = self._shared
        if len(self.connections) > shared.limit:
            oldest = next(iter(shared.waiting), None)
            log.warning("all connections are in use", extra={"count": shared.limit})
            if oldest is None:
                self._refuse(503, "connections", "all connections of this server are in use; try again in a moment")
                return
            oldest.drop()
        shared.waiting[self] = None

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._received += len(data)
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._shared.waiting.pop(self, None)

    def on_response_complete(self) -> None:
        """Wait for the next call."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._shared.waiting[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._shared.waiting.pop(self, None)
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """The client has taken most of what was waiting for it."""
        self._stuck = 0.0
        super().resume_writing()

    def drop(self) -> None:
        """Close at once, without an answer."""
        self._shared.waiting.pop(self, None)
        self.connections.discard(self)
        self.transport.abort()

    def tick(self, seconds: float) -> None:
        """Count time; end the connection if its client is too slow. Called about once a second."""
        self._tick_writing(seconds)
        if not self.transport.is_closing():
            self._tick_reading(seconds)

    def _tick_reading(self, seconds: float) -> None:
        state, shared = self.conn.their_state, self._shared
        if self._phase != (state, self.cycle):
            self._phase, self._waited, self._received = (state, self.cycle), 0.0, 0
            return
        if state not in (h11.IDLE, h11.SEND_BODY) or self.flow.read_paused:
            return
        if state is h11.SEND_BODY and self.cycle.waiting_for_100_continue:
            return
        self._waited += seconds
        if state is h11.IDLE:
            if self._waited >= shared.header_seconds:
                self._refuse(408, "slow", f"the header was not complete within {shared.header_seconds:g} s")
        elif self.cycle.response_complete:
            if self._waited >= LINGER_SECONDS:
                self.transport.close()
        elif self._waited >= shared.window_seconds:
            if self._received < shared.window_bytes:
                log.info("a body came too slowly", extra={"bytes": self._received})
                rate = f"{shared.window_bytes:g} bytes in {shared.window_seconds:g} s"
                self._refuse(408, "slow", f"the body came more slowly than {rate}")
            self._waited, self._received = 0.0, 0

    def _tick_writing(self, seconds: float) -> None:
        pending = self.transport.get_write_buffer_size()
        if pending == 0 or self._stuck == 0.0:
            self._pending = pending
        self._stuck = self._stuck + seconds if pending else 0.0
        if self._stuck >= self._shared.window_seconds:
            if self._pending - pending < self._shared.window_bytes:
                log.info("an answer was taken too slowly", extra={"bytes": self._pending - pending})
                self.drop()
            self._stuck = 0.0

    def _refuse(self, status: int, name: str, detail: str) -> None:
        """Answer with a problem where the protocol allows it, and close."""
        self._shared.waiting.pop(self, None)
        if self.cycle and not self.cycle.response_complete:
            # The route learns that the client is gone and removes what it holds.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            phrase = HTTPStatus(status).phrase
            body = json.dumps({"type": f"/problems/{name}", "title": phrase, "status": status, "detail": detail})
            headers = [
                (b"content-type", b"application/problem+json"),
                (b"content-length", str(len(body)).encode()),
                (b"retry-after", b"5"),
                (b"connection", b"close"),
            ]
            for event in (
                h11.Response(status_code=status, headers=headers, reason=phrase.encode()),
                h11.Data(data=body.encode()),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class GatewayServer(uvicorn.Server):
    """uvicorn with `GuardedProtocol`, and a look at every connection once a second.

    Args:
        app: what to serve.
        settings: what the environment chose.

    Raises:
        InputError: if the limit of open files is too low to serve.
    """

    def __init__(self, app: ASGIApp, settings: PlatformSettings) -> None:
        self._looked = time.monotonic()
        super().__init__(
            uvicorn.Config(
                app,
                http=partial(GuardedProtocol, Connections(settings)),  # type: ignore[arg-type] # uvicorn only calls it
                ws="none",  # a connection that speaks another protocol would leave these limits
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                backlog=ACCEPTED_AT_ONCE,
                timeout_graceful_shutdown=3,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept. The kernel keeps more connections waiting than are accepted in one go."""
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(WAITING_IN_KERNEL)

    async def main_loop(self) -> None:
        """See uvicorn, which counts tenths of a second and does what is due once a second at multiples of ten."""
        tick = 0
        while not await self.on_tick(10 if tick % _TICKS == 0 else 1):
            tick += 1
            await asyncio.sleep(_TICK_SECONDS / _TICKS)

    async def on_tick(self, counter: int) -> bool:
        """See uvicorn; look at the connections once a second."""
        now = time.monotonic()
        if (passed := now - self._looked) >= _TICK_SECONDS:
            self._looked = now
            for connection in list(self.server_state.connections):
                if isinstance(connection, GuardedProtocol):
                    # A process that was held up must not blame its clients for the time.
                    connection.tick(min(passed, 2 * _TICK_SECONDS))
        return await super().on_tick(counter)
