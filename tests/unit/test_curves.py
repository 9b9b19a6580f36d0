"""Exponents and bends of `benchmarks/platform_curves.py`."""

from __future__ import annotations

import pytest
from platform_curves import Curve, percentile

COUNTS = (1.0, 2.0, 4.0, 8.0, 16.0)


def test_a_power_is_found_and_does_not_bend() -> None:
    curve = Curve("time", COUNTS, tuple(3 * count**1.5 for count in COUNTS))
    assert curve.exponent == pytest.approx(1.5)
    assert curve.steps == pytest.approx([1.5] * 4)
    assert curve.turn is None


def test_it_bends_where_it_stops_growing() -> None:
    curve = Curve("throughput", COUNTS, tuple(min(4.0, count) for count in COUNTS))
    assert curve.turn == 4.0
    assert "bends after 4" in curve.line()


def test_the_percentile_is_one_of_the_values() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.95) == 3.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
