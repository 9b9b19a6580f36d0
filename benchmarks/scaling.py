"""How a figure grows with a size: its exponent, and where the curve becomes another one."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

TURN = 0.3
"""A curve bends where its exponent between two neighbours differs so much from the one of all points before."""


@dataclass(frozen=True)
class Curve:
    """Values of one figure for growing counts."""

    name: str
    counts: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """Slope of the logarithm of the value over that of the count; 1 is proportional, 0 constant."""
        return _slope(self.counts, self.values)

    @property
    def steps(self) -> list[float]:
        """The exponent between neighbours."""
        points = zip(self.counts, self.values, strict=True)
        return [_slope(*zip(*two, strict=True)) for two in itertools.pairwise(points)]

    @property
    def turn(self) -> float | None:
        """The count after which the curve is another one; None if it goes on as it began."""
        for number, step in enumerate(self.steps[1:], start=1):
            if abs(step - _slope(self.counts[: number + 1], self.values[: number + 1])) > TURN:
                return self.counts[number]
        return None

    @property
    def rate(self) -> tuple[float, float]:
        """What it is whatever the count, and what each one of it adds: the straight line through the figures."""
        each, fixed = statistics.linear_regression(self.counts, self.values)
        return fixed, each

    def line(self) -> str:
        """All of it in words."""
        values = ", ".join(f"{count:g}: {value:.4g}" for count, value in zip(self.counts, self.values, strict=True))
        steps = ", ".join(f"{step:.2f}" for step in self.steps)
        turn = "no bend" if self.turn is None else f"bends after {self.turn:g}"
        return f"{self.name:<44}{values}; exponent {self.exponent:.2f} (steps {steps}), {turn}"


def _slope(counts: Sequence[float], values: Sequence[float]) -> float:
    # What is not measurable counts as a thousandth of its unit.
    logs = [math.log(max(value, 1e-3)) for value in values]
    return statistics.linear_regression([math.log(count) for count in counts], logs).slope
