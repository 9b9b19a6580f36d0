"""The hash chain: every change shows, and where."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hope.domain.audit import FIRST_PREVIOUS, AuditEntry, Head, entry_hash, verify


def chain(*rows: tuple[float, str, str, str, str]) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    previous = FIRST_PREVIOUS
    for number, (at, actor, action, target, outcome) in enumerate(rows, 1):
        digest = entry_hash(number, at, actor, action, target, outcome, previous)
        entries.append(AuditEntry(number, at, actor, action, target, outcome, previous, digest))
        previous = digest
    return entries


def sample(count: int = 6) -> list[AuditEntry]:
    return chain(*((1.7e9 + n + 0.123456, "local", "case.run", f"{n:032x}", "ok") for n in range(count)))


def test_a_log_as_written_holds() -> None:
    entries = sample()
    result = verify(entries)
    assert (result.whole, result.entries, result.head, result.bad, result.reason) == (
        True,
        6,
        entries[-1].hash,
        None,
        "",
    )


def test_an_empty_log_holds() -> None:
    assert verify([]).whole
    assert verify([]).head == FIRST_PREVIOUS


def test_the_hash_is_the_one_that_is_documented() -> None:
    """Other programs must be able to check it: SHA-256 of JSON with sorted keys, no spaces, ASCII, the time as text."""
    text = json.dumps(
        {
            "action": "session.kill",
            "actor": "oidc:é",
            "at": "1700000000.5",
            "number": 7,
            "outcome": "ok",
            "previous": "p",
            "target": "t",
        },
        separators=(",", ":"),
    )
    assert entry_hash(7, 1700000000.5, "oidc:é", "session.kill", "t", "ok", "p") == sha256(text.encode()).hexdigest()


CHANGES: dict[str, Any] = {
    "number": 99,
    "at": 1.0,
    "actor": "token:other",
    "action": "case.delete",
    "target": "0" * 31 + "f",
    "outcome": "refused",
    "previous": "1" * 64,
    "hash": "2" * 64,
}


def test_every_field_is_tried() -> None:
    assert set(CHANGES) == {field.name for field in fields(AuditEntry)}


@pytest.mark.parametrize("field", CHANGES)
@pytest.mark.parametrize("place", [0, 3, 5])
def test_a_changed_field_shows_where(field: str, place: int) -> None:
    entries = sample()
    entries[place] = replace(entries[place], **{field: CHANGES[field]})
    result = verify(entries)
    assert not result.whole
    assert result.bad == place + 1
    assert result.entries == place
    assert str(place + 1) in result.reason


def test_a_changed_entry_with_a_fitting_hash_shows_at_the_next_one() -> None:
    entries = sample()
    third = replace(entries[2], action="nothing.happened")
    digest = entry_hash(third.number, third.at, third.actor, third.action, third.target, third.outcome, third.previous)
    entries[2] = replace(third, hash=digest)
    assert verify(entries).bad == 4


@pytest.mark.parametrize("place", range(5))
def test_an_entry_that_was_taken_out_shows(place: int) -> None:
    entries = sample()
    del entries[place]
    result = verify(entries)
    assert result.bad == place + 1
    assert "missing" in result.reason


def test_entries_in_another_order_or_twice_show() -> None:
    entries = sample()
    assert verify([entries[1], entries[0], *entries[2:]]).bad == 1
    assert verify([*entries[:3], entries[2], *entries[3:]]).bad == 4


def test_a_cut_off_end_shows_only_against_a_noted_head() -> None:
    entries = sample()
    noted = Head(6, entries[-1].hash)
    assert verify(entries, noted).whole
    assert verify(entries[:4]).whole
    result = verify(entries[:4], noted)
    assert (result.whole, result.bad) == (False, 5)
    assert "cut off" in result.reason
    assert not verify([], noted).whole


def test_a_log_written_anew_shows_only_against_a_noted_head() -> None:
    entries, other = sample(), chain(*((1.0, "local", "x.y", "t", "ok") for _ in range(8)))
    assert verify(other).whole
    result = verify(other, Head(4, entries[3].hash))
    assert (result.whole, result.bad) == (False, 4)


def test_a_log_that_has_grown_contains_the_noted_head() -> None:
    entries = sample(9)
    assert verify(entries, Head(4, entries[3].hash)).whole


@given(st.floats(0, 4e9), st.integers(0, 999))
def test_times_count_to_the_microsecond(at: float, nanoseconds: int) -> None:
    """A database that keeps microseconds gives back the same hash; a change that it would keep gives another."""
    stored = round(at, 6)
    assert entry_hash(1, at, "a", "b", "c", "d", "e") == entry_hash(1, stored, "a", "b", "c", "d", "e")
    assert entry_hash(1, stored + 0.001, "a", "b", "c", "d", "e") != entry_hash(1, stored, "a", "b", "c", "d", "e")


@given(st.lists(st.text(max_size=8), min_size=4, max_size=4, unique=True), st.permutations(range(4)))
def test_no_two_entries_share_a_hash_by_moving_text_between_fields(texts: list[str], order: list[int]) -> None:
    moved = [texts[place] for place in order]
    same = moved == texts
    assert (entry_hash(1, 0.0, *texts, "p") == entry_hash(1, 0.0, *moved, "p")) is same
