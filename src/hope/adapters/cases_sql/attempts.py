"""Attempts: who may write the outcome of a stage. Of all that were ever begun, at most one per stage is current."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, select, update

from hope.adapters.cases_sql.database import Database, Transaction
from hope.adapters.cases_sql.row_locks import GONE, lock_case
from hope.adapters.cases_sql.rows import artifact_row, attempt_from
from hope.adapters.cases_sql.tables import artifacts, attempts, cases, leases, stages, uploads
from hope.contract.job import Artifact, Attempt, CaseState, EventKind, FencedError, GoneError, StageJob, StageState
from hope.contract.stages import Stage
from hope.domain.ids import new_token

PROGRESS_STEP = 0.01
"""Progress by less than this is no news."""

LONGEST_MESSAGE = 500


class AttemptRows:
    """The methods of `hope.ports.CaseStore` about attempts."""

    _db: Database

    def begin_attempt(self, job: StageJob, executor: str) -> Attempt:
        """Take the right to do a stage: earlier attempts of it are fenced; stage and case become running; events.

        Raises:
            GoneError: if case or session is gone.
            FencedError: if the run is not the current one, was cancelled or failed, or the stage is done already.
        """
        with self._db.write() as transaction:
            case = lock_case(transaction, job.case_id)
            if case["session_id"] != job.session_id:
                raise GoneError(GONE)
            stage = _stage_row(transaction, job)
            if case["run"] != job.run or not CaseState(case["state"]).in_work:
                raise FencedError(f"run {job.run} of the case is over")
            if stage["state"] not in (StageState.WAITING, StageState.RUNNING):
                raise FencedError(f"the stage {job.stage} is {stage['state']} already")
            now = time.time()
            row = {
                "token": new_token(),
                "case_id": job.case_id,
                "session_id": job.session_id,
                "run": job.run,
                "stage": str(job.stage),
                "priority": job.priority,
                "executor": executor,
                "number": stage["attempts"] + 1,
                "choice": case["choice"],
                "begun_at": now,
            }
            connection = transaction.connection
            connection.execute(attempts.insert(), row)
            begun: dict[str, Any] = {"state": str(StageState.RUNNING), "token": row["token"], "attempts": row["number"]}
            begun |= {"share": 0.0, "message": "", "started_at": now, "ended_at": None, "seen_at": now}
            connection.execute(update(stages).where(_this_stage(job)).values(**begun))
            transaction.tell(job.case_id, EventKind.STAGE, _stage_facts(job, StageState.RUNNING))
            if case["state"] != CaseState.RUNNING:
                _set_case(transaction, job.case_id, job.run, CaseState.RUNNING)
            return attempt_from(row)  # type: ignore[arg-type]

    def heartbeat(self, attempt: Attempt, share: float, message: str) -> None:
        """Progress of an attempt: a sign of life always, an event if share (by 0.01) or message changed.

        Raises:
            FencedError: if the attempt is no longer current.
            GoneError: if the case is gone.
        """
        share, message = min(1.0, max(0.0, share)), message[:LONGEST_MESSAGE]
        with self._db.write() as transaction:
            row = _lock_current(transaction, attempt)
            changes: dict[str, Any] = {"seen_at": time.time()}
            complete = share == 1.0 and row["share"] != 1.0
            if message != row["message"] or abs(share - row["share"]) >= PROGRESS_STEP - 1e-9 or complete:
                changes |= {"share": share, "message": message}
                facts = {"stage": str(attempt.job.stage), "share": share, "message": message, "run": attempt.job.run}
                transaction.tell(attempt.job.case_id, EventKind.PROGRESS, facts)
            transaction.connection.execute(update(stages).where(_this_stage(attempt.job)).values(**changes))

    def commit_attempt(
        self, attempt: Attempt, artifacts: Sequence[Artifact], result: Mapping[str, Any] | None = None
    ) -> None:
        """Make a stage's files visible and mark it done, in one transaction; the last stage makes the case done.

        Raises:
            FencedError: if the attempt is no longer current.
            GoneError: if the case is gone.
        """
        job = attempt.job
        with self._db.write() as transaction:
            row = _lock_current(transaction, attempt)
            _insert_artifacts(transaction, job, artifacts)
            now = time.time()
            done: dict[str, Any] = {"state": str(StageState.DONE), "share": 1.0, "ended_at": now, "seen_at": now}
            transaction.connection.execute(update(stages).where(_this_stage(job)).values(token=None, **done))
            if result is not None:
                keep = update(cases).where(cases.c.id == job.case_id).values(result=dict(result))
                transaction.connection.execute(keep)
            seconds = round(now - row["started_at"], 3)
            transaction.tell(job.case_id, EventKind.STAGE, _stage_facts(job, StageState.DONE, seconds=seconds))
            others = (stages.c.case_id == job.case_id) & (stages.c.state != str(StageState.DONE))
            if not transaction.connection.execute(select(func.count()).where(others)).scalar():
                _set_case(transaction, job.case_id, job.run, CaseState.DONE)

    def fail_attempt(self, attempt: Attempt, problem: str, *, ours: bool, final: bool) -> None:
        """The attempt ended without an outcome. ``final`` makes stage and case failed; else the stage waits again.

        Silent if the attempt is no longer current.
        """
        job = attempt.job
        with self._db.write() as transaction:
            try:
                row = _lock_current(transaction, attempt)
            except (FencedError, GoneError):
                return
            now = time.time()
            state = StageState.FAILED if final else StageState.WAITING
            changes: dict[str, Any] = {"state": str(state), "token": None, "seen_at": now}
            if final:
                changes |= {"ended_at": now}
            else:
                changes |= {"share": 0.0, "message": problem[:LONGEST_MESSAGE], "started_at": None}
            transaction.connection.execute(update(stages).where(_this_stage(job)).values(**changes))
            facts = _stage_facts(job, state, problem=problem)
            if final:
                facts["seconds"] = round(now - row["started_at"], 3)
            transaction.tell(job.case_id, EventKind.STAGE, facts)
            if final:
                _set_case(transaction, job.case_id, job.run, CaseState.FAILED, problem=problem, problem_is_ours=ours)

    def fail_case(self, case_id: str, run: int, problem: str) -> None:
        """Mark a run that is in work as failed by our own fault, with events; silent if it is not in work."""
        with self._db.write() as transaction:
            try:
                case = lock_case(transaction, case_id)
            except GoneError:
                return
            if case["run"] != run or not CaseState(case["state"]).in_work:
                return
            running = (stages.c.case_id == case_id) & (stages.c.state == str(StageState.RUNNING))
            query = update(stages).where(running).values(state=str(StageState.FAILED), token=None, ended_at=time.time())
            for stage in transaction.connection.execute(query.returning(stages.c.stage)).scalars().all():
                job = StageJob(case_id, case["session_id"], run, Stage(stage))
                transaction.tell(case_id, EventKind.STAGE, _stage_facts(job, StageState.FAILED, problem=problem))
            _set_case(transaction, case_id, run, CaseState.FAILED, problem=problem, problem_is_ours=True)

    def end_attempt(self, attempt: Attempt) -> None:
        """Say that the attempt's process is dead, whatever came of it. Idempotent, silent if its rows are gone."""
        this = (attempts.c.token == attempt.token) & attempts.c.ended_at.is_(None)
        with self._db.write() as transaction:
            transaction.connection.execute(update(attempts).where(this).values(ended_at=time.time()))

    def running_attempts(self, *, session_id: str | None = None, case_id: str | None = None) -> list[Attempt]:
        """Attempts whose process may still live: begun, not ended, and their executor's lease not expired."""
        return self._attempts(alive(self._db), session_id, case_id)

    def open_attempts(self, *, session_id: str | None = None, case_id: str | None = None) -> list[Attempt]:
        """Attempts that have not ended, also of dead executors: scratch directories may still hold their scans."""
        return self._attempts(attempts.c.ended_at.is_(None), session_id, case_id)

    def end_attempts_of(self, executor: str) -> None:
        """Say that an executor is dead and its scratch directory deleted: its attempts and uploads have ended."""
        its = (attempts.c.executor == executor) & attempts.c.ended_at.is_(None)
        with self._db.write() as transaction:
            transaction.connection.execute(update(attempts).where(its).values(ended_at=time.time()))
            transaction.connection.execute(delete(uploads).where(uploads.c.executor == executor))

    def _attempts(self, which: ColumnElement[bool], session_id: str | None, case_id: str | None) -> list[Attempt]:
        query = select(attempts).where(which).order_by(attempts.c.begun_at)
        if session_id is not None:
            query = query.where(attempts.c.session_id == session_id)
        if case_id is not None:
            query = query.where(attempts.c.case_id == case_id)
        with self._db.read() as connection:
            return [attempt_from(row) for row in connection.execute(query).mappings()]


