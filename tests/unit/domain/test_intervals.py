"""Intervals by expected quality: wider for a poor answer, around the marked volume, read back as they were written."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from hope.domain.intervals import SMALL_ML, IntervalRule, SpreadRule

SPREAD = SpreadRule({"WT": (-4.0, 2.0)}, 0.9, 40, "adults' scans")


def test_the_ends_are_those_of_the_formula() -> None:
    low, high = SPREAD.interval("WT", 49.0, 0.9)
    assert low == pytest.approx(50 * math.exp(-0.4) - SMALL_ML)
    assert high == pytest.approx(50 * math.exp(0.2) - SMALL_ML)


@pytest.mark.parametrize("ml", [0.0, 0.01, 3.0, 800.0])
def test_a_poorer_answer_has_a_wider_interval_that_holds_the_marked_volume(ml: float) -> None:
    widths = []
    for dice in (1.0, 0.9, 0.5, 0.0):
        low, high = SPREAD.interval("WT", ml, dice)
        assert 0 <= low <= ml <= high
        widths.append(high - low)
    assert widths == sorted(widths) and widths[0] > 0


def test_what_is_probably_no_tumour_may_have_no_volume() -> None:
    assert SPREAD.interval("WT", 12.0, 0.05)[0] == 0


def test_a_rule_survives_json_with_and_without_it() -> None:
    for spread in (None, SPREAD):
        rule = IntervalRule({"WT": (0.9, 0.1)}, 0.9, 80, "synthetic cases", spread)
        assert IntervalRule.from_json(json.loads(json.dumps(rule.to_json()))) == rule


@pytest.mark.parametrize(
    "wrong",
    [
        {"ends": {}},
        {"ends": {"WT": [0.1, 2.0]}},
        {"ends": {"WT": [-1.0, -0.5]}},
        {"ends": {"WT": [-1.0, float("inf")]}},
        {"ends": {"WT": [float("nan"), 1.0]}},
        {"ends": {"WT": [-1.0]}},
        {"aim": 1.0},
        {"patients": 0},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"interval|unpack"):
        SpreadRule.from_json({**SPREAD.to_json(), **wrong})
