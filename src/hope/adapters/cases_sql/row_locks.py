"""How a writer takes hold of a session or case: locked against other writers, and checked to be there still."""

from __future__ import annotations

import time

from sqlalchemy import Connection, RowMapping, func, select

from hope.adapters.cases_sql.database import Transaction
from hope.adapters.cases_sql.rows import case_from
from hope.adapters.cases_sql.tables import cases, series, sessions, stages, tombstones
from hope.contract.job import CaseRecord, CaseState, ConflictError, GoneError
from hope.domain.ids import reference_of

GONE = "there is no such case or session"


def lock_session(transaction: Transaction, session_id: str) -> RowMapping:
    """Lock a living session against everything else that happens in it.

    Raises:
        GoneError: if it is closed or unknown.
    """
    query = select(sessions).where(sessions.c.id == session_id).with_for_update()
    row = transaction.connection.execute(query).mappings().first()
    if row is None or row["closed_at"] is not None or _buried(transaction, session_id):
        raise GoneError(GONE)
    return row


def lock_case(transaction: Transaction, case_id: str, *, closing_too: bool = False) -> RowMapping:
    """Lock a case; others may work on the session's other cases meanwhile, but nobody can close the session.

    Args:
        transaction: of the writer.
        case_id: which case.
        closing_too: whether a case of a closed session will do.

    Raises:
        GoneError: if case or session is closed, deleted or unknown.
    """
    connection = transaction.connection
    owner = select(cases.c.session_id).where(cases.c.id == case_id).scalar_subquery()
    query = select(sessions.c.id, sessions.c.closed_at).where(sessions.c.id == owner).with_for_update(read=True)
    session = connection.execute(query).mappings().first()
    row = connection.execute(select(cases).where(cases.c.id == case_id).with_for_update()).mappings().first()
    if row is None or session is None:
        raise GoneError(GONE)
    if not closing_too and (session["closed_at"] is not None or _buried(transaction, case_id, session["id"])):
        raise GoneError(GONE)
    return row


def lock_idle_case(transaction: Transaction, case_id: str) -> RowMapping:
    """Lock a case that is not in work.

    Raises:
        GoneError: as `hold_case`.
        ConflictError: while it is queued or running.
    """
    row = lock_case(transaction, case_id)
    if CaseState(row["state"]).in_work:
        raise ConflictError("the case is being worked on; wait until it is done or cancel it first")
    return row


def bury(transaction: Transaction, identifier: str) -> None:
    """Write the tombstone of a session or case: a hash that leads back to nothing."""
    reference = reference_of(identifier)
    if not _buried(transaction, identifier):
        transaction.connection.execute(tombstones.insert(), {"reference": reference, "at": time.time()})


def _buried(transaction: Transaction, *identifiers: str) -> bool:
    references = [reference_of(identifier) for identifier in identifiers]
    query = select(func.count()).select_from(tombstones).where(tombstones.c.reference.in_(references))
    return bool(transaction.connection.execute(query).scalar())


def record_of(connection: Connection, row: RowMapping) -> CaseRecord:
    """A row of ``cases`` with its stages and series."""
    return records_of(connection, [row])[0]


def records_of(connection: Connection, rows: list[RowMapping]) -> list[CaseRecord]:
    """Rows of ``cases`` with their stages and series, in two queries however many they are."""
    ids = [row["id"] for row in rows]
    if not ids:
        return []
    of_stages: dict[str, list[RowMapping]] = {case_id: [] for case_id in ids}
    of_series: dict[str, list[RowMapping]] = {case_id: [] for case_id in ids}
    query = select(stages).where(stages.c.case_id.in_(ids)).order_by(stages.c.position)
    for entry in connection.execute(query).mappings():
        of_stages[entry["case_id"]].append(entry)
    for entry in connection.execute(select(series).where(series.c.case_id.in_(ids))).mappings():
        of_series[entry["case_id"]].append(entry)
    return [case_from(row, of_stages[row["id"]], of_series[row["id"]]) for row in rows]
