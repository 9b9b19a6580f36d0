"""Lesion-wise metrics of the BraTS challenges: every lesion counts once, whatever its size.

The challenges have changed the definition more than once, so a definition is data here (``RULES``):

``brats-2023``
    Challenges of 2023, children's and adult glioma alike. The truth is dilated three times and components of the
    dilated truth are its lesions. Every predicted component that touches a dilated lesion is compared with it. Lesions
    of the truth with 50 voxels or fewer are left out; predicted components that touch none are false lesions.
``brats-peds-2024``
    The children's challenge of 2024: five dilations, limit 10 voxels, and the prediction is treated like the truth
    (its components are merged by dilation and those of 10 voxels or fewer are dropped).
``brats-evaluation``
    The package of the 2026 challenges, version 0.0.10. Components of both masks are paired one to one so that the sum
    of Dice is largest; the scores are means over the pairs. Missed and false lesions lower only the detection counts.

In the two dilation rules a missed or false lesion scores Dice 0 and HD95 374 mm, and nothing in both scores Dice 1 and
HD95 0. They were published with an HD95 that weighs patches of the surface; ours is that of ``hope.evaluation.surface``
throughout, which came out up to 1 mm larger on the shapes that were tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import cc3d
import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects
from scipy.optimize import linear_sum_assignment

from hope.domain.box import Box, bounding_box
from hope.evaluation.surface import BoolArray, dice, hd95_mm
from hope.stages.postprocess.postprocess import CONNECTIVITY

PENALTY_MM = 374.0
"""HD95 of a missed or false lesion: the space diagonal of 240 x 240 x 155 mm, rounded up as the challenges do."""

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DilationRules:
    """Lesions by dilation, every missed or false one punished.

    Attributes:
        dilations: how often the truth is dilated by the 18-neighbourhood before its components are found.
        ignored_voxels: lesions of the truth with at most so many voxels are left out.
        merge_prediction: treat the prediction like the truth: merge by dilation, drop what is at most as small.
    """

    dilations: int
    ignored_voxels: int
    merge_prediction: bool


@dataclass(frozen=True)
class PairingRules:
    """Components of both masks paired one to one by the largest sum of Dice."""


RULES: Mapping[str, DilationRules | PairingRules] = {
    "brats-2023": DilationRules(dilations=3, ignored_voxels=50, merge_prediction=False),
    "brats-peds-2024": DilationRules(dilations=5, ignored_voxels=10, merge_prediction=True),
    "brats-evaluation": PairingRules(),
}
"""The definitions by name."""

RULES_FOR_SCHEME: Mapping[str, tuple[str, ...]] = {
    "peds": ("brats-2023", "brats-peds-2024", "brats-evaluation"),
    "brats2023": ("brats-2023", "brats-evaluation"),
    "brats2021": ("brats-2023", "brats-evaluation"),
}
"""Which definitions apply to a truth of each label scheme."""

HEADLINE_RULES = "brats-2023"
"""The definition behind the columns LW-Dice and LW-HD95: that of most published children's figures."""


class LesionScores(TypedDict):
    """Scores of one region of one case. None: not defined (nothing in both masks, or no pair of lesions).

    ``found``, ``missed`` and ``false`` count lesions.
    """

    dice: float | None
    hd95_mm: float | None
    found: int
    missed: int
    false: int


def score_lesions(
    prediction: BoolArray, truth: BoolArray, spacing_mm: Sequence[float], rules: DilationRules | PairingRules
) -> LesionScores:
    """Lesion-wise Dice and HD95 of one region under one definition.

    Args:
        prediction: (i, j, k) mask.
        truth: (i, j, k) mask on the same grid.
        spacing_mm: distance between voxel centres along i, j, k.
        rules: the definition.
    """
    # No margin: two lesions whose dilations meet outside the box meet inside it too, since both lie within.
    box = bounding_box(prediction | truth)
    if box is None:
        empty = 1.0 if isinstance(rules, DilationRules) else None
        return LesionScores(dice=empty, hd95_mm=None if empty is None else 0.0, found=0, missed=0, false=0)
    if isinstance(rules, DilationRules):
        return _score_by_dilation(prediction[box], truth[box], spacing_mm, rules)
    return _score_by_pairing(prediction[box], truth[box], spacing_mm)


def dilate(mask: BoolArray, times: int) -> BoolArray:
    """Grow a mask (i, j, k) by its 18-neighbourhood (faces and edges), ``times`` times, within the volume."""
    grown = mask
    for _ in range(times):
        along_i, along_j = _dilate_axis(grown, 0), _dilate_axis(grown, 1)
        grown = _dilate_axis(along_i, 1) | _dilate_axis(along_i, 2) | _dilate_axis(along_j, 2)
    return grown


