"""The order of flags: severity first, then a fixed order of codes."""

from __future__ import annotations

from itertools import permutations

from hope.domain.qc import QCFlag, Severity, worst_first


def test_severity_comes_first_then_the_fixed_order_whatever_order_they_came_in() -> None:
    flags = [
        QCFlag("all_removed", Severity.WARNING, "the mask is empty"),
        QCFlag("missing_sequence", Severity.WARNING, "t1n was not given"),
        QCFlag("registration_uncertain", Severity.CAUTION, "look at the images"),
        QCFlag("thick_slices", Severity.INFO, "slices lie 5 mm apart"),
    ]
    for mixed in permutations(flags):
        assert worst_first(mixed) == flags


def test_unknown_codes_keep_their_order_and_come_last() -> None:
    known = QCFlag("expected_accuracy", Severity.WARNING, "a reason")
    new, newer = (QCFlag(code, Severity.WARNING, "a reason") for code in ("new_code", "a_newer_code"))
    assert worst_first([new, newer, known]) == [known, new, newer]
