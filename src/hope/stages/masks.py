"""Shapes of masks: the box around one, its margin, its solid part."""

from __future__ import annotations

import cc3d
import fill_voids
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.box import Box
from hope.domain.errors import StageError
from hope.domain.volume import Volume


def box_around(mask: Volume, margin_mm: float = 0.0) -> Box:
    """Smallest index box that holds the mask's voxels and ``margin_mm`` around them; all of an empty mask."""
    slices = []
    for axis, (length, step_mm) in enumerate(zip(mask.grid.shape, mask.grid.spacing_mm, strict=True)):
        others = tuple(a for a in range(3) if a != axis)
        where = np.flatnonzero(mask.data.any(axis=others))
        margin = int(np.ceil(margin_mm / step_mm))
        first, last = (int(where[0]), int(where[-1])) if len(where) else (0, length - 1)
        slices.append(slice(max(first - margin, 0), min(last + 1 + margin, length)))
    return slices[0], slices[1], slices[2]


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
    parts = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=6)
    sizes = np.bincount(parts.ravel())
    if len(sizes) < 2:
        raise StageError("the brain mask is empty")
    filled: npt.NDArray[np.bool_] = fill_voids.fill(parts == int(sizes[1:].argmax()) + 1).astype(bool)
    return filled
