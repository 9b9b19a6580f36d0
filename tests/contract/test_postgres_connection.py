"""Connections to Postgres, on a real server: both sides notice a host that has vanished."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, create_engine, text

from hope.adapters.cases_sql import SqlCaseStore
from hope.adapters.cases_sql.database import Database
from hope.adapters.endings import Endings
from hope.adapters.postgres_connection import IDLE_SECONDS, INTERVAL_SECONDS, TRIES, UNANSWERED_MS
from hope.adapters.queue_bell import Bell, Listener
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


def of_the_socket(number: int) -> list[int]:
    """Whether our side asks, after how long, how often, how many times."""
    with socket.socket(fileno=number) as line:
        options = (socket.SO_KEEPALIVE, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        levels = (socket.SOL_SOCKET, *[socket.IPPROTO_TCP] * 3)
        found = [line.getsockopt(*one) for one in zip(levels, options, strict=True)]
        line.detach()
    return found


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
        assert of_the_socket(ours.fileno()) == [1, IDLE_SECONDS, INTERVAL_SECONDS, TRIES]
        asked.append(1)

    side(postgres_url, ask)
    assert asked


def test_the_connection_that_hears_of_work_asks_too(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is none of the pool's."""
    made: list[psycopg.Connection[Any]] = []
    usual = psycopg.connect

    class HeardEnoughError(Exception):
        pass

    def connect(*given: Any, **more: Any) -> psycopg.Connection[Any]:
        made.append(usual(*given, **more))
        return made[-1]

    def tell(_listener: Listener, _queue: str) -> None:
        (connection,) = made
        rows = connection.execute("SELECT name, setting FROM pg_settings WHERE name LIKE 'tcp%'").fetchall()
        assert {name: int(value) for name, value in rows} == {
            "tcp_keepalives_idle": IDLE_SECONDS,
            "tcp_keepalives_interval": INTERVAL_SECONDS,
            "tcp_keepalives_count": TRIES,
            "tcp_user_timeout": UNANSWERED_MS,
        }
        assert of_the_socket(connection.fileno()) == [1, IDLE_SECONDS, INTERVAL_SECONDS, TRIES]
        raise HeardEnoughError

    monkeypatch.setattr(psycopg, "connect", connect)
    monkeypatch.setattr(Listener, "tell", tell)
    with pytest.raises(HeardEnoughError):
        Listener(create_engine(postgres_url), Bell(), Endings())._listen()


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
