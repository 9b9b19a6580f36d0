"""Volumes of the tumour's parts in millilitres, each with an interval that says how sure the model was."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hope.domain.case import Prediction
from hope.domain.labels import PEDS, REGIONS
from hope.domain.volume import Volume
from hope.stages.postprocess.postprocess import VOLUME_KEYS, count_voxels

HIGH_PROBABILITY = 0.8
"""Voxels at least this probable make the low end of an interval."""
LOW_PROBABILITY = 0.2
"""Voxels at least this probable make the high end of an interval."""

MOST_MEMBERS = 0.9
"""Of an ensemble, voxels that at least this share of its members mark make the low end."""
FEW_MEMBERS = 0.1
"""Of an ensemble, voxels that at least this share of its members mark make the high end."""


def interval_method(prediction: Prediction) -> str:
    """What result.json and the report say about the intervals of this prediction."""
    if prediction.agreement:
        return (
            f"from what at least {MOST_MEMBERS:.0%} of the ensemble's networks mark (low) to what at least "
            f"{FEW_MEMBERS:.0%} of them mark (high), its members counted by weight; not calibrated: the true volume "
            "may lie outside"
        )
    if rule := prediction.intervals:
        by_probability = (
            "from the voxels that the model is sure of (low) to those that it thinks possible (high), at probabilities "
            f"chosen to hold {rule.aim:.0%} of the true volumes of {rule.cases} {rule.kind}; on real scans, and where "
            "a sequence is missing or nothing was found, the true volume lies outside more often"
        )
        if (spread := rule.spread) and (regions := _by_quality(prediction)):
            return (
                f"of {', '.join(regions)} from how far true volumes lay from the marked ones, the farther the lower "
                f"the expected Dice, so that {spread.aim:.0%} lay inside, measured on {spread.kind}; of the other "
                f"labels {by_probability}"
            )
        return by_probability
    return (
        f"from where the model gives a probability of at least {HIGH_PROBABILITY} (low) to where it gives at least "
        f"{LOW_PROBABILITY} (high); not calibrated yet: the true volume may lie outside"
    )


def measure(native_labels: Volume, prediction: Prediction) -> dict[str, dict[str, float]]:
    """Volume and interval of each label and region.

    The volume is counted on the native grid. The interval comes from the atlas grid: of an ensemble, from how many of
    its members mark a voxel, of a single network from its probabilities. The share by which the sure (or the possible)
    voxels are fewer (or more) than the labelled ones there is applied to the native volume, because the path from atlas
    to native keeps volumes only up to interpolation. Where the atlas mask has none of a label, the possible voxels are
    counted as they are. Regions whose quality is expected get the model's `SpreadRule` instead, if it has one.
    Always ``low_ml <= ml <= high_ml``.

    Args:
        native_labels: uint8 peds labels on the scan's own grid.
        prediction: atlas labels and probabilities. A region without a probability of its own takes the sum of its
            labels' probabilities, which exclude one another.

    Returns:
        For ET, NET, CC, ED, TC, WT: ``{"ml", "low_ml", "high_ml"}`` in millilitres.

    Raises:
        ValueError: if the prediction carries no probability for a label.
    """
    native, atlas = count_voxels(native_labels.data), count_voxels(prediction.labels.data)
    native_ml = {key: count * native_labels.grid.voxel_volume_ml for key, count in native.items()}
    return {key: _measure_one(key, native_ml[key], atlas[key], prediction) for key in VOLUME_KEYS}


def _by_quality(prediction: Prediction) -> dict[str, float]:
    """Expected Dice of the regions whose interval comes from it, the whole tumour last as in tables."""
    if prediction.agreement or not prediction.intervals or not prediction.intervals.spread:
        return {}
    expected = prediction.expected_quality.regions if prediction.expected_quality else {}
    fitted = prediction.intervals.spread.ends
    return {key: expected[key].dice for key in VOLUME_KEYS if key in expected and key in fitted}


def _measure_one(key: str, ml: float, labelled: int, prediction: Prediction) -> dict[str, float]:
    dice, rule = _by_quality(prediction).get(key), prediction.intervals
    if ml and dice is not None and rule and rule.spread:
        low_ml, high_ml = rule.spread.interval(key, ml, dice)
        return {"ml": ml, "low_ml": low_ml, "high_ml": high_ml}
    if prediction.agreement:
        belief, high, low = _probability(key, prediction.agreement), MOST_MEMBERS, FEW_MEMBERS
    else:
        belief = _probability(key, prediction.region_probability)
        own = prediction.intervals.thresholds if prediction.intervals else {}
        high, low = own.get(key, (HIGH_PROBABILITY, LOW_PROBABILITY))
    sure, possible = _at_least(belief, high), _at_least(belief, low)
    # What one atlas voxel stands for; a mask that vanished between the grids keeps the atlas voxel's own volume.
    ml_per_voxel = ml / labelled if labelled and ml else prediction.labels.grid.voxel_volume_ml
    return {"ml": ml, "low_ml": min(sure * ml_per_voxel, ml), "high_ml": max(possible * ml_per_voxel, ml)}


def _probability(key: str, given: Mapping[str, npt.NDArray[np.float16]]) -> npt.NDArray[np.floating]:
    """Probability (i, j, k) of a label or region, from its own entry or from those of its labels."""
    if key in given:
        return given[key]
    parts = [label.key for label in PEDS.labels if label.value in REGIONS.get(key, ())]
    if not parts or not all(part in given for part in parts):
        raise ValueError(f"the prediction has no probability for {key}; it has {sorted(given)}")
    total = np.zeros(given[parts[0]].shape, dtype=np.float32)
    for part in parts:
        total += given[part]
    return total


def _at_least(belief: npt.NDArray[np.floating], limit: float) -> int:
    """How many values reach a limit of 0 or more."""
    if belief.dtype != np.float16 or not limit > 0:
        return int(np.count_nonzero(belief >= limit))
    # Half precision is compared by its bits, which rise with its values from 0 on: processors have no faster way.
    bits, least = belief.view(np.int16), np.float16(limit).view(np.int16)
    return int(np.count_nonzero(bits >= least))
