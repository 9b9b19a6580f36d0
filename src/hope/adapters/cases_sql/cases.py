"""Cases: made, listed, queued, cancelled, deleted."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from sqlalchemy import delete, func, select, update

from hope.adapters.cases_sql.database import Database, Transaction
from hope.adapters.cases_sql.row_locks import (
    GONE,
    bury,
    lock_case,
    lock_idle_case,
    lock_session,
    record_of,
    records_of,
)
from hope.adapters.cases_sql.tables import artifacts, attempts, cases, series, sessions, stages
from hope.contract.job import CaseRecord, CaseState, ConflictError, EventKind, GoneError, StageState
from hope.contract.options import RunOptions
from hope.contract.stages import STAGES
from hope.domain.ids import new_id
from hope.domain.wording import counted

_IN_WORK = tuple(str(state) for state in CaseState if state.in_work)
_OPEN_STAGES = (str(StageState.WAITING), str(StageState.RUNNING))


class CaseRows:
    """The methods of `hope.ports.CaseStore` about cases."""

    _db: Database

    def create_case(self, session_id: str) -> CaseRecord:
        """A new case.

        Raises:
            GoneError: if the session is gone.
        """
        with self._db.write() as transaction:
            number = lock_session(transaction, session_id)["cases_made"] + 1
            row = {
                "id": new_id(),
                "session_id": session_id,
                "number": number,
                "state": str(CaseState.NEW),
                "created_at": time.time(),
                "run": 0,
                "choice": RunOptions().to_json(),
                "problem": "",
                "problem_is_ours": False,
                "result": {},
            }
            connection = transaction.connection
            connection.execute(update(sessions).where(sessions.c.id == session_id).values(cases_made=number))
            inserted = connection.execute(cases.insert().values(**row).returning(*cases.c)).mappings().one()
            return record_of(connection, inserted)

    def case(self, case_id: str, session_id: str | None = None) -> CaseRecord:
        """A case with stages and series.

        Raises:
            GoneError: if it or its session is gone or closed, or if it belongs to another session than the one given.
        """
        query = (
            select(cases)
            .join(sessions, sessions.c.id == cases.c.session_id)
            .where(cases.c.id == case_id, sessions.c.closed_at.is_(None))
        )
        if session_id is not None:
            query = query.where(cases.c.session_id == session_id)
        with self._db.read() as connection:
            row = connection.execute(query).mappings().first()
            if row is None:
                raise GoneError(GONE)
            return record_of(connection, row)

    def cases(self, session_id: str) -> list[CaseRecord]:
        """All cases of a session, oldest first; also of a closed one, so that a kill can be finished."""
        query = select(cases).where(cases.c.session_id == session_id).order_by(cases.c.number)
        with self._db.read() as connection:
            return records_of(connection, list(connection.execute(query).mappings()))

    def living_cases(self, case_ids: Collection[str]) -> set[str]:
        """Those of the ids whose case is there and whose session is not closed."""
        joined = select(cases.c.id).join(sessions, sessions.c.id == cases.c.session_id)
        query = joined.where(cases.c.id.in_(list(case_ids)), sessions.c.closed_at.is_(None))
        with self._db.read() as connection:
            return set(connection.execute(query).scalars())

    def queue_case(self, case_id: str, choice: RunOptions, max_in_work: int) -> CaseRecord:
        """Start a new run: run + 1, state queued, four waiting stages, result and problem cleared, an event.

        What is known of earlier runs' files, corrections among them, is dropped; their blobs stay where they are.

        Raises:
            GoneError: if the case is gone.
            ConflictError: if it is in work already, has no scan, or the session has ``max_in_work`` cases in work.
        """
        with self._db.write() as transaction:
            connection = transaction.connection
            # The whole session is held, so that two cases queued at once are counted one after the other.
            owner = connection.execute(select(cases.c.session_id).where(cases.c.id == case_id)).scalar()
            lock_session(transaction, owner or "")
            row = lock_idle_case(transaction, case_id)
            _check_may_queue(transaction, row["session_id"], case_id, max_in_work)
            run = row["run"] + 1
            for table in (stages, artifacts):
                connection.execute(delete(table).where(table.c.case_id == case_id))
            connection.execute(delete(attempts).where(attempts.c.case_id == case_id, attempts.c.ended_at.is_not(None)))
            connection.execute(stages.insert(), _waiting_stages(case_id))
            queued = connection.execute(
                update(cases)
                .where(cases.c.id == case_id)
                .values(
                    run=run,
                    queued_at=self._db.now(),
                    state=str(CaseState.QUEUED),
                    choice=choice.to_json(),
                    problem="",
                    problem_is_ours=False,
                    result={},
                    correction={},
                )
                .returning(*cases.c)
            )
            transaction.tell(case_id, EventKind.STATE, {"state": str(CaseState.QUEUED), "run": run})
            return record_of(connection, queued.mappings().one())

    def label_case(self, case_id: str, label: str) -> CaseRecord:
        """Give a case the user's name for it; an empty one takes it away.

        Raises:
            GoneError: if the case is gone.
        """
        with self._db.write() as transaction:
            lock_case(transaction, case_id)
            change = update(cases).where(cases.c.id == case_id).values(label=label)
            row = transaction.connection.execute(change.returning(*cases.c)).mappings().one()
            return record_of(transaction.connection, row)

    def cancel_case(self, case_id: str, run: int | None = None) -> CaseRecord:
        """State cancelled with an event if it is in work (and in that run); its attempts are fenced from now on.

        Works in a closed session too.

        Raises:
            GoneError: if the case is deleted or unknown.
        """
        with self._db.write() as transaction:
            connection = transaction.connection
            row = lock_case(transaction, case_id, closing_too=True)
            if not CaseState(row["state"]).in_work or run not in (None, row["run"]):
                return record_of(connection, row)
            running = select(stages.c.stage).where(
                stages.c.case_id == case_id, stages.c.state == str(StageState.RUNNING)
            )
            stopped = list(connection.execute(running).scalars())
            open_ones = (stages.c.case_id == case_id) & stages.c.state.in_(_OPEN_STAGES)
            changes: dict[str, Any] = {"state": str(StageState.CANCELLED), "token": None, "ended_at": time.time()}
            connection.execute(update(stages).where(open_ones).values(**changes))
            for stage in stopped:
                facts = {"stage": stage, "state": str(StageState.CANCELLED), "run": row["run"]}
                transaction.tell(case_id, EventKind.STAGE, facts)
            transaction.tell(case_id, EventKind.STATE, {"state": str(CaseState.CANCELLED), "run": row["run"]})
            change = update(cases).where(cases.c.id == case_id).values(state=str(CaseState.CANCELLED))
            cancelled = connection.execute(change.returning(*cases.c)).mappings().one()
            return record_of(connection, cancelled)

    def cases_in_work(self, older_than_seconds: float) -> list[CaseRecord]:
        """Queued and running cases of all living sessions whose current run was queued longer ago than this."""
        query = (
            select(cases)
            .join(sessions, sessions.c.id == cases.c.session_id)
            .where(cases.c.state.in_(_IN_WORK), sessions.c.closed_at.is_(None))
            .where(cases.c.queued_at < self._db.now() - older_than_seconds)
            .order_by(cases.c.queued_at)
        )
        with self._db.read() as connection:
            return records_of(connection, list(connection.execute(query).mappings()))

    def delete_case(self, case_id: str) -> None:
        """Write a tombstone and delete every row of a case. Idempotent."""
        with self._db.write() as transaction:
            try:
                lock_case(transaction, case_id, closing_too=True)
            except GoneError:
                return
            bury(transaction, case_id)
            # The foreign keys take everything along that belongs to the case.
            transaction.connection.execute(delete(cases).where(cases.c.id == case_id))
        self._db.scrub()


def _check_may_queue(transaction: Transaction, session_id: str, case_id: str, max_in_work: int) -> None:
    connection = transaction.connection
    assigned = select(func.count()).where(series.c.case_id == case_id, series.c.sequence.is_not(None))
    if not connection.execute(assigned).scalar():
        raise ConflictError("the case has no scan to work on; upload one, or say which sequence a series is")
    working = select(func.count()).where(cases.c.session_id == session_id, cases.c.state.in_(_IN_WORK))
    if (connection.execute(working).scalar() or 0) >= max_in_work:
        raise ConflictError(
            f"this session has {counted(max_in_work, 'cases in work already')}, which is the most; wait until one "
            "is done"
        )


def _waiting_stages(case_id: str) -> list[dict[str, Any]]:
    return [
        {
            "case_id": case_id,
            "stage": str(stage),
            "position": position,
            "state": str(StageState.WAITING),
            "share": 0.0,
            "message": "",
            "attempts": 0,
        }
        for position, stage in enumerate(STAGES)
    ]
