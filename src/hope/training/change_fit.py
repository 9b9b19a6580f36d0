"""Chooses the factor on the interval of a change, on pairs of dates between which nothing changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import stats

from hope.domain.change import FOUND, Direction, MeasuredVolume, change_between

AIM: Final = 0.95
"""Share of unchanged tumours whose change is to lie inside the interval."""

CONFIDENCE: Final = 0.9
"""That they do, however few pairs there are."""


def excess(earlier: MeasuredVolume, later: MeasuredVolume) -> float:
    """The change of an unchanged tumour in units of the half of its interval that reaches to 0; 0 without a change.

    Raises:
        ValueError: if an interval is missing.
    """
    change = change_between(earlier, later, 1.0)
    if change.low_ml is None or change.high_ml is None:
        raise ValueError("an interval is missing")
    half = change.ml - change.low_ml if change.ml > 0 else change.high_ml - change.ml
    return abs(change.ml) / half if half > 0 else (math.inf if change.ml else 0.0)


def factor_for(excesses: Sequence[float], aim: float = AIM, confidence: float = CONFIDENCE) -> float:
    """The factor inside which a share of unchanged pairs lies; the larger of two.

    One needs no assumption (split conformal): a rank among the pairs, below 1 / (1 - aim) - 1 of them the largest. Few
    pairs say little of their own tail, so the other is a tolerance interval for changes that are normal about 0.

    Args:
        excesses: of unchanged pairs.
        aim: that share.
        confidence: of the tolerance interval, that it holds the share.

    Raises:
        ValueError: without a pair, or if one changed although its interval has no width: no factor holds that.
    """
    ordered = np.sort(np.asarray(excesses, dtype=np.float64))
    if not ordered.size or not np.isfinite(ordered).all():
        raise ValueError("a factor needs pairs whose intervals have a width")
    n = len(ordered)
    place = min(math.ceil((n + 1) * aim), n)
    largest_sigma = math.sqrt(float((ordered**2).sum()) / float(stats.chi2.ppf(1 - confidence, n)))
    tolerance = float(stats.norm.ppf((1 + aim) / 2)) * largest_sigma
    return math.ceil(max(float(ordered[place - 1]), tolerance) * 1000) / 1000


def smallest_found(
    pairs: Sequence[tuple[MeasuredVolume, MeasuredVolume]],
    factor: float,
    percents: Sequence[float],
    share: float = FOUND,
) -> float | None:
    """The smallest growth that would be called growth in a share of unchanged pairs.

    A pair grows by making its later volume, and the interval of that, larger by the same factor.

    Args:
        pairs: unchanged.
        factor: on the interval of their difference.
        percents: growths to try, rising.
        share: that share.

    Returns:
        per cent; None where the largest is not found, or there is no pair.
    """
    for percent in percents if pairs else ():
        grown = [change_between(earlier, _larger(later, 1 + percent / 100), factor) for earlier, later in pairs]
        if sum(change.direction is Direction.LARGER for change in grown) >= share * len(pairs):
            return float(percent)
    return None


def _larger(volume: MeasuredVolume, times: float) -> MeasuredVolume:
    low, high = (None if end is None else end * times for end in (volume.low_ml, volume.high_ml))
    return MeasuredVolume(volume.ml * times, low, high)
