"""Curves: the exponent of a power is that power, and a bend is found where it is."""

from __future__ import annotations

import curves
import pytest

SIZES = [0.5, 1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_a_power_has_its_exponent_and_no_bend(power: float) -> None:
    values = [3 * n**power for n in SIZES]
    assert curves.exponent(SIZES, values) == pytest.approx(power)
    assert curves.slopes(SIZES, values) == pytest.approx([power] * 4)
    assert curves.turn(SIZES, values) is None


def test_a_curve_bends_where_its_slope_changes_most() -> None:
    values = [max(n, n**3 / 4) for n in SIZES]  # linear up to 2, then cubic
    assert curves.turn(SIZES, values) == 2.0


def test_fixed_costs_are_told_from_costs_by_size() -> None:
    assert curves.rate(SIZES, [5 + 2 * n for n in SIZES]) == pytest.approx((5.0, 2.0))


def test_two_points_have_no_bend() -> None:
    assert curves.turn([1, 2], [1, 8]) is None
