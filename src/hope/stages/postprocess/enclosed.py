"""Fluid that the core of a tumour encloses: a cyst that the model left unmarked inside its own wall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.box import bounding_box
from hope.domain.case import MRSequence
from hope.domain.labels import REGIONS
from hope.domain.volume import Volume
from hope.stages.fluid_spaces import Mask, blocks, robust_scores, wide_parts

LEAST_ML: Final = 2.0
LEAST_WALL: Final = 0.45
"""Share of a space's surface that touches the core, from which the core encloses it."""
MOST_CORE: Final = 1.6
"""Core over enclosed space, by volume. The wall and nodule of a cyst are seldom larger than 1.6 times the cyst; a
ventricle that tumour surrounds is small beside it. All limits were chosen on synthetic cases whose cysts were taken out
of the true mask, and looked at on adults' scans (``benchmarks/enclosed_fluid.py``)."""
_STEP_MM: Final = 2.0
_BRIGHT_T2W, _DARK_T1 = 0.0, -1.0
"""In robust z-scores of the brain, smoothed: fluid of a cyst may hold protein, so it is less bright on T2 than CSF."""
_SMOOTH: Final = 0.7
_NECK: Final = 2
"""Voxels of 2 mm that are eroded to part a cyst from a ventricle or cistern that it breaks into."""


def enclosed_fluid(images: Mapping[MRSequence, Volume], brain: Volume, labels: Volume) -> Mask | None:
    """Find unmarked fluid, 10 mm wide at least, that a core not much larger than itself encloses.

    Args:
        images: scans of one grid; without t2w and one of t1n and t1c nothing is found.
        brain: what is brain, on the same grid.
        labels: uint8 peds labels on the same grid.

    Returns:
        (i, j, k) bool on the grid of ``labels``, in its order; None where there is nothing.
    """
    native = images.get(MRSequence.T1N, images.get(MRSequence.T1C))
    if native is None or MRSequence.T2W not in images or not np.isin(labels.data, REGIONS["TC"]).any():
        return None
    inside = np.asarray(brain.reoriented("RAS").data) > 0
    box = bounding_box(inside)
    if box is None:
        return None
    ours = np.asarray(labels.reoriented("RAS").data)
    step = [max(1, round(_STEP_MM / size)) for size in labels.reoriented("RAS").grid.spacing_mm]
    tissue = blocks(inside[box], step) > 0.5
    if not tissue.any():
        return None
    t1, t2w = (
        _smooth_scores(blocks(np.asarray(image.reoriented("RAS").data)[box], step), tissue)
        for image in (native, images[MRSequence.T2W])
    )
    fluid = tissue & (t1 < _DARK_T1) & (t2w > _BRIGHT_T2W)
    marked = blocks(ours[box] > 0, step) > 0.5
    core = blocks(np.isin(ours[box], REGIONS["TC"]), step) > 0.25
    least = LEAST_ML / (labels.grid.voxel_volume_ml * float(np.prod(step)))
    cysts = _cysts(fluid & ~marked, core, least)
    if not cysts.any():
        return None
    found = np.zeros(inside.shape, dtype=bool)
    found[box] = _in_voxels(_up_to_the_wall(cysts, marked) & tissue, step, inside[box].shape)
    there = Volume(found & inside & (ours == 0), labels.reoriented("RAS").grid)
    return np.asarray(there.reoriented(labels.grid.orientation).data)


def _smooth_scores(image: npt.NDArray[np.float32], tissue: Mask) -> npt.NDArray[np.float32]:
    weight = np.maximum(ndimage.gaussian_filter(tissue.astype(np.float32), _SMOOTH), 1e-3)
    return np.asarray(ndimage.gaussian_filter(robust_scores(image, tissue) * tissue, _SMOOTH) / weight)


def _cysts(fluid: Mask, core: Mask, least: float) -> Mask:
    """Which unmarked fluid the core encloses; coarse voxels."""
    open_space = wide_parts(fluid) > 0
    wall = ndimage.binary_dilation(core) & ~open_space
    cysts = np.zeros_like(fluid)
    spaces = _parted(open_space)
    for number in range(1, int(spaces.max(initial=0)) + 1):
        space = spaces == number
        size = int(space.sum())
        if size < least or core.sum() > MOST_CORE * size:
            continue
        if wall[ndimage.binary_dilation(space) & ~space].mean() >= LEAST_WALL:
            cysts |= space
    return cysts


def _parted(space: Mask) -> npt.NDArray[np.integer]:
    """Numbers of the parts of a space that only necks join; each voxel goes to the nearest part."""
    grid = np.mgrid[-_NECK : _NECK + 1, -_NECK : _NECK + 1, -_NECK : _NECK + 1]
    eroded = ndimage.binary_erosion(space, (grid**2).sum(axis=0) <= _NECK**2)
    parts = cc3d.connected_components(eroded.astype(np.uint8), connectivity=6).astype(np.int32)
    whole = cc3d.connected_components(space.astype(np.uint8), connectivity=6).astype(np.int32)
    narrow = space & ~np.isin(whole, np.unique(whole[parts > 0]))  # nothing of these was left
    parts[narrow] = whole[narrow] + parts.max(initial=0)
    if not parts.any():
        return parts
    nearest = ndimage.distance_transform_edt(parts == 0, return_distances=False, return_indices=True)
    return np.asarray(np.where(space, parts[tuple(nearest)], 0))


def _up_to_the_wall(cysts: Mask, marked: Mask) -> Mask:
    """The spaces with the voxels that are left between them and what is marked."""
    near = ndimage.binary_dilation(cysts, iterations=2)
    closed = ndimage.binary_closing(np.pad(cysts | marked, 2), iterations=1)[2:-2, 2:-2, 2:-2]
    return np.asarray((ndimage.binary_fill_holes(closed) & near) | cysts)


def _in_voxels(coarse: Mask, step: list[int], shape: tuple[int, ...]) -> Mask:
    """A coarse mask on the voxels that its blocks were made of, its edges interpolated."""
    padded = np.pad(coarse.astype(np.float32), 1, mode="edge")
    fine = ndimage.zoom(padded, step, order=1, grid_mode=True, mode="nearest")
    return np.asarray(fine[tuple(slice(s, s + n) for s, n in zip(step, shape, strict=True))] > 0.5)
