"""The audit log: who did what, when, with what outcome, without patient data."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from hope.domain.audit import AuditEntry, Head, Verification, verify
from hope.domain.errors import OutputError
from hope.domain.ids import reference_of

LONGEST = 120
MOST_OWED = 10_000
LATE = " (written late)"
_PAGE = 1000

log = logging.getLogger(__name__)


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
        self._owed: deque[tuple[str, str, str, str]] = deque(maxlen=MOST_OWED)
        self._paying = threading.Lock()

    def record(self, actor: str, action: str, target_id: str, outcome: str = "ok") -> AuditEntry | None:
        """Append an entry; None if that is not possible now.

        What the entry tells of has happened: a full disk, or a database that is away, must not turn its answer into a
        failure. The entry is kept in memory then, at most `MOST_OWED` of them, and written before the next one; its
        time is that of the writing, and its outcome says so. If this process ends before, the entry is lost, and the
        program's log says that one was due.

        Args:
            actor: a session's owner, or ``system``.
            action: such as ``session.kill``.
            target_id: id of the session or case; only its `reference_of` is kept.
            outcome: ``ok`` or a short reason; never a file name, an id or a person.
        """
        entry = (_short(actor), _short(action), reference_of(target_id), _short(outcome))
        try:
            self._pay()
            return self._store.append_audit(*entry)
        except (OutputError, ConnectionError) as error:
            log.error("an audit entry (%s) cannot be written yet: %s", entry[1], type(error).__name__)
            with self._paying:
                self._owed.append((*entry[:3], _short(f"{entry[3]}{LATE}")))
            return None

    def _pay(self) -> None:
        """Write what is owed, oldest first."""
        with self._paying:
            while self._owed:
                self._store.append_audit(*self._owed[0])
                self._owed.popleft()

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
