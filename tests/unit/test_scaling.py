"""Exponents and bends of `benchmarks/scaling.py`, and percentiles of `benchmarks/platform_curves.py`."""

from __future__ import annotations

import pytest
from platform_curves import percentile
from scaling import Curve

COUNTS = (1.0, 2.0, 4.0, 8.0, 16.0)
SIZES = (0.5, 1.0, 2.0, 4.0, 8.0)


def test_a_power_is_found_and_does_not_bend() -> None:
    curve = Curve("time", COUNTS, tuple(3 * count**1.5 for count in COUNTS))
    assert curve.exponent == pytest.approx(1.5)
    assert curve.steps == pytest.approx([1.5] * 4)
    assert curve.turn is None


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_a_power_has_its_exponent_and_no_bend(power: float) -> None:
    curve = Curve("CPU", SIZES, tuple(3 * n**power for n in SIZES))
    assert curve.exponent == pytest.approx(power)
    assert curve.steps == pytest.approx([power] * 4)
    assert curve.turn is None


def test_it_bends_where_it_stops_growing() -> None:
    curve = Curve("throughput", COUNTS, tuple(min(4.0, count) for count in COUNTS))
    assert curve.turn == 4.0
    assert "bends after 4" in curve.line()


def test_it_bends_where_it_grows_faster() -> None:
    assert Curve("CPU", SIZES, tuple(max(n, n**3 / 4) for n in SIZES)).turn == 2.0  # linear up to 2, then cubic


def test_fixed_costs_are_told_from_costs_by_size() -> None:
    assert Curve("wall", SIZES, tuple(5 + 2 * n for n in SIZES)).rate == pytest.approx((5.0, 2.0))


def test_two_points_have_no_bend() -> None:
    assert Curve("wall", (1.0, 2.0), (1.0, 8.0)).turn is None


def test_the_percentile_is_one_of_the_values() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.95) == 3.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
