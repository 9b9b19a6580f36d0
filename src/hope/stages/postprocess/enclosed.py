"""Fluid that the core of a tumour encloses: a cyst that the model left unmarked inside its own wall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

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
"""Share of a space's surface that touches the core, from which the core encloses it. On synthetic cases whose cysts
were taken out of the true mask cysts above 5 ml had 0.55 and more, everything else at most 0.42; unmarked fluid in 40
adults' scans at most 0.3 (``benchmarks/enclosed_fluid.py``)."""
_STEP_MM: Final = 2.0
_BRIGHT_T2W, _DARK_T1 = 0.0, -1.0
"""In robust z-scores of the brain, smoothed: fluid of a cyst may hold protein, so it is less bright than CSF."""
_SMOOTH: Final = 0.7


def enclosed_fluid(images: Mapping[MRSequence, Volume], brain: Volume, labels: Volume) -> Mask | None:
    """Find unmarked fluid, 10 mm wide at least, of whose surface the core covers ``LEAST_WALL`` or more.

    Args:
        images: scans of one grid; without t2w and one of t1n and t1c nothing is found.
        brain: what is brain, on the same grid.
        labels: uint8 peds labels on the same grid.

    Returns:
        (i, j, k) bool on the grid of ``labels``, in its order; None where there is nothing.
    """
    native = images.get(MRSequence.T1N, images.get(MRSequence.T1C))
    order = labels.grid.orientation
    inside = np.asarray(brain.reoriented(order).data) > 0
    box = bounding_box(inside)
    core = np.isin(labels.data, REGIONS["TC"])
    if native is None or MRSequence.T2W not in images or box is None or not core.any():
        return None
    step = [max(1, round(_STEP_MM / size)) for size in labels.grid.spacing_mm]
    voxel_ml = labels.grid.voxel_volume_ml * float(np.prod(step))
    tissue = blocks(inside[box], step) > 0.5
    if not tissue.any():
        return None
    weight = np.maximum(ndimage.gaussian_filter(tissue.astype(np.float32), _SMOOTH), 1e-3)

    def scores(image: Volume) -> npt.NDArray[np.float32]:
        coarse = robust_scores(blocks(np.asarray(image.reoriented(order).data)[box], step), tissue)
        return np.asarray(ndimage.gaussian_filter(coarse * tissue, _SMOOTH) / weight)

    marked = blocks(labels.data[box] > 0, step) > 0.5
    fluid = tissue & ~marked & (scores(native) < _DARK_T1) & (scores(images[MRSequence.T2W]) > _BRIGHT_T2W)
    wall = ndimage.binary_dilation(blocks(core[box], step) > 0.25)
    cysts = np.zeros_like(tissue)
    parts = wide_parts(fluid)
    for number in range(1, int(parts.max(initial=0)) + 1):
        space = parts == number
        shell = ndimage.binary_dilation(space) & ~space
        if space.sum() * voxel_ml >= LEAST_ML and wall[shell].mean() >= LEAST_WALL:
            cysts |= space
    if not cysts.any():
        return None
    found = np.zeros(inside.shape, dtype=bool)
    found[box] = _in_voxels(_up_to_the_wall(cysts, marked) & tissue, step, inside[box].shape)
    return found & inside & (labels.data == 0)


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
