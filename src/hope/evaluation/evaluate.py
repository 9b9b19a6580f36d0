"""How well a predicted mask agrees with the truth: Dice, HD95 and the challenges' lesion-wise scores per region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from hope.domain.box import bounding_box
from hope.domain.errors import InputError
from hope.domain.labels import CC, ED, ET, NET, SCHEMAS, region_mask
from hope.domain.volume import Volume
from hope.evaluation.lesionwise import HEADLINE_RULES, PENALTY_MM, RULES, RULES_FOR_SCHEME, LesionScores, score_lesions
from hope.evaluation.surface import dice, hd95_mm
from hope.stages.postprocess.scheme_check import likelier_scheme

SPACING_TOLERANCE_MM = 0.001
"""Masks whose voxel spacings agree within this can be compared voxel by voxel."""

LARGEST_SKEW_DEGREES = 0.5
"""Distances count axes as perpendicular; a grid that is sheared by more gets a note."""

COMPARED: Mapping[str, tuple[str, ...]] = {
    "peds": ("ET", "TC", "WT", "NET", "CC", "ED"),
    "brats2023": ("ET", "TC", "WT", "NET", "ED"),
    "brats2021": ("ET", "TC", "WT", "NET", "ED"),
}
"""Regions and labels that are compared, by the scheme of the truth; adult schemes have no cystic component."""


_CLEARLY = 0.25
"""By so much the mean Dice under other label schemes has to be higher for a note, and that of two parts."""


class RegionScores(TypedDict):
    """Scores of one region. ``lw_dice`` and ``lw_hd95_mm`` repeat the headline definition of ``lesionwise``."""

    dice: float
    hd95_mm: float
    lw_dice: float | None
    lw_hd95_mm: float | None
    lesionwise: dict[str, LesionScores]
    prediction_ml: float
    truth_ml: float


class CaseScores(TypedDict):
    """Scores of one case; ``notes`` are sentences for the reader."""

    scheme: str
    prediction_scheme: str
    headline_rules: str
    notes: list[str]
    regions: dict[str, RegionScores]


def evaluate(prediction: Volume, truth: Volume, scheme: str = "peds", prediction_scheme: str = "peds") -> CaseScores:
    """Compare a predicted mask with the truth, region by region.

    Both are brought to peds values first, so that an adult truth can judge a children's model: NCR counts as NET. A
    predicted cyst then counts in TC and WT, where an adult truth has it too. Where neither mask has any of a region
    Dice is 1 and HD95 0; where one has, Dice is 0 and HD95 the challenges' penalty of 374 mm.

    Args:
        prediction: integer mask in values of ``prediction_scheme``.
        truth: integer mask in values of ``scheme``; scores are in its millimetres.
        scheme: label scheme of the truth: peds, brats2023 or brats2021.
        prediction_scheme: label scheme of the prediction.

    Raises:
        InputError: for masks of different size or spacing, or values that a scheme does not know.
    """
    ours, theirs, notes = _on_one_grid(prediction, truth)
    predicted = _peds_values(ours.data, prediction_scheme, "prediction")
    true = _peds_values(theirs.data, scheme, "truth")
    if scheme != "peds" and (predicted == 3).any():
        notes.append(f"the {scheme} scheme has no cystic component: predicted CC counts in TC and WT only")
    if (skew := theirs.grid.skew_degrees) > LARGEST_SKEW_DEGREES:
        notes.append(
            f"the voxel axes are up to {skew:.1f} degrees from right angles: distances (HD95) and lesion-wise scores "
            "are worked out as if they were not; Dice and volumes are right"
        )
    voxel_ml = theirs.grid.voxel_volume_ml
    box = bounding_box((predicted > 0) | (true > 0))
    if box is not None:
        predicted, true = predicted[box], true[box]
        notes += _on_schemes(ours.data[box], theirs.data[box], scheme, prediction_scheme) or _on_truth(theirs, scheme)
    spacing = theirs.grid.spacing_mm
    regions = {
        key: _score_region(region_mask(predicted, key), region_mask(true, key), spacing, voxel_ml, scheme)
        for key in COMPARED[scheme]
    }
    return CaseScores(
        scheme=scheme,
        prediction_scheme=prediction_scheme,
        headline_rules=HEADLINE_RULES,
        notes=notes,
        regions=regions,
    )


def _score_region(
    prediction: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.bool_],
    spacing_mm: Sequence[float],
    voxel_ml: float,
    scheme: str,
) -> RegionScores:
    lesionwise = {name: score_lesions(prediction, truth, spacing_mm, RULES[name]) for name in RULES_FOR_SCHEME[scheme]}
    has_ours, has_theirs = bool(prediction.any()), bool(truth.any())
    if has_ours and has_theirs:
        distance_mm = hd95_mm(prediction, truth, spacing_mm)
    else:
        distance_mm = 0.0 if has_ours == has_theirs else PENALTY_MM
    return RegionScores(
        dice=dice(prediction, truth),
        hd95_mm=distance_mm,
        lw_dice=lesionwise[HEADLINE_RULES]["dice"],
        lw_hd95_mm=lesionwise[HEADLINE_RULES]["hd95_mm"],
        lesionwise=lesionwise,
        prediction_ml=int(np.count_nonzero(prediction)) * voxel_ml,
        truth_ml=int(np.count_nonzero(truth)) * voxel_ml,
    )


def _peds_values(mask: npt.NDArray[np.uint8], scheme: str, what: str) -> npt.NDArray[np.uint8]:
    if scheme not in SCHEMAS:
        raise InputError(f"unknown label scheme {scheme!r}", expected=f"one of {', '.join(SCHEMAS)}")
    try:
        return SCHEMAS[scheme].convert_to_peds(mask)
    except ValueError as error:
        option = "--scheme" if what == "truth" else "--pred-scheme"
        raise InputError(f"the {what} does not fit its label scheme: {error}", fix=f"name it with {option}") from error


def _on_schemes(
    prediction: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], scheme: str, prediction_scheme: str
) -> list[str]:
    """Say so if the masks agree far better under other label schemes: one number means different parts in them.

    A mask that is wrong may agree better under another scheme by chance, so two parts have to. That both masks are in
    another scheme than the one they are said to be in cannot be told here: what agrees as one part agrees as another.
    """
    named = _agreement(prediction, truth, prediction_scheme, scheme)
    both_alike = prediction_scheme == scheme
    others = [
        (ours, theirs)
        for ours in SCHEMAS
        for theirs in SCHEMAS
        if (ours, theirs) != (prediction_scheme, scheme) and not (both_alike and ours == theirs)
    ]
    # Those that differ in one scheme first, since the first of equals is named.
    others.sort(key=lambda pair: (pair[0] != prediction_scheme) + (pair[1] != scheme))
    read = [(_agreement(prediction, truth, ours, theirs), ours, theirs) for ours, theirs in others]
    known = [one for one in read if one[0] and _two_gain(one[0], named)]
    if not known:
        return []
    best, ours, theirs = max(known, key=lambda one: _mean(one[0]))
    if _mean(best) < _mean(named) + _CLEARLY:
        return []
    return [
        f"check the label schemes: the parts agree far better (mean Dice {_mean(best):.2f} instead of "
        f"{_mean(named):.2f}) if the truth is {theirs} and the prediction {ours}"
    ]


def _on_truth(truth: Volume, scheme: str) -> list[str]:
    """Say so if the labels of the truth lie in one another as those of another scheme do; both masks may be in it."""
    likelier = likelier_scheme(truth.data, scheme)
    if not likelier:
        return []
    return [
        f"check the label schemes: the labels of the truth lie in one another as those of the {likelier} scheme do, "
        f"not of {scheme}, so the scores may stand under the wrong names"
    ]


def _agreement(
    prediction: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], prediction_scheme: str, scheme: str
) -> dict[str, float]:
    """Dice of ET, NET with CC, and ED, of those in either mask; empty if a scheme does not know a value."""
    try:
        ours, theirs = SCHEMAS[prediction_scheme].convert_to_peds(prediction), SCHEMAS[scheme].convert_to_peds(truth)
    except ValueError:
        return {}
    parts = {"ET": (ET,), "NET": (NET, CC), "ED": (ED,)}
    masks = {key: (np.isin(ours, values), np.isin(theirs, values)) for key, values in parts.items()}
    return {key: dice(one, other) for key, (one, other) in masks.items() if one.any() or other.any()}


def _two_gain(other: Mapping[str, float], named: Mapping[str, float]) -> bool:
    """Whether two parts agree clearly better; a part that no mask holds as named agrees not at all there."""
    return sum(value >= named.get(key, 0.0) + _CLEARLY for key, value in other.items()) > 1


def _mean(agreement: Mapping[str, float]) -> float:
    return float(np.mean(list(agreement.values()))) if agreement else 0.0


def _on_one_grid(prediction: Volume, truth: Volume) -> tuple[Volume, Volume, list[str]]:
    """Bring both masks to one voxel order; the second keeps the truth's grid. Notes say what had to be assumed."""
    if prediction.grid.same_as(truth.grid):
        return prediction, truth, []
    ours, theirs = prediction.reoriented("RAS"), truth.reoriented("RAS")
    if ours.grid.shape != theirs.grid.shape:
        raise InputError(
            "prediction and truth differ in size",
            expected=f"{_times(theirs.grid.shape)} voxels as in the truth",
            got=_times(ours.grid.shape),
            fix="compare masks of one grid",
        )
    if not np.allclose(ours.grid.spacing_mm, theirs.grid.spacing_mm, atol=SPACING_TOLERANCE_MM, rtol=0):
        raise InputError(
            "prediction and truth differ in voxel spacing",
            expected=f"{_times(theirs.grid.spacing_mm)} mm as in the truth",
            got=f"{_times(ours.grid.spacing_mm)} mm",
            fix="compare masks of one grid",
        )
    if ours.grid.same_as(theirs.grid):
        return ours, theirs, []
    distance = ours.grid.largest_corner_distance_mm(theirs.grid)
    note = f"the headers differ by up to {distance:.1f} mm: compared voxel by voxel after reorienting both to RAS"
    return ours, theirs, [note]


