"""The part of the case store that keeps sessions, what is left of them, and the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from hope.contract.job import Session
from hope.domain.audit import AuditEntry


class SessionStore(Protocol):
    """Sessions, tombstones and audit. All calls block and are safe from many threads and processes."""

    def create_session(self, token_sha256: str, owner: str) -> Session:
        """Open a session."""
        ...

    def now(self) -> float:
        """Seconds since 1970 by the clock that all processes share; sessions are aged by it."""
        ...

    def session_of_token(self, token_sha256: str) -> Session | None:
        """The living session with this token, marked as seen now (and no longer left); None if there is none."""
        ...

    def session(self, session_id: str) -> Session:
        """A living session; raises GoneError."""
        ...

    def sessions(self) -> list[Session]:
        """All living sessions."""
        ...

    def update_session(
        self,
        session_id: str,
        *,
        close_with_page: bool | None = None,
        notify: Mapping[str, str] | None = None,
        left: bool | None = None,
    ) -> Session:
        """Change what is not None; raises GoneError."""
        ...

    def close_session(self, session_id: str) -> None:
        """Write the tombstone: from now on no token opens it and no attempt of it may begin or commit. Idempotent."""
        ...

    def closing_sessions(self) -> list[str]:
        """Sessions with a tombstone whose rows are still there: a kill that was interrupted and must be finished."""
        ...

    def delete_session_rows(self, session_id: str) -> None:
        """Delete every row of the session and its cases; the tombstone (a hash) and the audit log stay."""
        ...

    def append_audit(self, actor: str, action: str, target: str, outcome: str) -> AuditEntry:
        """Add to the hash chain; serialised over all processes."""
        ...

    def audit(self, after: int = 0, limit: int = 1000) -> list[AuditEntry]:
        """Entries in order."""
        ...
