"""Whole synthetic cases: for training, on the model's grid; see ``raw`` for scans as they leave a scanner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hope.domain.case import SEQUENCES
from hope.domain.grid import Grid
from hope.synthesis.acquisition import Faults, degrade
from hope.synthesis.anatomy import brain_mask, make_anatomy
from hope.synthesis.contrast import render
from hope.synthesis.fields import FieldMaker
from hope.synthesis.template import load_template


@dataclass(frozen=True)
class TrainingSample:
    """One labelled case on the model's grid.

    Attributes:
        images: (4, i, j, k) float32 in channel order, skull-stripped, zero outside the brain; arbitrary units.
        labels: (i, j, k) uint8 peds labels.
        grid: RAS grid in the atlas frame.
        kinds: the kinds of tumour drawn, empty for none.
    """

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    grid: Grid
    kinds: tuple[str, ...]


BRAIN_BLOCK_2MM = ((80, 96, 80), (40, 15, -6))
"""Shape at 2 mm, and first corner in canonical atlas voxels, of a block that holds every brain."""


def training_sample(seed: int, index: int, kind: str | None = None, faults: Faults | None = None) -> TrainingSample:
    """The ``index``-th case of an endless, reproducible series at 2 mm.

    Args:
        seed: of the whole series.
        index: which case; cases do not depend on one another.
        kind: see ``tumours.plan_tumours``; None draws one (about 4 % have none).
        faults: upper limits of a scanner's faults.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    shape, start = BRAIN_BLOCK_2MM
    template = load_template(2, shape, start)
    if kind is None and rng.random() < 0.04:
        kind = "none"
    anatomy = make_anatomy(template, rng, kind)
    fields = FieldMaker(rng, shape, 2.0)
    mask = brain_mask(anatomy, fields)
    limits = faults or Faults()
    axis = int(rng.choice(3, p=[0.15, 0.15, 0.7]))
    ideal = render(anatomy, fields)
    images = np.stack([degrade(ideal[s], fields, limits, axis) * mask for s in SEQUENCES])
    labels = np.where(mask, anatomy.labels, 0).astype(np.uint8)
    return TrainingSample(images, labels, template.grid, tuple(spec.kind for spec in anatomy.tumours))
