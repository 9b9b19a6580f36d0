"""Uploads that have not ended: what they take up counts before anything of them is stored."""

from __future__ import annotations

import time

from sqlalchemy import ColumnElement, Connection, delete, func, or_, select, update

from hope.adapters.cases_sql.database import Database, Transaction
from hope.adapters.cases_sql.row_locks import GONE, lock_session
from hope.adapters.cases_sql.tables import artifacts, cases, series, uploads
from hope.contract.job import GoneError
from hope.contract.scans import BusyError, QuotaError, SessionLimits
from hope.domain.ids import new_id, reference_of

MIB = 2**20


class UploadRows:
    """The methods of `hope.ports.CaseStore` about uploads. Rows hold references, so that they may outlive a session."""

    _db: Database

    def begin_upload(self, case_id: str, executor: str, size: int, limits: SessionLimits, files: int = 1) -> str:
        """Count a new upload of so many bytes, and files that it will leave; returns its id.

        Raises:
            GoneError: if the case is gone.
            BusyError: if the session has as many uploads under way as it may.
            QuotaError: if the session would hold more bytes or files than it may.
        """
        with self._db.write() as transaction:
            session = _session_of(transaction, case_id)
            query = select(func.count()).where(uploads.c.session == reference_of(session))
            if (transaction.connection.execute(query).scalar() or 0) >= limits.uploads:
                raise BusyError(f"this session has {limits.uploads} uploads under way, which is the most; wait for one")
            _check(transaction.connection, session, size, files, limits, but="")
            row = {
                "id": new_id(),
                "session": reference_of(session),
                "case_ref": reference_of(case_id),
                "executor": executor,
                "bytes": size,
                "begun_at": time.time(),
            }
            transaction.connection.execute(uploads.insert(), row)
            return str(row["id"])

    def resize_upload(self, upload_id: str, case_id: str, size: int, limits: SessionLimits) -> None:
        """Say how many bytes an upload takes up now; more than before only if the session may hold them.

        Raises:
            GoneError: if the case is gone.
            QuotaError: if the session would hold more than it may.
        """
        with self._db.write() as transaction:
            session = _session_of(transaction, case_id)
            this = uploads.c.id == upload_id
            before = transaction.connection.execute(select(uploads.c.bytes).where(this)).scalar()
            if before is None:
                raise GoneError(GONE)
            if size > before:
                _check(transaction.connection, session, size, 0, limits, but=upload_id)
            transaction.connection.execute(update(uploads).where(this).values(bytes=size))

    def upload_bytes_left(self, upload_id: str, case_id: str, limits: SessionLimits) -> int:
        """How many bytes this upload may take up at most, with what the session holds and uploads besides.

        Raises:
            GoneError: if the case is gone.
        """
        with self._db.read() as connection:
            session = connection.execute(select(cases.c.session_id).where(cases.c.id == case_id)).scalar()
            if session is None:
                raise GoneError(GONE)
            held, _ = _held(connection, session, but=upload_id)
            return max(0, limits.bytes - held)

    def end_upload(self, upload_id: str) -> None:
        """Nothing of the upload lies in a scratch directory any more. Idempotent."""
        with self._db.write() as transaction:
            transaction.connection.execute(delete(uploads).where(uploads.c.id == upload_id))

    def open_uploads(self, identifier: str) -> int:
        """How many uploads of a session or a case have not ended, also of one that is deleted."""
        with self._db.read() as connection:
            return connection.execute(select(func.count()).where(_of(identifier))).scalar() or 0


def count_no_more(transaction: Transaction, upload_id: str) -> None:
    """The bytes of an upload are stored in this very transaction and count there; the upload itself has not ended."""
    if upload_id:
        transaction.connection.execute(update(uploads).where(uploads.c.id == upload_id).values(bytes=0))


def _of(identifier: str) -> ColumnElement[bool]:
    reference = reference_of(identifier)
    return or_(uploads.c.session == reference, uploads.c.case_ref == reference)


def _session_of(transaction: Transaction, case_id: str) -> str:
    """The session of a case, locked: so that two uploads at once are counted one after the other."""
    owner = transaction.connection.execute(select(cases.c.session_id).where(cases.c.id == case_id)).scalar()
    return str(lock_session(transaction, owner or "")["id"])


def _held(connection: Connection, session: str, but: str) -> tuple[int, int]:
    """Bytes and files of a session: stored scans, stored corrections, and uploads that have not ended."""
    own = select(cases.c.id).where(cases.c.session_id == session).scalar_subquery()
    size = files = 0
    for query in (
        select(func.coalesce(func.sum(series.c.bytes), 0), func.count()).where(series.c.case_id.in_(own)),
        select(func.coalesce(func.sum(artifacts.c.bytes), 0), func.count()).where(
            artifacts.c.case_id.in_(own), artifacts.c.stage == ""
        ),
        select(func.coalesce(func.sum(uploads.c.bytes), 0), func.count()).where(
            uploads.c.session == reference_of(session), uploads.c.id != but
        ),
    ):
        row = connection.execute(query).one()
        size, files = size + int(row[0]), files + int(row[1])
    return size, files


def _check(
    connection: Connection, session: str, more_bytes: int, more_files: int, limits: SessionLimits, but: str
) -> None:
    size, files = _held(connection, session, but)
    if files + more_files > limits.files:
        raise QuotaError("the session holds too many files", expected=f"at most {limits.files}", fix=_FIX)
    if size + more_bytes > limits.bytes:
        got = f"{size / MIB:.1f} MiB there and {more_bytes / MIB:.1f} MiB more"
        expected = f"at most {limits.bytes // MIB} MiB"
        raise QuotaError("the session's scans take too much space", expected=expected, got=got, fix=_FIX)


_FIX = "delete a case or a scan first"
