"""Change of a volume between two dates, with an interval; and what may be said of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

FOUND: Final = 0.8
"""Share in which the smallest growth that results state is found."""


class Direction(StrEnum):
    """What may be said of a change."""

    LARGER = "larger"
    SMALLER = "smaller"
    WITHIN = "not larger than the uncertainty"
    UNKNOWN = "uncertainty unknown"
    """A mask without intervals says nothing of how sure it is."""


@dataclass(frozen=True)
class MeasuredVolume:
    """A volume and its interval, millilitres; None where nothing is known of it."""

    ml: float
    low_ml: float | None = None
    high_ml: float | None = None


@dataclass(frozen=True)
class Change:
    """Difference of two volumes.

    Attributes:
        ml: later minus earlier.
        percent: of the earlier volume; None where that is 0.
        low_ml: low end of the interval of the difference; None where an interval is missing.
        high_ml: high end.
        direction: larger or smaller only where the interval does not hold 0.
    """

    ml: float
    percent: float | None
    low_ml: float | None
    high_ml: float | None
    direction: Direction


def change_between(earlier: MeasuredVolume, later: MeasuredVolume, factor: float = 1.0) -> Change:
    """Later minus earlier. The two errors are taken as independent: their squares add up.

    Args:
        earlier: volume at the first date.
        later: volume at the second date.
        factor: on both ends of the interval, as measured on unchanged tumours; 1 where that was not done.
    """
    ml = later.ml - earlier.ml
    percent = 100 * ml / earlier.ml if earlier.ml > 0 else None
    known = (earlier.low_ml, earlier.high_ml, later.low_ml, later.high_ml)
    if any(end is None for end in known):
        return Change(ml, percent, None, None, Direction.UNKNOWN)
    a_low, a_high, b_low, b_high = (float(end) for end in known if end is not None)
    low = ml - factor * math.hypot(later.ml - b_low, a_high - earlier.ml)
    high = ml + factor * math.hypot(b_high - later.ml, earlier.ml - a_low)
    direction = Direction.LARGER if low > 0 else Direction.SMALLER if high < 0 else Direction.WITHIN
    return Change(ml, percent, low, high, direction)
