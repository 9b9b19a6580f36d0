"""One interpolation from a scan's grid onto another grid."""

from __future__ import annotations

from itertools import product
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.box import Box, bounding_box
from hope.domain.grid import Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume

_HALF_VOXEL = 0.5
_ROUNDING = 1e-6
"""Voxels: composed matrices are exact to about 1e-12, so an edge voxel must not fall outside by rounding."""


def resample(volume: Volume, onto: Grid, transform: Transform, order: Literal["linear", "nearest"]) -> Volume:
    """Read ``volume`` at the voxel centres of ``onto``.

    A voxel reaches half its size around its centre: what lies further out is 0, what lies in the outer half of an
    edge voxel has that voxel's value (thick slices would otherwise lose half a slice at both ends).

    Args:
        volume: (i, j, k) voxels in any orientation.
        onto: the wanted grid, any orientation.
        transform: world of ``onto`` to world of ``volume``, RAS+ mm.
        order: ``linear`` for images (float32 comes out), ``nearest`` for masks (the type is kept); labels that a reader
            will see go through ``resample_labels``.
    """
    to_voxel = (
        np.linalg.inv(volume.grid.affine_ras_mm) @ transform.fixed_to_moving_ras_mm @ np.asarray(onto.affine_ras_mm)
    )
    linear = order == "linear"
    data = volume.data.astype(np.uint8) if volume.data.dtype == np.bool_ else volume.data
    out = ndimage.affine_transform(
        data,
        to_voxel[:3, :3],
        to_voxel[:3, 3],
        output_shape=onto.shape,
        output=np.float32 if linear else data.dtype,
        order=1 if linear else 0,
        mode="nearest",
    )
    out[~_inside(to_voxel, onto.shape, volume.grid.shape)] = 0
    return Volume(out if linear else out.astype(volume.data.dtype, copy=False), onto)


def resample_labels(labels: Volume, onto: Grid, transform: Transform) -> Volume:
    """Read a label map at the voxel centres of ``onto``: each takes the label with the largest linear share.

    Each label, background among them, is interpolated linearly as a map of zeros and ones, so that a border runs
    between voxels instead of along them. Of equal shares the smaller value wins, background first. On a grid whose
    voxel centres are those of ``labels`` nothing changes.

    Args:
        labels: (i, j, k) label values, whole numbers or bool, in any orientation; 0 is background.
        onto: the wanted grid, any orientation.
        transform: world of ``onto`` to world of ``labels``, RAS+ mm.

    Returns:
        Labels of the same type on ``onto``.
    """
    out = np.zeros(onto.shape, dtype=labels.data.dtype)
    source = bounding_box(labels.data, 1)
    if source is None:
        return Volume(out, onto)
    crop = Volume(labels.data[source], labels.grid.cropped([s.start for s in source], [s.stop for s in source]))
    target = _reached(crop.grid, onto, transform)
    if target is None:
        return Volume(out, onto)
    part = onto.cropped([s.start for s in target], [s.stop for s in target])
    values = [value for value in np.unique(crop.data) if value]
    shares = [resample(crop.with_data((crop.data == v).astype(np.float32)), part, transform, "linear") for v in values]
    best = np.zeros(part.shape, dtype=labels.data.dtype)
    largest = np.ones(part.shape, dtype=np.float32)
    for share in shares:
        largest -= share.data
    for value, share in zip(values, shares, strict=True):
        ahead = share.data > largest + _ROUNDING
        best[ahead], largest[ahead] = value, share.data[ahead]
    out[target] = best
    return Volume(out, onto)


def _reached(grid: Grid, onto: Grid, transform: Transform) -> Box | None:
    """The box of ``onto``'s voxels that may lie within a volume; None where none does."""
    ends = [(-_HALF_VOXEL, length - _HALF_VOXEL) for length in grid.shape]
    corners = transform.inverse().apply(grid.to_world(np.array(list(product(*ends)))))
    voxels = onto.to_voxel(corners)
    low = np.maximum(np.floor(voxels.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(voxels.max(axis=0)) + 1, onto.shape).astype(int)
    if (high <= low).any():
        return None
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return i, j, k


def field_of_view(grid: Grid, onto: Grid, transform: Transform) -> npt.NDArray[np.bool_]:
    """Voxels of ``onto`` (i, j, k) that lie within the volume that ``grid`` covers."""
    to_voxel = np.linalg.inv(grid.affine_ras_mm) @ transform.fixed_to_moving_ras_mm @ np.asarray(onto.affine_ras_mm)
    return _inside(to_voxel, onto.shape, grid.shape)


def _inside(
    to_voxel: npt.NDArray[np.float64], out_shape: tuple[int, int, int], in_shape: tuple[int, int, int]
) -> npt.NDArray[np.bool_]:
    i, j, k = (np.arange(n, dtype=np.float64) for n in out_shape)
    inside = np.ones(out_shape, dtype=bool)
    for axis, length in enumerate(in_shape):
        a, b, c, shift = to_voxel[axis]
        position = ((a * i + shift)[:, None] + b * j)[:, :, None] + c * k
        inside &= (position >= -_HALF_VOXEL - _ROUNDING) & (position <= length - _HALF_VOXEL + _ROUNDING)
    return inside
