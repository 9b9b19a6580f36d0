"""Chooses the probabilities at which the interval beside a volume begins and ends, on cases whose truth is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hope.domain.intervals import SMALL_ML, IntervalRule, SpreadRule
from hope.domain.labels import PEDS, REGIONS

AIM = 0.9
"""Share of the cases whose true volume is to lie inside; half of the rest may lie above, half below."""

POSSIBLE = (0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002)
"""Tried in this order, from narrow to wide; one minus each for the sure end. Half precision keeps no finer ones."""

LEAST_CASES = 20
KEYS: dict[str, tuple[int, ...]] = {
    **{label.key: (label.value,) for label in PEDS.labels},
    "TC": REGIONS["TC"],
    "WT": REGIONS["WT"],
}


@dataclass(frozen=True)
class Counted:
    """Voxels of one label or region in one case.

    Attributes:
        truth: how many there are.
        predicted: how many the model labels.
        possible: (n,) how many have at least each probability of ``POSSIBLE``.
        sure: (n,) how many have at least one minus it.
    """

    truth: int
    predicted: int
    possible: npt.NDArray[np.int64]
    sure: npt.NDArray[np.int64]


def count(probability: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> dict[str, Counted]:
    """Count one case.

    Args:
        probability: (5, i, j, k) of background and the peds labels; sums to 1.
        labels: (i, j, k) the truth.
    """
    predicted = probability.argmax(axis=0)
    counted = {}
    for key, values in KEYS.items():
        belief = probability[list(values)].sum(axis=0)
        counted[key] = Counted(
            int(np.isin(labels, values).sum()),
            int(np.isin(predicted, values).sum()),
            np.array([(belief >= p).sum() for p in POSSIBLE]),
            np.array([(belief >= 1 - p).sum() for p in POSSIBLE]),
        )
    return counted


def learn_intervals(cases: Iterable[dict[str, Counted]], kind: str) -> IntervalRule | None:
    """Choose for every label and region the narrowest interval that holds the truth as often as wanted.

    A case counts for a label if it has it, or the model says so. Where even the widest thresholds do not reach the aim
    they are taken all the same. A label that fewer than ``LEAST_CASES`` cases have gets none.

    Args:
        cases: of ``count``, none of which the model was trained on.
        kind: what they are, in words.

    Returns:
        None if that leaves no label at all.
    """
    given = list(cases)
    thresholds = {}
    for key in KEYS:
        used = [case[key] for case in given if case[key].truth or case[key].predicted]
        if len(used) < LEAST_CASES:
            continue
        # The allowance keeps four of eighty from being a hair too many.
        allowed = (1 - AIM) / 2 * len(used) + 1e-9
        truth = np.array([one.truth for one in used])
        labelled = np.array([one.predicted for one in used])
        above = [int((truth > np.maximum(high, labelled)).sum()) for high in np.array([c.possible for c in used]).T]
        below = [int((truth < np.minimum(low, labelled)).sum()) for low in np.array([c.sure for c in used]).T]
        thresholds[key] = (1 - POSSIBLE[_first(below, allowed)], POSSIBLE[_first(above, allowed)])
    return IntervalRule(thresholds, AIM, len(given), kind) if thresholds else None


@dataclass(frozen=True)
class Volumes:
    """Volumes of one region in answers whose truth is known, millilitres; all arrays are (n,).

    Attributes:
        marked: by the model.
        true: by the expert.
        expected_dice: of each answer, by a rule that had not seen its patient.
        weight: of each answer, so that every patient weighs the same.
        patients: how many there are.
    """

    marked: npt.NDArray[np.float64]
    true: npt.NDArray[np.float64]
    expected_dice: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    patients: int


def learn_spread(regions: Mapping[str, Volumes], kind: str) -> SpreadRule | None:
    """Choose for every region the ends between which as many true volumes lie as wanted, half of the rest on each side.

    Args:
        regions: answers to cases that the model was not trained on.
        kind: what they are, in words that a reader of a result is shown.

    Returns:
        None if no region has the answers of ``LEAST_CASES`` patients.
    """
    ends = {region: spread_ends(one) for region, one in regions.items() if one.patients >= LEAST_CASES}
    patients = max((one.patients for one in regions.values()), default=0)
    return SpreadRule(ends, AIM, patients, kind) if ends else None


def spread_ends(volumes: Volumes) -> tuple[float, float]:
    """Low and high end of `SpreadRule` for one region, a little farther out than the sample's: few are rare."""
    error = np.maximum(1 - volumes.expected_dice, 1e-3)
    spread = np.log((volumes.true + SMALL_ML) / (volumes.marked + SMALL_ML)) / error
    order = np.argsort(spread)
    weight = volumes.weight[order]
    place = (np.cumsum(weight) - weight / 2) / weight.sum()
    outside = (1 - AIM) / 2 * (1 - 1 / volumes.patients)
    low, high = np.interp([outside, 1 - outside], place, spread[order])
    return round(min(float(low), 0.0), 4), round(max(float(high), 0.0), 4)


def _first(missed: list[int], allowed: float) -> int:
    """Number of the first, narrowest threshold that misses few enough; of the last if none does."""
    return next((number for number, count in enumerate(missed) if count <= allowed), len(missed) - 1)
