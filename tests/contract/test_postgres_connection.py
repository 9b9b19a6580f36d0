"""Connections to Postgres, on a real server: both sides notice a host that has vanished."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing

import pytest
from sqlalchemy import Connection, create_engine, text

from hope.adapters.cases_sql import SqlCaseStore
from hope.adapters.cases_sql.database import Database
from hope.adapters.postgres_connection import IDLE_SECONDS, INTERVAL_SECONDS, TRIES, UNANSWERED_MS
from hope.adapters.queue_dbos import _engine
from hope.domain.ids import token_hash


def of_the_store(url: str, ask: Callable[[Connection], None]) -> None:
    with closing(Database(url)) as database, database.read() as connection:
        ask(connection)


def of_the_engine(url: str, ask: Callable[[Connection], None]) -> None:
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            ask(connection)
    finally:
        engine.dispose()


@pytest.mark.parametrize("side", [of_the_store, of_the_engine])
def test_both_sides_ask_whether_the_other_is_there(
    side: Callable[[str, Callable[[Connection], None]], None], postgres_url: str
) -> None:
    asked = []

    def ask(connection: Connection) -> None:
        names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
        rows = [
            connection.execute(text("SELECT setting FROM pg_settings WHERE name = :name"), {"name": n}) for n in names
        ]
        assert [int(str(row.scalar())) for row in rows] == [IDLE_SECONDS, INTERVAL_SECONDS, TRIES, UNANSWERED_MS]
        ours = connection.connection.driver_connection
        assert ours is not None
        with socket.socket(fileno=ours.fileno()) as line:
            options = (socket.SO_KEEPALIVE, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            levels = (socket.SOL_SOCKET, *[socket.IPPROTO_TCP] * 3)
            found = [line.getsockopt(*one) for one in zip(levels, options, strict=True)]
            line.detach()
        assert found == [1, IDLE_SECONDS, INTERVAL_SECONDS, TRIES]
        asked.append(1)

    side(postgres_url, ask)
    assert asked


def test_a_database_without_an_encoding_is_used(postgres_url: str) -> None:
    """A cluster that was made without a locale says SQL_ASCII of its databases."""
    name = "without_encoding"
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"))
        try:
            with closing(SqlCaseStore(f"{postgres_url.rpartition('/')[0]}/{name}")) as store:
                assert store.create_session(token_hash("x"), "wörter").owner == "wörter"
        finally:
            with admin.connect() as connection:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        admin.dispose()
