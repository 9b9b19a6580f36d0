"""How many calls may be in work at once: of one client, and of all clients that send bodies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from starlette.datastructures import Headers


class Full(Enum):
    """Why a call may not be taken up now."""

    CLIENT = "too many calls of this client are in work"
    BODIES = "the server takes no more uploads at the moment"


class Slots:
    """Counts calls in work. A call with a body may last as long as its client wants it to, so these have a share only.

    Args:
        per_client: most calls of one client.
        bodies: most calls with a body, of all clients together.
    """

    def __init__(self, per_client: int, bodies: int) -> None:
        self._per_client, self._most_bodies = per_client, bodies
        self._clients: Counter[str] = Counter()
        self._bodies = 0

    @contextmanager
    def taken(self, client: str, *, body: bool) -> Iterator[Full | None]:
        """Hold a slot for the length of the block; gives the reason if there is none.

        Args:
            client: whose call.
            body: whether it has one.
        """
        if self._clients[client] >= self._per_client:
            yield Full.CLIENT
            return
        if body and self._bodies >= self._most_bodies:
            yield Full.BODIES
            return
        self._clients[client] += 1
        self._bodies += body
        try:
            yield None
        finally:
            self._bodies -= body
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]


def has_body(headers: Headers) -> bool:
    """Whether a call announces a body."""
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip() not in ("", "0")
