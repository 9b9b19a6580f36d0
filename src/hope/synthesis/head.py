"""What surrounds the brain: fluid, skull, marrow, scalp, eyes, face and neck, in four contrasts. Coarse on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.grid import Grid
from hope.formats.atlas import SRI24_TO_ICBM
from hope.synthesis.fields import Field, FieldMaker, blur

_STEP_MM = 2.0
# Signal of bone, marrow, fat, muscle and eye, on the scale of hope.synthesis.contrast.
_SIGNAL: Mapping[MRSequence, tuple[float, float, float, float, float]] = {
    MRSequence.T1N: (0.08, 0.55, 1.25, 0.5, 0.18),
    MRSequence.T1C: (0.08, 0.6, 1.25, 0.62, 0.18),
    MRSequence.T2W: (0.06, 0.35, 0.8, 0.28, 1.15),
    MRSequence.T2F: (0.06, 0.35, 0.75, 0.35, 0.2),
}


@dataclass(frozen=True)
class HeadBlock:
    """Four images of everything that is not brain, on a larger block than the brain's.

    Attributes:
        images: per sequence float32 (i, j, k) at 1 mm; 0 where the brain block takes over and in air.
        grid: RAS grid of the block.
    """

    images: Mapping[MRSequence, Field]
    grid: Grid


def _ellipsoid(grid: Grid, centre_icbm_mm: tuple[float, float, float], radii_mm: tuple[float, float, float]) -> Field:
    """Normalised distance from a point that is given in the template's world."""
    centre = grid.to_voxel(SRI24_TO_ICBM.inverse().apply(np.array(centre_icbm_mm)))
    axes = np.ogrid[tuple(slice(0, n) for n in grid.shape)]
    total = sum(((axis - c) * _STEP_MM / r) ** 2 for axis, c, r in zip(axes, centre, radii_mm, strict=True))
    return np.asarray(np.sqrt(total), dtype=np.float32)


def surround(brain: Field, grid: Grid, margin: int, rng: np.random.Generator) -> HeadBlock:
    """Build a head around a brain.

    Args:
        brain: (i, j, k) brain fraction at 1 mm, even sides.
        grid: RAS grid of ``brain``.
        margin: even number of voxels to add on every side.
        rng: all randomness.
    """
    outer = grid.cropped([-margin] * 3, [n + margin for n in grid.shape])
    coarse = outer.with_spacing((_STEP_MM,) * 3)
    small = np.pad(brain, margin).reshape(coarse.shape[0], 2, coarse.shape[1], 2, coarse.shape[2], 2).mean((1, 3, 5))
    fields = FieldMaker(rng, coarse.shape, _STEP_MM)
    inner = blur(small, 5.0, _STEP_MM) > 0.35
    distance = np.asarray(ndimage.distance_transform_edt(~inner), dtype=np.float32) * np.float32(_STEP_MM)
    distance += fields.fractal(40, 2, 0.5) * np.float32(0.8)
    skull, scalp = fields.uniform(5.0, 8.0), fields.uniform(4.5, 8.0)
    face = np.minimum(_ellipsoid(coarse, (0, 52, -62), (52, 46, 62)), _ellipsoid(coarse, (0, -20, -110), (55, 55, 80)))
    face += fields.fractal(30, 2, 0.5) * np.float32(0.03)
    nose = np.minimum(_ellipsoid(coarse, (0, 62, -45), (13, 32, 22)), _ellipsoid(coarse, (0, 45, -75), (16, 28, 14)))
    eyes = np.minimum(_ellipsoid(coarse, (32, 58, -38), (13, 13, 13)), _ellipsoid(coarse, (-32, 58, -38), (13, 13, 13)))
    head = (distance < skull + scalp) | (face < 1)
    bone = (distance > 0) & (distance < skull)
    marrow = bone & (distance > skull * 0.3) & (distance < skull * 0.7)
    muscle = head & ~bone & (distance > 0) & (face < 0.9)
    edge = blur(head.astype(np.float32), 1.2, _STEP_MM)
    texture = 1 + np.float32(0.12) * fields.fractal(9, 3, 0.6)
    images = {}
    for sequence in SEQUENCES:
        on_bone, on_marrow, on_fat, on_muscle, on_eye = _SIGNAL[sequence]
        image = np.where(head & (distance > 0), np.float32(on_fat), np.float32(0))
        image[muscle] = on_muscle
        image[bone] = on_bone
        image[marrow] = on_marrow
        image[(eyes < 1) & (distance > skull)] = on_eye
        image[(nose < 1) & (distance > skull)] = 0.02
        image = blur(image * texture, 1.2, _STEP_MM) * edge
        fine = ndimage.zoom(np.asarray(image, dtype=np.float32), 2, order=1, grid_mode=True, mode="nearest")
        images[sequence] = np.asarray(fine, dtype=np.float32)
    return HeadBlock(images, outer)