def alive(database: Database) -> ColumnElement[bool]:
    """Of ``attempts``: not ended, by an executor whose lease holds."""
    holding = select(leases.c.executor).where(leases.c.deadline >= database.now())
    return and_(attempts.c.ended_at.is_(None), attempts.c.executor.in_(holding))


def _lock_current(transaction: Transaction, attempt: Attempt) -> RowMapping:
    """The stage's row, locked by its case, if the attempt is the current one of the current run, which is in work."""
    job = attempt.job
    case = lock_case(transaction, job.case_id)
    stage = _stage_row(transaction, job)
    current = case["run"] == job.run and stage["token"] == attempt.token and stage["state"] == StageState.RUNNING
    if not current or not CaseState(case["state"]).in_work:
        raise FencedError(f"this attempt at the stage {job.stage} is no longer the current one")
    return stage


def _stage_row(transaction: Transaction, job: StageJob) -> RowMapping:
    row = transaction.connection.execute(select(stages).where(_this_stage(job))).mappings().first()
    if row is None:
        raise FencedError("the case was never started")
    return row


def _this_stage(job: StageJob) -> ColumnElement[bool]:
    return and_(stages.c.case_id == job.case_id, stages.c.stage == str(job.stage))


def _insert_artifacts(transaction: Transaction, job: StageJob, made: Sequence[Artifact]) -> None:
    rows = [artifact_row(job.case_id, entry, {}) | {"stage": str(job.stage), "version": 0} for entry in made]
    if rows:
        transaction.connection.execute(artifacts.insert(), rows)


def _stage_facts(job: StageJob, state: StageState, **more: object) -> dict[str, object]:
    return {"stage": str(job.stage), "state": str(state), "run": job.run, **more}


def _set_case(transaction: Transaction, case_id: str, run: int, state: CaseState, **changes: Any) -> None:
    """Change the case's state and tell it."""
    query = update(cases).where(cases.c.id == case_id).values(state=str(state), **changes)
    transaction.connection.execute(query)
    problem = {"problem": changes["problem"]} if changes.get("problem") else {}
    transaction.tell(case_id, EventKind.STATE, {"state": str(state), "run": run, **problem})
