"""A crude head: an asymmetric ball of tissue with a bright block on its left side, enough for file and intake tests."""

from __future__ import annotations

import numpy as np

from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.volume import Volume

HEAD_GRID = Grid((60, 66, 56), np.array([[3.0, 0, 0, -88.5], [0, 3.0, 0, -97.5], [0, 0, 3.0, -82.5], [0, 0, 0, 1.0]]))
"""RAS, 3 mm, 180 x 198 x 168 mm: the smallest that intake takes for a head without a remark."""

ENHANCING_BLOCK_MM = ((-40.0, -20.0), (0.0, 25.0), (10.0, 35.0))
"""World bounds (left-right, back-front, foot-head) of the block that is bright in an enhanced scan."""


def head_scan(seed: int, *, grid: Grid = HEAD_GRID, enhanced: bool = False, background_noise: bool = True) -> Volume:
    """Make a float32 scan of a head.

    Args:
        seed: another seed, another tissue texture (another sequence).
        grid: where to sample it; any orientation, RAS+ mm.
        enhanced: the block of ``ENHANCING_BLOCK_MM`` is three times as bright.
        background_noise: air holds noise; else it is exactly 0.
    """
    rng = np.random.default_rng(seed)
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    x, y, z = np.moveaxis(grid.to_world(index), -1, 0)
    inside = (x / 70) ** 2 + (y / 80) ** 2 + ((z + 5) / 65) ** 2 < 1
    phase = 0.7 * seed
    tissue = 300 + 80 * np.sin(x / 17 + phase) + 60 * np.cos(y / 13 - phase) + 40 * np.sin(z / 11 + 2 * phase)
    if enhanced:
        block = np.ones(grid.shape, dtype=bool)
        for axis, (low, high) in zip((x, y, z), ENHANCING_BLOCK_MM, strict=True):
            block &= (axis > low) & (axis < high)
        tissue = np.where(block, 3 * tissue, tissue)
    noise = rng.normal(0, 6, grid.shape)
    air = np.abs(noise) if background_noise else np.zeros(grid.shape)
    return Volume(np.where(inside, np.maximum(1, tissue + noise), air).astype(np.float32), grid)


def atlas_scan(seed: int, *, enhanced: bool = False) -> Volume:
    """The head of ``head_scan`` without air in the middle of ATLAS_GRID, like a preprocessed, stripped scan."""
    small = head_scan(seed, enhanced=enhanced, background_noise=False)
    affine = np.array(small.grid.affine_ras_mm)
    affine[:3, 3] += ATLAS_GRID.centre_ras_mm()
    placed = Grid(small.grid.shape, affine)
    # Both grids lie along the world's axes, so the nearest voxel is found axis by axis.
    along, within = [], []
    for axis, length in enumerate(ATLAS_GRID.shape):
        line = np.zeros((length, 3))
        line[:, axis] = np.arange(length)
        nearest = np.rint(placed.to_voxel(ATLAS_GRID.to_world(line))[:, axis]).astype(int)
        within.append(np.flatnonzero((nearest >= 0) & (nearest < placed.shape[axis])))
        along.append(nearest[within[-1]])
    data = np.zeros(ATLAS_GRID.shape, dtype=np.float32)
    data[np.ix_(*within)] = small.data[np.ix_(*along)]
    return Volume(data, ATLAS_GRID)
