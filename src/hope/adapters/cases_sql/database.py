"""The way to the database: one engine, transactions that suit SQLite and Postgres, and the schema on first use."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Double, Engine, cast, create_engine, event, extract, func, literal, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.sql.elements import ColumnElement

from hope.adapters import postgres_connection
from hope.adapters.cases_sql.schema import bring_up_to_date
from hope.adapters.cases_sql.tables import events
from hope.adapters.database_errors import worded
from hope.contract.job import EventKind
from hope.domain.errors import InputError

BUSY_SECONDS = 30
"""How long a writer waits for another process's writer on SQLite."""

SCRUB_SECONDS = 5
"""How long a deletion waits for readers to let go of the old rows; then later writers try again as often."""

RECYCLE_SECONDS = 1800
"""How old a connection to Postgres gets."""

LOCK_EVENTS, LOCK_AUDIT, LOCK_SCHEMA = 0x484F5045_01, 0x484F5045_02, 0x484F5045_03
"""Postgres advisory locks: what has to happen one after the other over all processes."""

_WRITE = "hope_write"

log = logging.getLogger(__name__)


class Transaction:
    """A write that happens as a whole or not at all. On SQLite it is alone; on Postgres it locks the rows it reads.

    Locks are always taken in the order session, case, what belongs to the case, events: so no two can wait for
    each other.
    """

    def __init__(self, connection: Connection, now: Callable[[], ColumnElement[float]], *, postgres: bool) -> None:
        self.connection = connection
        self._now, self._postgres = now, postgres
        self._events: list[dict[str, Any]] = []

    def tell(self, case_id: str, kind: EventKind, data: Mapping[str, Any]) -> None:
        """Append an event when the transaction commits."""
        self._events.append({"case_id": case_id, "kind": str(kind), "data": dict(data)})

    def alone(self, lock: int) -> None:
        """Wait until no other process is in the same part, and keep it until the transaction ends."""
        if self._postgres:
            self.connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})

    def write_events(self) -> None:
        """Last of all: numbers are given one transaction at a time, so that a reader never sees 6 before 5."""
        if self._events:
            self.alone(LOCK_EVENTS)
            for entry in self._events:
                self.connection.execute(events.insert().values(**entry, at=self._now()))


