"""What is told and kept: events, the audit log's chain, leases of worker processes, figures for /metrics."""

from __future__ import annotations

import time
from collections.abc import Collection

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from hope.adapters.cases_sql.attempts import alive
from hope.adapters.cases_sql.database import LOCK_AUDIT, Database
from hope.adapters.cases_sql.rows import audit_from, event_from
from hope.adapters.cases_sql.tables import attempts, audit_log, cases, events, leases, sessions
from hope.contract.job import CaseEvent, CaseState
from hope.domain.audit import FIRST_PREVIOUS, AuditEntry, entry_hash


class Logbook:
    """The methods of `hope.ports.CaseStore` about events, audit, leases and figures."""

    _db: Database

    def events(self, case_ids: Collection[str], after: int, limit: int = 500) -> list[CaseEvent]:
        """Events of some cases in order of number, later than ``after``."""
        if not case_ids:
            return []
        query = select(events).where(events.c.case_id.in_(list(case_ids)), events.c.number > after)
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(events.c.number).limit(limit)).mappings()
            return [event_from(row) for row in rows]

    def append_audit(self, actor: str, action: str, target: str, outcome: str) -> AuditEntry:
        """Add to the hash chain; serialised over all processes."""
        with self._db.write() as transaction:
            transaction.alone(LOCK_AUDIT)
            newest = select(audit_log.c.number, audit_log.c.hash).order_by(audit_log.c.number.desc()).limit(1)
            last = transaction.connection.execute(newest).first()
            number, previous = (last.number + 1, last.hash) if last else (1, FIRST_PREVIOUS)
            # As exactly as every database keeps it, so that the hash still fits what is read back.
            at = round(time.time(), 6)
            own = entry_hash(number, at, actor, action, target, outcome, previous)
            entry = AuditEntry(number, at, actor, action, target, outcome, previous, own)
            transaction.connection.execute(audit_log.insert(), vars(entry))
            return entry

    def audit(self, after: int = 0, limit: int = 1000) -> list[AuditEntry]:
        """Entries in order."""
        query = select(audit_log).where(audit_log.c.number > after).order_by(audit_log.c.number).limit(limit)
        with self._db.read() as connection:
            return [audit_from(row) for row in connection.execute(query).mappings()]

    def renew_lease(self, executor: str, seconds: float) -> list[str]:
        """Say that an executor lives; the database's or this machine's clock plus ``seconds`` is its deadline.

        Returns:
            All executors whose deadline has passed, those that ran out first before the others.
        """
        insert = (postgresql if self._db.postgres else sqlite).insert(leases)
        query = insert.values(executor=executor, deadline=self._db.now() + seconds)
        query = query.on_conflict_do_update(index_elements=["executor"], set_={"deadline": query.excluded.deadline})
        with self._db.write() as transaction:
            transaction.connection.execute(query)
            expired = select(leases.c.executor).where(leases.c.deadline < self._db.now()).order_by(leases.c.deadline)
            return list(transaction.connection.execute(expired).scalars())

    def end_lease(self, executor: str) -> bool:
        """Let an executor's lease expire now, since its process is known to be dead; whether it had not yet."""
        with self._db.write() as transaction:
            holding = (leases.c.executor == executor) & (leases.c.deadline >= self._db.now())
            query = update(leases).where(holding).values(deadline=self._db.now())
            return bool(transaction.connection.execute(query).rowcount)

    def forget_executor(self, executor: str, seconds: float = 0.0) -> None:
        """Remove a lease that expired ``seconds`` ago or earlier; one that was renewed meanwhile stays."""
        with self._db.write() as transaction:
            expired = (leases.c.executor == executor) & (leases.c.deadline < self._db.now() - seconds)
            transaction.connection.execute(delete(leases).where(expired))

    def counts(self) -> dict[str, int]:
        """Cases per state (``cases_running`` ...), living ``sessions``, ``attempts_running``."""
        figures = {f"cases_{state}": 0 for state in CaseState}
        with self._db.read() as connection:
            for state, number in connection.execute(select(cases.c.state, func.count()).group_by(cases.c.state)):
                figures[f"cases_{state}"] = number
            living = select(func.count()).select_from(sessions).where(sessions.c.closed_at.is_(None))
            figures["sessions"] = connection.execute(living).scalar() or 0
            running = select(func.count()).select_from(attempts).where(alive(self._db))
            figures["attempts_running"] = connection.execute(running).scalar() or 0
        return figures

    def check(self) -> None:
        """Do a cheap round trip for ``/readyz``.

        Raises:
            ConnectionError: if the database does not answer.
        """
        with self._db.read() as connection:
            connection.execute(text("SELECT 1"))
