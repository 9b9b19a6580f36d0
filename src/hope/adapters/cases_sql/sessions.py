"""Sessions: opened, seen, closed by a tombstone, deleted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select, update

from hope.adapters.cases_sql.database import Database, Transaction
from hope.adapters.cases_sql.row_locks import GONE, bury, lock_session
from hope.adapters.cases_sql.rows import session_from
from hope.adapters.cases_sql.tables import sessions
from hope.contract.job import GoneError, Session
from hope.domain.errors import OutputError
from hope.domain.ids import new_id

SEEN_EVERY_SECONDS = 30.0
"""A session in use is written as seen at most this often, so that reading stays reading."""


class SessionRows:
    """The session methods of `hope.ports.SessionStore`."""

    _db: Database

    def create_session(self, token_sha256: str, owner: str) -> Session:
        """Open a session."""
        row = {
            "id": new_id(),
            "token_sha256": token_sha256,
            "owner": owner,
            "created_at": self._db.now(),
            "seen_at": self._db.now(),
            "close_with_page": False,
            "notify": {},
            "cases_made": 0,
        }
        with self._db.write() as transaction:
            made = transaction.connection.execute(sessions.insert().values(row).returning(*sessions.c))
            return session_from(made.mappings().one())

    def now(self) -> float:
        """Seconds since 1970 by the clock that all processes share, so that hosts need not agree on the time."""
        with self._db.read() as connection:
            return float(connection.execute(select(self._db.now())).scalar_one())

    def session_of_token(self, token_sha256: str) -> Session | None:
        """The living session with this token, marked as seen now (and no longer left); None if there is none."""
        query = select(sessions, self._db.now().label("asked_at")).where(
            sessions.c.token_sha256 == token_sha256, sessions.c.closed_at.is_(None)
        )
        with self._db.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        if row["left_at"] is None and abs(row["asked_at"] - row["seen_at"]) < SEEN_EVERY_SECONDS:
            return session_from(row)
        try:
            return self._change(row["id"], {"seen_at": self._db.now(), "left_at": None})
        except GoneError:
            return None
        except OutputError:
            # A full disk must not keep anybody from deleting what fills it.
            return session_from(row)

    def session(self, session_id: str) -> Session:
        """A living session.

        Raises:
            GoneError: if it is closed or unknown.
        """
        query = select(sessions).where(sessions.c.id == session_id, sessions.c.closed_at.is_(None))
        with self._db.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise GoneError(GONE)
        return session_from(row)

    def sessions(self) -> list[Session]:
        """All living sessions."""
        query = select(sessions).where(sessions.c.closed_at.is_(None)).order_by(sessions.c.created_at)
        with self._db.read() as connection:
            return [session_from(row) for row in connection.execute(query).mappings()]

    def update_session(
        self,
        session_id: str,
        *,
        close_with_page: bool | None = None,
        notify: Mapping[str, str] | None = None,
        left: bool | None = None,
    ) -> Session:
        """Change what is not None.

        Raises:
            GoneError: if the session is closed or unknown.
        """
        changes: dict[str, Any] = {}
        if close_with_page is not None:
            changes["close_with_page"] = close_with_page
        if notify is not None:
            changes["notify"] = dict(notify)
        if left is not None:
            changes["left_at"] = self._db.now() if left else None
        return self._change(session_id, changes) if changes else self.session(session_id)

    def _change(self, session_id: str, changes: Mapping[str, Any]) -> Session:
        with self._db.write() as transaction:
            lock_session(transaction, session_id)
            query = update(sessions).where(sessions.c.id == session_id).values(**changes).returning(*sessions.c)
            return session_from(transaction.connection.execute(query).mappings().one())

    def close_session(self, session_id: str) -> None:
        """Write the tombstone: from now on no token opens it and no attempt of it may begin or commit. Idempotent."""
        with self._db.write() as transaction:
            _close(transaction, session_id)

    def closing_sessions(self) -> list[str]:
        """Sessions with a tombstone whose rows are still there: a kill that was interrupted and must be finished."""
        query = select(sessions.c.id).where(sessions.c.closed_at.is_not(None)).order_by(sessions.c.closed_at)
        with self._db.read() as connection:
            return list(connection.execute(query).scalars())

    def delete_session_rows(self, session_id: str) -> None:
        """Delete every row of the session and its cases; the tombstone (a hash) and the audit log stay."""
        with self._db.write() as transaction:
            _close(transaction, session_id)
            # The foreign keys take everything along that belongs to the session's cases.
            transaction.connection.execute(delete(sessions).where(sessions.c.id == session_id))
        self._db.scrub()


def _close(transaction: Transaction, session_id: str) -> None:
    connection = transaction.connection
    row = connection.execute(select(sessions.c.closed_at).where(sessions.c.id == session_id).with_for_update()).first()
    if row is None:
        return
    bury(transaction, session_id)
    if row.closed_at is None:
        connection.execute(update(sessions).where(sessions.c.id == session_id).values(closed_at=time.time()))