class Database:
    """Transactions on one database.

    Args:
        url: ``sqlite:///PATH`` or ``postgresql+psycopg://...``.

    Raises:
        InputError: if the URL is neither.
    """

    def __init__(self, url: str) -> None:
        self._url = _checked(url)
        self.postgres = self._url.get_backend_name() == "postgresql"
        self._ready = False
        self._getting_ready = threading.Lock()
        # Writers of one process queue here, which is fair and quick; SQLite's own waiting is neither.
        self._turn: AbstractContextManager[object] = nullcontext() if self.postgres else threading.Lock()
        self._scrub_due = not self.postgres
        self._scrub_next = 0.0
        self._engine = self._postgres_engine() if self.postgres else self._sqlite_engine()
        self._writing = self._engine.execution_options(**{_WRITE: True})
        self._reading = self._engine
        if self.postgres:
            # One picture over several queries, as SQLite gives it anyway.
            self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Several queries that see one state of the database.

        Raises:
            ConnectionError: if the database does not answer.
        """
        with self._worded():
            self._prepare()
            with self._reading.begin() as connection:
                yield connection

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction; never one inside another.

        Raises:
            ConnectionError: if the database does not answer.
            FullError: if the disk is full.
        """
        with self._worded():
            self._prepare()
            with self._turn:
                with self._writing.begin() as connection:
                    transaction = Transaction(connection, self.now, postgres=self.postgres)
                    yield transaction
                    transaction.write_events()
                self._scrub_if_due()

    @contextmanager
    def _worded(self) -> Iterator[None]:
        """Errors of the database's libraries in words of our own, since nobody else knows those libraries."""
        try:
            yield
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            raise worded(error, self._url) from error

    def now(self) -> ColumnElement[float]:
        """Seconds since 1970 by the one clock that all processes share."""
        if self.postgres:
            return cast(extract("epoch", func.clock_timestamp()), Double)
        return literal(time.time(), Double)

    def scrub(self) -> None:
        """After a deletion: leave no deleted byte in SQLite's files. Postgres does so by its own vacuum."""
        if self.postgres:
            return
        with self._worded(), self._turn:
            deadline = time.monotonic() + SCRUB_SECONDS
            while not (done := self._scrubbed(wait_ms=500)) and time.monotonic() < deadline:
                time.sleep(0.05)
            self._scrub_due = not done
        if not done:
            log.warning(
                "deleted rows still lie in the database's files: a reader holds them or the disk is full; trying again"
            )

    def _scrub_if_due(self) -> None:
        """A former process may have died between deleting and scrubbing, or a reader was in the way."""
        if self._scrub_due and time.monotonic() > self._scrub_next:
            self._scrub_next = time.monotonic() + SCRUB_SECONDS
            try:
                self._scrub_due = not self._scrubbed(wait_ms=0)
            except (sqlite3.Error, PoolTimeoutError):
                # What was written before is committed: its writer must not take it for refused and delete its files.
                log.exception("deleted rows still lie in the database's files; trying again")

    def _scrubbed(self, wait_ms: int) -> bool:
        """Write the database anew without what was deleted, and cut the write-ahead log to nothing.

        ``secure_delete`` alone leaves copies behind that were made when SQLite balanced its pages.
        """
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            # Readers must not make all writers wait as long as they like.
            cursor.execute(f"PRAGMA busy_timeout={wait_ms}")
            try:
                cursor.execute("VACUUM")
                return not cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except sqlite3.OperationalError as error:
                # A full disk has no room for the new file yet: what was deleted may be what makes it.
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL):
                    raise
                return False
            finally:
                cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
        finally:
            connection.close()

    def _prepare(self) -> None:
        if self._ready:
            return
        with self._getting_ready:
            if not self._ready:
                with self._writing.begin() as connection:
                    bring_up_to_date(connection, LOCK_SCHEMA if self.postgres else None)
                self._ready = True

    def _postgres_engine(self) -> Engine:
        engine = create_engine(
            self._url,
            # As many as are needed at once are kept: an overflow would be opened and closed for each query.
            pool_size=20,
            max_overflow=0,
            pool_pre_ping=True,
            pool_recycle=RECYCLE_SECONDS,
            connect_args=dict(postgres_connection.CONNECT_ARGS),
            hide_parameters=True,
            json_serializer=_to_json,
        )
        return postgres_connection.watch(engine)

    def _sqlite_engine(self) -> Engine:
        path = Path(self._url.database or "")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Made here, because SQLite would make it readable for everybody; its log takes over the mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise InputError(
                "the database file cannot be opened", got=error.strerror or "an error", fix="check HOPE_DATABASE_URL"
            ) from error
        engine = create_engine(
            self._url,
            pool_size=40,
            max_overflow=0,
            connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
            hide_parameters=True,
            json_serializer=_to_json,
        )
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
        return engine


_to_json = partial(json.dumps, allow_nan=False, separators=(",", ":"))


def _checked(text_url: str) -> URL:
    try:
        url = make_url(text_url)
    except ArgumentError:
        raise InputError("HOPE_DATABASE_URL is not usable", expected="sqlite:///PATH or postgresql://...") from None
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername in ("sqlite", "sqlite+pysqlite") and url.database and url.database != ":memory:":
        return url.set(drivername="sqlite+pysqlite")
    raise InputError(
        "HOPE_DATABASE_URL is not usable",
        expected="sqlite:///PATH of a file, or postgresql://...",
        got=f"{url.drivername}://...",
    )


def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
    # Transactions are begun by `_on_begin` and by nobody else.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
    _use_wal(cursor)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "secure_delete=ON", "temp_store=MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Switching the mode does not wait for other processes by itself; once switched it stays."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _on_begin(connection: Connection) -> None:
    # A reader that turned writer would be refused at once when another has written meanwhile; so writers say it first.
    writes = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