def _times(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)


def mean_scores(cases: Sequence[CaseScores]) -> dict[str, dict[str, float | None]]:
    """Mean over cases of each column, per region; None where no case defines it.

    Columns: dice, hd95_mm, lw_dice, lw_hd95_mm, and ``<definition>.dice`` and ``<definition>.hd95_mm`` for the others.
    """
    columns = [flat_scores(case) for case in cases]
    regions = list(dict.fromkeys(region for case in columns for region in case))
    means: dict[str, dict[str, float | None]] = {}
    for region in regions:
        rows = [case[region] for case in columns if region in case]
        means[region] = {}
        for name in dict.fromkeys(name for row in rows for name in row):
            known = [value for row in rows if (value := row.get(name)) is not None]
            means[region][name] = float(np.mean(known)) if known else None
    return means


def flat_scores(case: CaseScores) -> dict[str, dict[str, float | None]]:
    """Lay out the scores of one case as columns, per region."""
    flat: dict[str, dict[str, float | None]] = {}
    for region, scores in case["regions"].items():
        flat[region] = {
            "dice": scores["dice"],
            "hd95_mm": scores["hd95_mm"],
            "lw_dice": scores["lw_dice"],
            "lw_hd95_mm": scores["lw_hd95_mm"],
        }
        for name, lesions in scores["lesionwise"].items():
            if name != HEADLINE_RULES:
                flat[region][f"{name}.dice"] = lesions["dice"]
                flat[region][f"{name}.hd95_mm"] = lesions["hd95_mm"]
    return flat
