"""The audit log: who did what, when, with what outcome, without patient data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from hope.domain.audit import AuditEntry, Head, Verification, verify
from hope.domain.ids import reference_of

LONGEST = 120
_PAGE = 1000


class AuditStore(Protocol):
    """The part of `hope.ports.SessionStore` that the audit log needs."""

    def append_audit(self, actor: str, action: str, target: str, outcome: str) -> AuditEntry:
        """Add to the chain."""
        ...

    def audit(self, after: int = 0, limit: int = 1000) -> list[AuditEntry]:
        """Entries in order."""
        ...


class AuditLog:
    """Writes and reads the hash chain in a store. All calls block.

    Args:
        store: where the entries lie.
    """

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    def record(self, actor: str, action: str, target_id: str, outcome: str = "ok") -> AuditEntry:
        """Append an entry.

        Args:
            actor: a session's owner, or ``system``.
            action: such as ``session.kill``.
            target_id: id of the session or case; only its `reference_of` is kept.
            outcome: ``ok`` or a short reason; never a file name, an id or a person.
        """
        return self._store.append_audit(_short(actor), _short(action), reference_of(target_id), _short(outcome))

    def entries(self, after: int = 0) -> Iterator[AuditEntry]:
        """All entries later than number ``after``, in order, read in pages."""
        while True:
            page = self._store.audit(after, _PAGE)
            yield from page
            if not page:
                return
            after = max(entry.number for entry in page)

    def verify(self, noted: Head | None = None) -> Verification:
        """Walk the whole chain; see `hope.domain.audit.verify`."""
        return verify(self.entries(), noted)


def _short(text: str) -> str:
    """One line of bounded length, whatever a caller passes on."""
    return " ".join(text.split())[:LONGEST]
