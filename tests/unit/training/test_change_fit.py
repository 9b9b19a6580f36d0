"""The factor on the interval of a change, chosen on unchanged pairs, and the growth that it finds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hope.domain.change import Direction, MeasuredVolume, change_between
from hope.training.change_fit import excess, factor_for, smallest_found


def measured(rng: np.random.Generator, ml: float) -> MeasuredVolume:
    """A volume whose interval is four times as wide as its error needs."""
    return MeasuredVolume(ml * float(np.exp(rng.normal(0, 0.05))), 0.6 * ml, 1.4 * ml)


def pairs(seed: int, count: int) -> list[tuple[MeasuredVolume, MeasuredVolume]]:
    rng = np.random.default_rng(seed)
    return [(measured(rng, ml), measured(rng, ml)) for ml in rng.uniform(5, 60, count)]


def test_the_factor_of_some_pairs_holds_in_others() -> None:
    factor = factor_for([excess(*pair) for pair in pairs(1, 100)])
    assert 0.1 < factor < 0.6
    called = [change_between(*pair, factor).direction for pair in pairs(2, 1000)]
    assert sum(one is not Direction.WITHIN for one in called) <= 80
    # Without it, nothing at all would be found: the interval is too wide for these volumes.
    grown = [(first, replace(second, ml=second.ml * 1.35)) for first, second in pairs(3, 100)]
    found = [change_between(*pair, factor).direction is Direction.LARGER for pair in grown]
    assert sum(found) > sum(change_between(*pair).direction is Direction.LARGER for pair in grown)


def test_the_factor_is_the_larger_of_a_rank_and_of_a_tolerance_interval() -> None:
    # Alike ones: 1.96 times the largest deviation that ten such changes do not speak against (chi-squared 4.865).
    assert factor_for([0.5] * 10) == pytest.approx(1.96 * 0.5 * math.sqrt(10 / 4.8652), abs=0.0011)
    # Most of them nearly nothing, one in six far out: the rank is wider.
    assert factor_for([1e-3] * 30 + [1.0] * 6) == 1.0
    # Never rounded down.
    assert factor_for([1e-3] * 30 + [0.12341] * 6) == 0.124


def test_the_tolerance_interval_holds_its_share_as_often_as_it_says() -> None:
    rng = np.random.default_rng(6)
    drawn = np.abs(rng.normal(0, 1, (2000, 12)))
    held = [math.erf(factor_for(row.tolist()) / math.sqrt(2)) >= 0.95 for row in drawn[:400]]
    assert 0.85 < np.mean(held) < 0.99


def test_a_change_without_any_interval_counts_as_far_out() -> None:
    assert excess(MeasuredVolume(5, 5, 5), MeasuredVolume(6, 6, 6)) == math.inf
    assert excess(MeasuredVolume(0, 0, 0), MeasuredVolume(0, 0, 0)) == 0
    for none_holds in ([0.1, math.inf], []):
        with pytest.raises(ValueError, match="intervals have a width"):
            factor_for(none_holds)
    with pytest.raises(ValueError, match="interval"):
        excess(MeasuredVolume(5), MeasuredVolume(6))


def test_the_smallest_growth_that_is_found_is_that_of_most_pairs() -> None:
    unchanged = [(MeasuredVolume(10, 8, 12), MeasuredVolume(10, 8, 12))] * 4
    noisy = [(MeasuredVolume(10, 2, 50), MeasuredVolume(10, 2, 50))]
    tried = [5.0, 20.0, 30.0, 40.0, 60.0]
    # Half the interval of a difference that has grown by g: the hypotenuse of 0.2 (1 + g) and 0.2 of the volume.
    least = next(g for g in tried if g / 100 > math.hypot(0.2 * (1 + g / 100), 0.2))
    assert smallest_found(unchanged + noisy, 1.0, tried) == least
    assert smallest_found(unchanged + 2 * noisy, 1.0, tried) is None
    assert smallest_found(unchanged, 0.1, tried) == 5
    assert smallest_found([], 1.0, tried) is None
