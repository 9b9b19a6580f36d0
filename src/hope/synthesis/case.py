"""Whole synthetic cases: for training, on the model's grid; see ``raw`` for scans as they leave a scanner."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hope.domain.case import SEQUENCES
from hope.domain.grid import Grid
from hope.synthesis.acquisition import Faults, degrade
from hope.synthesis.anatomy import brain_mask, make_anatomy
from hope.synthesis.contrast import brighten_core, draw_brightness, has_rim, render
from hope.synthesis.fields import FieldMaker
from hope.synthesis.shapes import LesionShape
from hope.synthesis.template import load_template
from hope.synthesis.variety import Variety, draw_kind, with_variety


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


STRONG_SHADING = 0.8
"""Strength of a shading that ``Variety.strong_bias`` draws, natural-log units."""

BRAIN_BLOCK_2MM = ((80, 96, 80), (40, 15, -6))
"""Shape at 2 mm, and first corner in canonical atlas voxels, of a block that holds every brain."""


def training_sample(
    seed: int,
    index: int,
    kind: str | None = None,
    faults: Faults | None = None,
    variety: Variety | None = None,
    lesion: LesionShape | None = None,
) -> TrainingSample:
    """The ``index``-th case of an endless, reproducible series at 2 mm.

    Args:
        seed: of the whole series.
        index: which case; cases do not depend on one another.
        kind: see ``tumours.plan_tumours``; None draws one (about 4 % have none).
        faults: upper limits of a scanner's faults.
        variety: switches of what else a case may show; None shows none of it, and gives the cases that older versions
            gave.
        lesion: the parts of a real tumour to draw in place of the first lesion's.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    shape, start = BRAIN_BLOCK_2MM
    template = load_template(2, shape, start)
    others = FieldMaker(np.random.default_rng(np.random.SeedSequence([seed, index, 77])), shape, 2.0)
    if kind is None and variety is None and rng.random() < 0.04:
        kind = "none"
    if kind is None and variety is not None:
        kind = draw_kind(others.rng, variety) if lesion is None else "rim_enhancing"
    anatomy = make_anatomy(template, rng, kind, lesion)
    fields = FieldMaker(rng, shape, 2.0)
    given = None
    if variety is not None:
        anatomy = with_variety(anatomy, others, variety)
        if others.chance(variety.bright_cores):
            given = brighten_core(draw_brightness(others.rng, has_rim(anatomy)), others.uniform(0.95, 1.35))
    mask = brain_mask(anatomy, fields)
    limits = faults or Faults()
    if variety is not None and others.chance(variety.strong_bias):
        limits = replace(limits, shading=STRONG_SHADING)
    axis = int(rng.choice(3, p=[0.15, 0.15, 0.7]))
    ideal = render(anatomy, fields, given)
    images = np.stack([degrade(ideal[s], fields, limits, axis) * mask for s in SEQUENCES])
    labels = np.where(mask, anatomy.labels, 0).astype(np.uint8)
    return TrainingSample(images, labels, template.grid, tuple(spec.kind for spec in anatomy.tumours))
