"""A tiny synthetic case through the real network: the proof that this machine can answer at all."""

from __future__ import annotations

from typing import Any

import numpy as np

from hope.domain.case import SEQUENCES, AlignedCase, HarmonizedCase
from hope.domain.errors import StageError
from hope.domain.volume import Volume
from hope.ports import Predictor
from hope.synthesis.anatomy import brain_mask, make_anatomy
from hope.synthesis.contrast import render
from hope.synthesis.fields import FieldMaker
from hope.synthesis.template import load_template

_SPACING_MM = 2
_SHAPE, _START = (48, 56, 48), (70, 60, 40)
"""A block inside the brain that takes one tile or two, and its first corner in canonical atlas voxels."""

_SEED = 7


def tiny_case() -> tuple[HarmonizedCase, Any]:
    """A block of brain with a tumour in it, and (i, j, k) its peds labels; always the same."""
    rng = np.random.default_rng(_SEED)
    template = load_template(_SPACING_MM, _SHAPE, _START)
    anatomy = make_anatomy(template, rng, "rim_enhancing")
    fields = FieldMaker(rng, _SHAPE, float(_SPACING_MM))
    mask = brain_mask(anatomy, fields)
    ideal = render(anatomy, fields)
    images = {s: Volume(np.ascontiguousarray(ideal[s] * mask, dtype=np.float32), template.grid) for s in SEQUENCES}
    aligned = AlignedCase.in_place("self-test", images, Volume(mask, template.grid))
    return HarmonizedCase(aligned, images), np.where(mask, anatomy.labels, 0).astype(np.uint8)


def self_test(predictor: Predictor) -> dict[str, float]:
    """Let a model label the tiny case.

    Returns:
        ``dice`` of the whole tumour, which says nothing about how good the model is on people.

    Raises:
        BundleError: if its files are damaged.
        InputError: if the device that was asked for is not there.
        StageError: if it fails or answers nonsense.
    """
    from hope.stages.segment.segment import segment

    case, truth = tiny_case()
    predictor.prepare()
    prediction = segment(case, predictor)
    for region, probability in prediction.region_probability.items():
        if not np.isfinite(probability).all() or float(probability.max()) > 1.01 or float(probability.min()) < -0.01:
            raise StageError(f"the self-test's probability of {region} is none")
    if float(np.ptp(prediction.region_probability["WT"].astype(np.float32))) == 0:
        raise StageError("the model says the same of every voxel of the self-test")
    found, there = np.asarray(prediction.labels.data) > 0, truth > 0
    return {"dice": round(float(2 * (found & there).sum() / max(1, found.sum() + there.sum())), 3)}
