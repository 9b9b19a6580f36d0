"""Removal of the face in atlas space: a plane under the forehead and the base of the brain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hope.domain.errors import StageError
from hope.domain.volume import Volume

FACE_NORMAL_RAS = np.array([0.0, 0.6, -0.8])
"""Forwards and downwards, unit length. A plane with this normal touches frontal pole, temporal pole and brain stem
of an upright head at nearly one depth, so it clears the brain and takes orbits, nose and jaw."""

MARGIN_MM = 6.0


def face_region(brain: Volume, margin_mm: float = MARGIN_MM) -> npt.NDArray[np.bool_]:
    """Voxels (i, j, k) in front of and below the brain, ``margin_mm`` clear of it.

    Args:
        brain: bool mask in atlas space, RAS+ mm (the head upright, as after registration).
        margin_mm: distance kept between the brain and the plane.

    Raises:
        StageError: if the mask is empty.
    """
    inside = np.argwhere(brain.data)
    if not len(inside):
        raise StageError("the face cannot be removed: the brain mask is empty")
    affine = brain.grid.affine_ras_mm
    step = FACE_NORMAL_RAS @ affine[:3, :3]
    limit = float((inside @ step).max()) + margin_mm
    i, j, k = (np.arange(n) * s for n, s in zip(brain.grid.shape, step, strict=True))
    depth: npt.NDArray[np.float64] = (i[:, None] + j)[:, :, None] + k
    face: npt.NDArray[np.bool_] = depth > limit
    return face


def deface(image: Volume, brain: Volume) -> Volume:
    """A copy of ``image`` (on the mask's grid) whose face is 0."""
    return image.with_data(np.where(face_region(brain), np.zeros((), image.data.dtype), image.data))
