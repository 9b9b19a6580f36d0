"""The audit log's hash chain: each entry's hash covers the entry and the hash before it.

The chain shows that entries were changed, reordered, inserted, or taken out of the middle. It has no key: whoever can
write the whole table can recompute it, and entries cut off its end leave a whole chain behind. Against both, note the
head (`Verification.head`) somewhere else and verify against it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

FIRST_PREVIOUS = "0" * 64
"""What the first entry names as the hash before it."""


@dataclass(frozen=True)
class AuditEntry:
    """Who did what, when, with what outcome. No patient data, no file name, no id that opens anything.

    Attributes:
        number: 1, 2, ... without a gap.
        at: seconds since 1970.
        actor: the session's owner, or ``system``.
        action: such as ``session.create``, ``case.run``, ``file.download``, ``session.kill``.
        target: `reference_of` the session or case.
        outcome: ``ok``, or a short reason.
        previous: hash of the entry before, 64 zeros for the first.
        hash: SHA-256 over all of the above.
    """

    number: int
    at: float
    actor: str
    action: str
    target: str
    outcome: str
    previous: str
    hash: str


def entry_hash(number: int, at: float, actor: str, action: str, target: str, outcome: str, previous: str) -> str:
    """SHA-256 over canonical JSON of an entry's fields, as 64 hex digits.

    The time counts to the microsecond, so that a database which keeps no more than that still agrees.
    """
    fields = {
        "number": int(number),
        "at": repr(round(float(at), 6)),
        "actor": actor,
        "action": action,
        "target": target,
        "outcome": outcome,
        "previous": previous,
    }
    text = json.dumps(fields, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


@dataclass(frozen=True)
class Head:
    """An entry that was noted elsewhere: its number and hash."""

    number: int
    hash: str


@dataclass(frozen=True)
class Verification:
    """What a walk along the chain found.

    Attributes:
        entries: number of entries that hold, up to the first bad one.
        head: hash of the last entry that holds; 64 zeros for an empty log.
        bad: number of the first entry that does not hold, None if all do.
        reason: what is wrong with it, one sentence; empty if nothing is.
    """

    entries: int
    head: str
    bad: int | None = None
    reason: str = ""

    @property
    def whole(self) -> bool:
        """Whether the chain holds from the first entry to the last."""
        return self.bad is None


def verify(entries: Iterable[AuditEntry], noted: Head | None = None) -> Verification:
    """Walk the whole log in order and stop at the first entry that does not hold.

    Args:
        entries: all entries, from number 1.
        noted: a head known from elsewhere, which the log must contain.
    """
    count, head = 0, FIRST_PREVIOUS
    for entry in entries:
        reason = _fault(entry, count + 1, head, noted)
        if reason:
            # Where a number is missing, the gap is the fault, not the honest entry behind it.
            return Verification(count, head, bad=count + 1, reason=reason)
        count, head = entry.number, entry.hash
    if noted is not None and noted.number > count:
        reason = f"the log ends at entry {count} but entry {noted.number} was noted: entries were cut off its end"
        return Verification(count, head, bad=count + 1, reason=reason)
    return Verification(count, head)


def _fault(entry: AuditEntry, number: int, head: str, noted: Head | None) -> str:
    """What is wrong with the entry that should be ``number`` and follow ``head``; empty if nothing is."""
    if entry.number != number:
        return f"entry {number} is missing: the log goes on with entry {entry.number}"
    if entry.previous != head:
        return f"entry {number} does not follow from the entry before it: one of them was changed or put in"
    own = entry_hash(entry.number, entry.at, entry.actor, entry.action, entry.target, entry.outcome, entry.previous)
    if own != entry.hash:
        return f"entry {number} is not what was written: its hash differs"
    if noted is not None and noted.number == number and noted.hash != entry.hash:
        return f"entry {number} is not the one that was noted: the log was written anew"
    return ""
