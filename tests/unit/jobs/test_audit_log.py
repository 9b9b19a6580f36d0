"""The audit log over a store: nothing that opens anything is kept, and pages join without a seam."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from hope.domain.audit import FIRST_PREVIOUS, AuditEntry, Head, entry_hash
from hope.domain.errors import FullError
from hope.domain.ids import new_id, reference_of
from hope.jobs.audit_log import LONGEST, AuditLog


class Store:
    """A chain in memory."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []
        self.pages = 0

    def append_audit(self, actor: str, action: str, target: str, outcome: str) -> AuditEntry:
        number, at = len(self.entries) + 1, 1.7e9 + len(self.entries)
        previous = self.entries[-1].hash if self.entries else FIRST_PREVIOUS
        digest = entry_hash(number, at, actor, action, target, outcome, previous)
        self.entries.append(AuditEntry(number, at, actor, action, target, outcome, previous, digest))
        return self.entries[-1]

    def audit(self, after: int = 0, limit: int = 1000) -> list[AuditEntry]:
        self.pages += 1
        return [entry for entry in self.entries if entry.number > after][:limit]


def test_the_id_is_kept_as_a_reference_only() -> None:
    store, case_id = Store(), new_id()
    entry = AuditLog(store).record("local", "case.run", case_id)
    assert entry.target == reference_of(case_id)
    assert entry.outcome == "ok"
    assert case_id not in json.dumps(asdict(entry))


def test_what_callers_pass_on_stays_short_and_on_one_line() -> None:
    store = Store()
    entry = AuditLog(store).record("local", "case.run", new_id(), outcome="a\nb " + "x" * 500)
    assert entry.outcome.startswith("a b x")
    assert len(entry.outcome) == LONGEST


def test_a_long_log_is_read_in_pages_and_verified() -> None:
    store = Store()
    log = AuditLog(store)
    for _ in range(2500):
        log.record("local", "case.run", "x")
    assert [entry.number for entry in log.entries()] == list(range(1, 2501))
    assert store.pages <= 4
    assert [entry.number for entry in log.entries(after=2498)] == [2499, 2500]
    result = log.verify()
    assert (result.whole, result.entries, result.head) == (True, 2500, store.entries[-1].hash)
    assert log.verify(Head(1700, store.entries[1699].hash)).whole
    store.entries[1234] = replace(store.entries[1234], actor="system")
    assert log.verify().bad == 1235


def test_a_store_that_repeats_itself_does_not_hang() -> None:
    store = Store()
    log = AuditLog(store)
    for _ in range(3):
        log.record("local", "case.run", "x")
    store.entries.append(store.entries[0])
    assert log.verify().bad == 4


@pytest.mark.parametrize("error", [FullError("the disk is full"), ConnectionError("the database does not answer")])
def test_what_cannot_be_written_is_owed_and_written_before_the_next_entry(error: Exception) -> None:
    class Refusing(Store):
        refuses = True

        def append_audit(self, actor: str, action: str, target: str, outcome: str) -> AuditEntry:
            if self.refuses:
                raise error
            return super().append_audit(actor, action, target, outcome)

    store = Refusing()
    log = AuditLog(store)
    assert log.record("local", "file.download", new_id()) is None
    assert log.record("local", "case.delete", new_id(), "refused") is None
    assert store.entries == []
    store.refuses = False
    assert log.record("local", "case.run", new_id()) is not None
    assert [(entry.action, entry.outcome) for entry in store.entries] == [
        ("file.download", "ok (written late)"),
        ("case.delete", "refused (written late)"),
        ("case.run", "ok"),
    ]
    assert log.verify().bad is None
