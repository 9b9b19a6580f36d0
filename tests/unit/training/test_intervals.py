"""Interval thresholds: the narrowest that hold the truth often enough, read back as they were written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hope.domain.errors import InputError
from hope.domain.intervals import SMALL_ML, IntervalRule
from hope.training.intervals import (
    AIM,
    KEYS,
    LEAST_CASES,
    POSSIBLE,
    Counted,
    Volumes,
    count,
    learn_intervals,
    learn_spread,
)
from hope.training.limits import INTERVALS, read_intervals

WIDTHS = np.arange(len(POSSIBLE))


def case(truth: int, predicted: int = 100, step: int = 20) -> dict[str, Counted]:
    """A model whose possible voxels grow, and whose sure ones shrink, by ``step`` per threshold."""
    one = Counted(truth, predicted, predicted + step * WIDTHS, np.maximum(0, predicted - step // 4 * WIDTHS))
    return dict.fromkeys(KEYS, one)


def test_the_narrowest_interval_that_reaches_the_aim_is_taken() -> None:
    # Of 100 cases 4 are far too large for any threshold, 90 need the third, 6 need the fourth on the low side.
    cases = [case(10_000)] * 4 + [case(139)] * 90 + [case(88)] * 6
    rule = learn_intervals(cases, "made-up cases")
    assert rule is not None
    assert set(rule.thresholds) == set(KEYS)
    assert rule.thresholds["WT"] == (1 - POSSIBLE[3], POSSIBLE[2])
    assert (rule.aim, rule.cases, rule.kind) == (AIM, 100, "made-up cases")


@pytest.mark.parametrize("cases", [20, 40, 60, 80, 100])
def test_one_in_twenty_may_lie_above(cases: int) -> None:
    rule = learn_intervals([case(10_000)] * (cases // 20) + [case(100)] * (cases - cases // 20), "x")
    assert rule is not None
    assert rule.thresholds["WT"] == (1 - POSSIBLE[0], POSSIBLE[0])


def test_where_nothing_suffices_the_widest_is_taken() -> None:
    rule = learn_intervals([case(10_000)] * LEAST_CASES, "x")
    assert rule is not None
    assert rule.thresholds["ET"] == (1 - POSSIBLE[0], POSSIBLE[-1])


def test_cases_without_the_label_do_not_count() -> None:
    absent = case(0, predicted=0, step=0)
    assert learn_intervals([absent] * 200 + [case(100)] * (LEAST_CASES - 1), "x") is None
    rare = {**case(139), "CC": absent["CC"]}
    some = learn_intervals([rare] * LEAST_CASES, "x")
    assert some is not None
    assert set(some.thresholds) == set(KEYS) - {"CC"}
    rule = learn_intervals([absent] * 200 + [case(139)] * LEAST_CASES, "x")
    assert rule is not None
    assert rule.thresholds["CC"][1] == POSSIBLE[2]


def test_voxels_are_counted_per_label_and_region() -> None:
    probability = np.zeros((5, 2, 2, 2), np.float32)
    probability[0] = 0.97
    probability[4] = 0.03  # background with a little oedema
    probability[:, 0, 0, 0] = [0, 0.6, 0.395, 0, 0.005]
    labels = np.zeros((2, 2, 2), np.uint8)
    labels[0, 0, 0], labels[1, 1, 1] = 2, 4
    counted = count(probability, labels)
    assert (counted["ET"].truth, counted["NET"].truth, counted["TC"].truth, counted["WT"].truth) == (0, 1, 1, 2)
    assert (counted["ET"].predicted, counted["NET"].predicted, counted["TC"].predicted) == (1, 0, 1)
    possible = dict(zip(POSSIBLE, counted["NET"].possible, strict=True))
    assert (possible[0.5], possible[0.3]) == (0, 1)
    assert dict(zip(POSSIBLE, counted["WT"].possible, strict=True))[0.02] == 8
    sure = dict(zip(POSSIBLE, counted["TC"].sure, strict=True))
    assert (sure[0.01], sure[0.002]) == (1, 0)


@pytest.mark.parametrize("pair", [(0.2, 0.8), (1.0, 0.1), (0.9, 0.0), (float("nan"), 0.1)])
def test_thresholds_that_are_none_are_refused(pair: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="ET"):
        IntervalRule.from_json({"thresholds": {"ET": pair}, "aim": 0.9, "cases": 9, "kind": ""})


def test_a_run_keeps_them(tmp_path: Path) -> None:
    assert read_intervals(tmp_path) is None
    rule = IntervalRule({"ET": (0.9, 0.1)}, 0.9, 30, "made-up cases")
    (tmp_path / INTERVALS).write_text(json.dumps(rule.to_json()))
    assert read_intervals(tmp_path) == rule
    infinite = json.dumps({**rule.to_json(), "cases": float("inf")})
    for damaged in ("", "[]", '{"thresholds": 3}', '{"thresholds": {"WT": [0.9]}}', "[" * 3000, infinite):
        (tmp_path / INTERVALS).write_text(damaged)
        with pytest.raises(InputError, match=INTERVALS):
            read_intervals(tmp_path)


def answers(patients: int, seed: int) -> Volumes:
    """True volumes that scatter around the marked ones in proportion to how poor the answer was expected to be."""
    rng = np.random.default_rng(seed)
    marked, dice = rng.uniform(5, 200, patients), rng.uniform(0.1, 0.95, patients)
    ratio = np.exp(rng.normal(-0.3, 1.0, patients) * (1 - dice))
    true = np.maximum((marked + SMALL_ML) * ratio - SMALL_ML, 0)
    return Volumes(marked, true, dice, np.ones(patients), patients)


def test_ends_by_quality_hold_as_many_true_volumes_of_other_cases_as_wanted() -> None:
    rule = learn_spread({"WT": answers(400, 1), "ET": answers(LEAST_CASES - 1, 2)}, "made-up cases")
    assert rule is not None
    assert set(rule.ends) == {"WT"}, "too few patients choose nothing"
    assert rule.ends["WT"] == pytest.approx((-0.3 - 1.645, -0.3 + 1.645), abs=0.25)
    other = answers(2000, 3)
    ends = [rule.interval("WT", ml, dice) for ml, dice in zip(other.marked, other.expected_dice, strict=True)]
    inside = [low <= true <= high for (low, high), true in zip(ends, other.true, strict=True)]
    assert np.mean(inside) == pytest.approx(AIM, abs=0.03)


def test_a_patient_with_many_answers_weighs_as_much_as_one_with_a_single_answer() -> None:
    one = answers(60, 4)
    far = one.true.copy()
    far[:2] = 10 * one.marked[:2]
    single = learn_spread({"WT": Volumes(one.marked, far, one.expected_dice, one.weight, 60)}, "x")
    repeat = np.r_[np.repeat(np.arange(2), 50), np.arange(2, 60)]
    weight = np.r_[np.full(100, 1 / 50), np.ones(58)]
    many = learn_spread({"WT": Volumes(one.marked[repeat], far[repeat], one.expected_dice[repeat], weight, 60)}, "x")
    every = Volumes(one.marked[repeat], far[repeat], one.expected_dice[repeat], np.ones(158), 60)
    unweighted = learn_spread({"WT": every}, "x")
    assert single is not None and many is not None and unweighted is not None
    assert many.ends["WT"] == pytest.approx(single.ends["WT"], abs=0.1)
    assert unweighted.ends["WT"][1] > 2 * single.ends["WT"][1], "the weight is what holds it"
    assert learn_spread({}, "x") is None