def _dilate_axis(mask: BoolArray, axis: int) -> BoolArray:
    grown = mask.copy()
    source, target = np.moveaxis(mask, axis, 0), np.moveaxis(grown, axis, 0)
    target[1:] |= source[:-1]
    target[:-1] |= source[1:]
    return grown


def _components(mask: BoolArray) -> IntArray:
    """Component numbers (i, j, k) from 1, 26-connected; 0 outside."""
    return cc3d.connected_components(mask.astype(np.uint8), connectivity=CONNECTIVITY).astype(np.int64)


def _shared_voxels(first: IntArray, second: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Pairs of components that share voxels: number in ``first``, number in ``second``, voxels shared; each (n,)."""
    both = (first > 0) & (second > 0)
    columns = int(second.max()) + 1
    codes, counts = np.unique(first[both] * columns + second[both], return_counts=True)
    return codes // columns, codes % columns, counts.astype(np.int64)


def _score_by_dilation(
    prediction: BoolArray, truth: BoolArray, spacing_mm: Sequence[float], rules: DilationRules
) -> LesionScores:
    # Components of one dilated component are one lesion, and the dilation of that lesion is that dilated component.
    zones = _components(dilate(truth, rules.dilations))
    lesions = zones * truth
    spots = _components(prediction)
    if rules.merge_prediction:
        spots = _components(dilate(prediction, rules.dilations)) * prediction
        spots[np.bincount(spots.ravel())[spots] <= rules.ignored_voxels] = 0
    in_zone, of_spot, _ = _shared_voxels(zones, spots)
    lesion_size = np.bincount(lesions.ravel())
    counted = np.flatnonzero(lesion_size[1:] > rules.ignored_voxels) + 1
    false = len(set(np.unique(spots[spots > 0]).tolist()) - set(of_spot.tolist()))

    dices, distances_mm, missed = [], [], 0
    for number in counted.tolist():
        chosen = np.zeros(int(spots.max()) + 1, dtype=np.bool_)
        chosen[of_spot[in_zone == number]] = True
        if not chosen.any():
            missed += 1
            continue
        ours, theirs = chosen[spots], lesions == number
        dices.append(dice(ours, theirs))
        distances_mm.append(hd95_mm(ours, theirs, spacing_mm))
    total = len(counted) + false
    if not total:
        return LesionScores(dice=1.0, hd95_mm=0.0, found=0, missed=0, false=0)
    return LesionScores(
        dice=sum(dices) / total,
        hd95_mm=(sum(distances_mm) + (missed + false) * PENALTY_MM) / total,
        found=len(dices),
        missed=missed,
        false=false,
    )


def _score_by_pairing(prediction: BoolArray, truth: BoolArray, spacing_mm: Sequence[float]) -> LesionScores:
    spots, lesions = _components(prediction), _components(truth)
    lesion, spot, shared = _shared_voxels(lesions, spots)
    spot_size, lesion_size = np.bincount(spots.ravel()), np.bincount(lesions.ravel())
    # Only components that overlap something can be paired, so the table stays small for noisy masks.
    rows, row = np.unique(lesion, return_inverse=True)
    columns, column = np.unique(spot, return_inverse=True)
    overlap = np.zeros((rows.size, columns.size))
    overlap[row, column] = 2.0 * shared / (lesion_size[lesion] + spot_size[spot])
    pairs = [(a, b) for a, b in zip(*linear_sum_assignment(overlap, maximize=True), strict=True) if overlap[a, b] > 0]
    spot_boxes, lesion_boxes = find_objects(spots), find_objects(lesions)
    distances_mm = []
    for a, b in pairs:
        box = _joined(lesion_boxes[rows[a] - 1], spot_boxes[columns[b] - 1])
        distances_mm.append(hd95_mm(spots[box] == columns[b], lesions[box] == rows[a], spacing_mm))
    return LesionScores(
        dice=float(np.mean([overlap[a, b] for a, b in pairs])) if pairs else 0.0,
        hd95_mm=float(np.mean(distances_mm)) if pairs else None,
        found=len(pairs),
        missed=len(lesion_size) - 1 - len(pairs),
        false=len(spot_size) - 1 - len(pairs),
    )


def _joined(first: Box, second: Box) -> Box:
    """Smallest box that holds both boxes."""
    i, j, k = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))
    return i, j, k
