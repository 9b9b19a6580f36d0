"""Connections to Postgres that notice a host that has vanished: both sides ask whether the other one is still there.

Without it the server would keep the transaction, and the locks, of a host without power or network for two hours, and
a client would wait as long for an answer that cannot come.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import Engine, event

IDLE_SECONDS, INTERVAL_SECONDS, TRIES = 10, 5, 3
"""After so long without a word the other side is asked, so often, so many times: it is given up after 25 s."""

UNANSWERED_MS = 1000 * (IDLE_SECONDS + INTERVAL_SECONDS * TRIES)
"""What was sent and not acknowledged for so long ends the connection too."""

CONNECT_ARGS: Mapping[str, Any] = MappingProxyType(
    {
        "connect_timeout": 10,
        "application_name": "hope",
        "client_encoding": "utf8",  # a database of another encoding would answer with bytes
        "keepalives": 1,
        "keepalives_idle": IDLE_SECONDS,
        "keepalives_interval": INTERVAL_SECONDS,
        "keepalives_count": TRIES,
        "tcp_user_timeout": UNANSWERED_MS,
    }
)
"""What libpq is told, for our side."""

_SERVER = {
    "tcp_keepalives_idle": IDLE_SECONDS,
    "tcp_keepalives_interval": INTERVAL_SECONDS,
    "tcp_keepalives_count": TRIES,
    "tcp_user_timeout": UNANSWERED_MS,
}


def watch(engine: Engine) -> Engine:
    """Tell the server the same for its side of every connection of the engine; returns the engine.

    By SET, because poolers refuse such words in the first message of a connection.
    """
    event.listen(engine, "connect", tell_server)
    return engine


def tell_server(connection: Any, _record: object = None) -> None:
    """The same for one connection of psycopg."""
    before, connection.autocommit = connection.autocommit, True
    try:
        connection.execute("; ".join(f"SET {name} = {value}" for name, value in _SERVER.items()))
    finally:
        connection.autocommit = before
