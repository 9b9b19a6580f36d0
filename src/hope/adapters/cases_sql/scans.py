"""The scans of a case: stored under keys that are given once, replaced by name, assigned all at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import delete, select, update

from hope.adapters.cases_sql.database import Database, Transaction
from hope.adapters.cases_sql.row_locks import lock_idle_case, record_of
from hope.adapters.cases_sql.rows import series_from
from hope.adapters.cases_sql.tables import cases, series
from hope.adapters.cases_sql.uploads import count_no_more
from hope.contract.job import CaseRecord, EventKind, SeriesRecord
from hope.contract.scans import ChangedError, SeriesChange
from hope.domain.case import MRSequence
from hope.domain.errors import InputError

_NUMBERED = re.compile(r"(?P<stem>.+?)-(?P<number>[1-9][0-9]{0,8})")


class ScanRows:
    """The methods of `hope.ports.CaseStore` about scans."""

    _db: Database

    def put_series(
        self, case_id: str, scan: SeriesRecord, match: Collection[str] | None = None, upload: str = ""
    ) -> SeriesChange:
        """Store the scan of a sequence, in place of the one that is named, and append events; one transaction.

        Raises:
            GoneError: if the case is gone.
            ConflictError: while the case is queued or running.
            ChangedError: if ``match`` is given and no such scan is there.
        """
        with self._db.write() as transaction:
            there = _held(transaction, case_id)
            count_no_more(transaction, upload)
            old = _named(there, scan, match)
            keys = _Keys(transaction, case_id, there)
            key = old.key if old else keys.take(scan.key)
            taken = [other.key for other in there.values() if _has(other, scan.sequence) and other != old]
            if old is not None:
                _remove(transaction, case_id, old.key)
            _unassign(transaction, case_id, taken)
            stored = replace(scan, key=key)
            _insert(transaction, case_id, stored)
            keys.keep()
            gone = (old,) if old is not None else ()
            return SeriesChange((stored,), gone, tuple(taken), tuple(record.blob_key for record in gone))

    def add_series(self, case_id: str, scans: Sequence[SeriesRecord], upload: str = "") -> SeriesChange:
        """Store scans beside those that are there, and append events; one transaction, and nothing is replaced.

        Raises:
            GoneError: if the case is gone.
            ConflictError: while the case is queued or running.
        """
        with self._db.write() as transaction:
            there = _held(transaction, case_id)
            count_no_more(transaction, upload)
            by_hash = {record.sha256: record for record in there.values()}
            keys = _Keys(transaction, case_id, there)
            assigned = {record.sequence for record in there.values()}
            stored, unused = [], []
            for scan in scans:
                if same := by_hash.get(scan.sha256):
                    stored.append(same)
                    unused.append(scan.blob_key)
                    continue
                sequence = None if scan.sequence in assigned else scan.sequence
                assigned.add(sequence)
                stored.append(replace(scan, key=keys.take(scan.key), sequence=sequence))
                _insert(transaction, case_id, stored[-1])
            keys.keep()
            return SeriesChange(tuple(stored), unused=tuple(unused))

    def delete_series(self, case_id: str, key: str) -> SeriesRecord:
        """Forget the scan under a key, and nothing else; its key is not given again. Returns what it was.

        Raises:
            GoneError: if the case is gone.
            ConflictError: while the case is queued or running.
            InputError: if the case has no scan under this key.
        """
        with self._db.write() as transaction:
            there = _held(transaction, case_id)
            if key not in there:
                raise _unknown(key, there)
            _Keys(transaction, case_id, there).keep()
            _remove(transaction, case_id, key)
            transaction.tell(case_id, EventKind.SERIES, _facts(key, None))
            return there[key]

    def assign_series(self, case_id: str, wanted: Mapping[MRSequence, str | None]) -> CaseRecord:
        """Say which scan is which sequence, all at once or not at all.

        Raises:
            GoneError: if the case is gone.
            ConflictError: while the case is queued or running.
            InputError: if the case has no scan under one of the keys, or one is to be two sequences.
        """
        keys = [key for key in wanted.values() if key is not None]
        if len(set(keys)) < len(keys):
            raise InputError("one series cannot be two sequences", expected="each key once")
        with self._db.write() as transaction:
            there = _held(transaction, case_id)
            for key in sorted(set(keys) - set(there)):
                raise _unknown(key, there)
            after = {key: None if record.sequence in wanted else record.sequence for key, record in there.items()}
            after |= {key: sequence for sequence, key in wanted.items() if key is not None}
            changed = [key for key, record in there.items() if after[key] != record.sequence]
            _unassign(transaction, case_id, [key for key in changed if there[key].sequence is not None])
            for key in changed:
                value = after[key]
                assign = update(series).where(_here(case_id, key)).values(sequence=str(value) if value else None)
                transaction.connection.execute(assign)
                transaction.tell(case_id, EventKind.SERIES, _facts(key, value))
            query = select(cases).where(cases.c.id == case_id)
            return record_of(transaction.connection, transaction.connection.execute(query).mappings().one())


class _Keys:
    """Gives keys of a case that it never gave before."""

    def __init__(self, transaction: Transaction, case_id: str, there: Iterable[str]) -> None:
        self._transaction, self._case_id = transaction, case_id
        stored = transaction.connection.execute(select(cases.c.keys_made).where(cases.c.id == case_id)).scalar()
        self._made: dict[str, int] = dict(stored or {})
        for key in there:
            self._note(key)

    def take(self, wanted: str) -> str:
        """The key itself if it was never given, else the next one of its kind: ``t1c-2``, ``series-4``."""
        stem, number = _parted(wanted)
        if number <= self._made.get(stem, 0):
            wanted = f"{stem}-{self._made[stem] + 1}"
        self._note(wanted)
        return wanted

    def keep(self) -> None:
        """Write down what was given."""
        change = update(cases).where(cases.c.id == self._case_id).values(keys_made=self._made)
        self._transaction.connection.execute(change)

    def _note(self, key: str) -> None:
        stem, number = _parted(key)
        self._made[stem] = max(number, self._made.get(stem, 0))


def _parted(key: str) -> tuple[str, int]:
    found = _NUMBERED.fullmatch(key)
    return (found["stem"], int(found["number"])) if found else (key, 1)


def _held(transaction: Transaction, case_id: str) -> dict[str, SeriesRecord]:
    """The scans of a case, by key, that nobody else can change until the transaction ends."""
    lock_idle_case(transaction, case_id)
    rows = transaction.connection.execute(select(series).where(series.c.case_id == case_id)).mappings()
    return {row["key"]: series_from(row) for row in rows}


def _named(there: Mapping[str, SeriesRecord], scan: SeriesRecord, match: Collection[str] | None) -> SeriesRecord | None:
    """The scan that a new one replaces: the one of that hash, else the one of that key and sequence."""
    if match is None:
        same_key = there.get(scan.key)
        return same_key if same_key is not None and same_key.sequence == scan.sequence else None
    for record in there.values():
        if record.sha256 in match or ("*" in match and _has(record, scan.sequence)):
            return record
    raise ChangedError("the scan that was to be replaced is not there any more; look at the case again")


def _has(record: SeriesRecord, sequence: MRSequence | None) -> bool:
    return sequence is not None and record.sequence == sequence


def _unknown(key: str, there: Iterable[str]) -> InputError:
    expected = f"one of: {', '.join(sorted(there)) or 'none'}"
    return InputError("the case has no such series", expected=expected, got=key)


def _here(case_id: str, key: str) -> Any:
    return (series.c.case_id == case_id) & (series.c.key == key)


def _insert(transaction: Transaction, case_id: str, record: SeriesRecord) -> None:
    row = {
        "case_id": case_id,
        "key": record.key,
        "sequence": str(record.sequence) if record.sequence else None,
        "blob_key": record.blob_key,
        "bytes": record.bytes,
        "sha256": record.sha256,
        "facts": dict(record.facts),
    }
    transaction.connection.execute(series.insert(), row)
    transaction.tell(case_id, EventKind.SERIES, _facts(record.key, record.sequence))


def _remove(transaction: Transaction, case_id: str, key: str) -> None:
    transaction.connection.execute(delete(series).where(_here(case_id, key)))


def _unassign(transaction: Transaction, case_id: str, keys: Sequence[str]) -> None:
    """Without an event: that of the scan which has the sequence now tells enough."""
    if keys:
        those = (series.c.case_id == case_id) & series.c.key.in_(keys)
        transaction.connection.execute(update(series).where(those).values(sequence=None))


def _facts(key: str, sequence: MRSequence | None) -> dict[str, str | None]:
    return {"sequence": str(sequence) if sequence else None, "key": key}
