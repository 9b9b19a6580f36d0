"""What a report of a cohort may show: every figure stands for several cases, so that none of them can be read off."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from hope.cohort.cox import FloatArray, Outcomes

LEAST_CASES: Final = 5
"""A figure stands for this many cases or more."""
STEP_DAYS: Final = 30.0


def shown_days(outcomes: Outcomes) -> FloatArray:
    """The days at which a curve is shown, ascending: multiples of 30 with five events or more since the one before.

    The last events, if fewer than five, are left out.
    """
    ends, counts = np.unique(np.ceil(outcomes.days[outcomes.events] / STEP_DAYS) * STEP_DAYS, return_counts=True)
    shown, since = [], 0
    for end, count in zip(ends.tolist(), counts.tolist(), strict=True):
        since += count
        if since >= LEAST_CASES:
            shown.append(end)
            since = 0
    return np.array(shown, dtype=np.float64)


def at_days(days: FloatArray, times: FloatArray, values: FloatArray, before: float) -> list[float]:
    """A step function at some days, to four significant digits.

    Args:
        days: where it is shown.
        times: of its steps, ascending.
        values: from each step on.
        before: value before the first step.
    """
    steps = np.concatenate([[before], values])
    return [significant(value) for value in steps[np.searchsorted(times, days, side="right")].tolist()]


def shown_range(values: FloatArray) -> tuple[float, float]:
    """Ends of a covariate beyond or at which five cases or more lie, rounded inwards.

    They are rounded to a power of ten that is at most half a standard deviation, finer only where no two
    multiples of it lie between. Where both ends are one value, that many cases share it and it is shown as it is.

    Args:
        values: (n,) of the cases; fewer than ten leave no room and give the median twice.
    """
    ordered = np.sort(values)
    place = min(LEAST_CASES, (len(ordered) + 1) // 2) - 1
    low, high = float(ordered[place]), float(ordered[-1 - place])
    if low == high:
        return low, high
    power = math.floor(math.log10(float(ordered.std()) / 2))
    while True:
        step = 10.0**power
        inner = math.ceil(low / step), math.floor(high / step)
        if inner[0] < inner[1]:
            first, last = (round(end * step, max(0, -power)) for end in inner)
            return first, last
        power -= 1


def significant(value: float) -> float:
    """A figure to four significant digits."""
    return float(f"{value:.4g}")
