"""Small heads of fluid, grey and white matter with or without a lesion, for tests of harmonisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.case import SEQUENCES, AlignedCase, MRSequence
from hope.domain.grid import Grid
from hope.domain.volume import Volume

SHAPE, SPACING_MM = (64, 72, 52), 2.5
GRID = Grid(SHAPE, np.array([[-2.5, 0, 0, 80.0], [0, -2.5, 0, 90.0], [0, 0, 2.5, -60.0], [0, 0, 0, 1.0]]))
"""Away from the atlas, which then has no say."""

TISSUE = {"t1n": (0.3, 0.7, 1.0), "t1c": (0.3, 0.75, 1.05), "t2w": (1.6, 0.9, 0.6), "t2f": (0.3, 1.0, 0.8)}
"""Fluid, grey, white."""
LESION = {"t1n": 0.65, "t1c": 1.9, "t2w": 1.3, "t2f": 1.7}


def ball(centre: Sequence[float], radius: float) -> npt.NDArray[np.bool_]:
    """Voxels within a radius (voxels)."""
    place = np.indices(SHAPE) - np.asarray(centre).reshape(3, 1, 1, 1)
    inside: npt.NDArray[np.bool_] = (place**2).sum(axis=0) <= radius**2
    return inside


def head(
    seed: int = 0,
    lesion: npt.NDArray[np.bool_] | None = None,
    sequences: Sequence[MRSequence] = SEQUENCES,
    gamma: float = 1.0,
    scale: float = 100.0,
    bright: Mapping[str, float] | None = None,
) -> AlignedCase:
    """A head whose two sides are alike but for noise and the lesion.

    Args:
        seed: of folds and noise.
        lesion: where it is.
        sequences: which images it has.
        gamma: another scanner's contrast.
        scale: another scanner's unit.
        bright: how bright the lesion is, by sequence; as tumours are if not given.
    """
    rng = np.random.default_rng(seed)
    place = (np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2) / np.array([24, 30, 20])[
        :, None, None, None
    ]
    radius = np.sqrt((place**2).sum(axis=0))
    folds = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 2.5)
    folds = (folds + folds[::-1]) / np.abs(folds).max()
    brain = radius < 1
    white, fluid = radius + 0.3 * folds < 0.72, (radius + 0.2 * folds < 0.22) | (radius + 0.1 * folds > 0.97)
    images = {}
    for s in sequences:
        values = np.select([fluid, white], [TISSUE[s][0], TISSUE[s][2]], TISSUE[s][1])
        if lesion is not None:
            values = np.where(lesion, (bright or LESION)[s], values)
        values = ndimage.gaussian_filter(values, 0.6) + 0.02 * rng.standard_normal(SHAPE)
        images[s] = Volume((np.clip(values, 0.02, None) ** gamma * scale * brain).astype(np.float32), GRID)
    return AlignedCase.in_place("head", images, Volume(brain, GRID))
