"""One interpolation from a scan's grid onto another grid."""

from __future__ import annotations

from itertools import product
from typing import Any, Literal

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

_EXACT = 1e-9
"""Voxels: a map that is this near to whole numbers moves no voxel of a scan by a millionth."""

_FLAT = 1e-12
"""A step along k that moves the position by less than this moves it nowhere over any number of voxels that is read."""


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
    if (steps := _whole_steps(to_voxel)) is not None:
        read = _read_by_steps(volume.data, steps, onto.shape)
        return Volume(read.astype(np.float32, copy=False) if linear else read, onto)
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


def _whole_steps(to_voxel: npt.NDArray[np.float64]) -> npt.NDArray[np.intp] | None:
    """A map from voxels to voxels as whole numbers, if it only reorders, flips and shifts axes; else None."""
    steps = np.rint(to_voxel)
    turns = np.abs(steps[:3, :3])
    if np.abs(to_voxel - steps).max() > _EXACT or not (
        (turns.sum(axis=0) == 1).all() and (turns.sum(axis=1) == 1).all()
    ):
        return None
    return steps.astype(np.intp)


def _read_by_steps(
    data: npt.NDArray[Any], steps: npt.NDArray[np.intp], out_shape: tuple[int, int, int]
) -> npt.NDArray[Any]:
    """Voxels of ``data`` (i, j, k) where whole steps lead, 0 where they lead outside."""
    sources = [int(np.flatnonzero(steps[axis, :3])[0]) for axis in range(3)]
    index, target = [], [slice(0)] * 3
    for axis, source in enumerate(sources):
        places = steps[axis, source] * np.arange(out_shape[source]) + steps[axis, 3]
        seen = np.flatnonzero((places >= 0) & (places < data.shape[axis]))
        if not len(seen):
            return np.zeros(out_shape, dtype=data.dtype)
        first, last, step = int(places[seen[0]]), int(places[seen[-1]]), int(steps[axis, source])
        stop = last + step
        index.append(slice(first, stop if stop >= 0 else None, step))
        target[source] = slice(int(seen[0]), int(seen[-1]) + 1)
    out = np.zeros(out_shape, dtype=data.dtype)
    out[tuple(target)] = data[tuple(index)].transpose(np.argsort(sources))
    return out


def _inside(
    to_voxel: npt.NDArray[np.float64], out_shape: tuple[int, int, int], in_shape: tuple[int, int, int]
) -> npt.NDArray[np.bool_]:
    i, j, k = (np.arange(n, dtype=np.float64) for n in out_shape)
    # Along a line of voxels the position runs straight, so what is inside is one stretch of k for each (i, j).
    first, last = np.zeros(out_shape[:2]), np.full(out_shape[:2], out_shape[2] - 1.0)
    for axis, length in enumerate(in_shape):
        a, b, c, shift = to_voxel[axis]
        start = (a * i + shift)[:, None] + b * j
        low, high = -_HALF_VOXEL - _ROUNDING - start, length - _HALF_VOXEL + _ROUNDING - start
        if abs(c) < _FLAT:
            last[(low > 0) | (high < 0)] = -1.0
            continue
        enter, leave = (low / c, high / c) if c > 0 else (high / c, low / c)
        np.maximum(first, enter, out=first)
        np.minimum(last, leave, out=last)
    inside: npt.NDArray[np.bool_] = (k >= first[:, :, None]) & (k <= last[:, :, None])
    return inside
