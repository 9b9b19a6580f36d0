"""Shapes of masks: the box around one, its margin, its solid part."""

from __future__ import annotations

import cc3d
import fill_voids
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.box import Box, bounding_box, box_of
from hope.domain.errors import StageError
from hope.domain.volume import Volume


def box_around(mask: Volume, margin_mm: float = 0.0) -> Box:
    """Smallest index box that holds the mask's voxels and ``margin_mm`` around them; all of an empty mask."""
    i, j, k = (int(np.ceil(margin_mm / step_mm)) for step_mm in mask.grid.spacing_mm)
    return bounding_box(mask.data, (i, j, k)) or box_of(np.ones(mask.grid.shape, dtype=bool))


def cropped(volume: Volume, box: Box) -> Volume:
    """The part of a volume inside an index box, where it was in the world."""
    start, stop = [s.start for s in box], [s.stop for s in box]
    return Volume(volume.data[box], volume.grid.cropped(start, stop))


def grown(mask: Volume, margin_mm: float) -> Volume:
    """All voxels within ``margin_mm`` of a mask (its own included), bool."""
    out = np.zeros(mask.grid.shape, dtype=bool)
    box = box_around(mask, margin_mm)
    inside = mask.data[box].astype(bool)
    distance_mm = ndimage.distance_transform_edt(~inside, sampling=mask.grid.spacing_mm)
    out[box] = (distance_mm <= margin_mm) if inside.any() else False
    return mask.with_data(out)


def mask_ml(mask: Volume) -> float:
    """Volume of a mask in millilitres."""
    return float(np.count_nonzero(mask.data)) * mask.grid.voxel_volume_ml


def solid(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The largest face-connected part of a mask (i, j, k), holes filled.

    Raises:
        StageError: if the mask is empty.
    """
    box = bounding_box(mask, 1)
    if box is None:
        raise StageError("the brain mask is empty")
    parts = cc3d.connected_components(np.ascontiguousarray(mask[box]), connectivity=6)
    sizes = np.bincount(parts.ravel())
    filled = np.zeros(mask.shape, dtype=bool)
    filled[box] = fill_voids.fill(parts == int(sizes[1:].argmax()) + 1)
    return filled
