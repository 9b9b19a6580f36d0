"""The template that all synthetic anatomy is deformed from, and where tumours like to grow in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hope.domain.grid import Grid
from hope.formats.atlas import SRI24_TO_ICBM, atlas_tissue
from hope.synthesis.fields import Field

# Millimetres in the template's own (ICBM152) world, left positive sites are mirrored by the left-right flip.
_SITES_ICBM_MM: Mapping[str, tuple[tuple[float, float, float], ...]] = {
    "pons": ((0.0, -27.0, -33.0),),
    "thalamus": ((13.0, -18.0, 7.0), (-13.0, -18.0, 7.0)),
    "cerebellum": ((24.0, -62.0, -34.0), (-24.0, -62.0, -34.0), (0.0, -64.0, -28.0)),
    "fourth_ventricle": ((0.0, -46.0, -32.0),),
    "suprasellar": ((0.0, 2.0, -16.0),),
    "pineal": ((0.0, -33.0, 1.0),),
    "ventricle": ((16.0, -30.0, 18.0), (-16.0, -30.0, 18.0)),
}


@dataclass(frozen=True)
class Template:
    """Tissue maps on an isotropic RAS block in the atlas frame.

    Attributes:
        grid: RAS grid of the block.
        gm, wm, brain, ventricle: (i, j, k) float32 fractions from 0 to 1.
        sites_mm: per site the candidate centres, millimetres from the first voxel's centre.
    """

    grid: Grid
    gm: Field
    wm: Field
    brain: Field
    ventricle: Field
    sites_mm: Mapping[str, tuple[npt.NDArray[np.float64], ...]]


def _block(data: npt.NDArray[np.float32], start: tuple[int, int, int], shape: tuple[int, int, int], step: int) -> Field:
    """Cut a block that may reach beyond the data (zeros there), and average ``step``^3 voxels into one."""
    out = np.zeros(tuple(n * step for n in shape), dtype=np.float32)
    source, target = [], []
    for first, n, size in zip(start, out.shape, data.shape, strict=True):
        low, high = max(first, 0), min(first + n, size)
        source.append(slice(low, high))
        target.append(slice(low - first, high - first))
    out[tuple(target)] = data[tuple(source)]
    pooled = out.reshape(shape[0], step, shape[1], step, shape[2], step).mean(axis=(1, 3, 5))
    return np.ascontiguousarray(pooled, dtype=np.float32)


@lru_cache(maxsize=2)
def load_template(step_mm: int, shape: tuple[int, int, int], start_mm: tuple[int, int, int]) -> Template:
    """The ICBM152 tissue maps in the atlas frame.

    Args:
        step_mm: isotropic voxel size, a whole number of millimetres.
        shape: voxels along x, y, z.
        start_mm: first corner of the block in canonical atlas voxels; may be negative.
    """
    tissue = {name: volume.reoriented("RAS") for name, volume in atlas_tissue().items()}
    atlas = tissue["gm"].grid
    gm, wm, brain = (
        _block(np.asarray(tissue[name].data, dtype=np.float32), start_mm, shape, step_mm)
        for name in ("gm", "wm", "brain")
    )
    affine = np.array(atlas.affine_ras_mm)
    affine[:3, 3] = atlas.to_world([s + (step_mm - 1) / 2 for s in start_mm])
    affine[:3, :3] *= step_mm
    grid = Grid(shape, affine)
    to_atlas = SRI24_TO_ICBM.inverse()
    sites = {
        name: tuple(grid.to_voxel(to_atlas.apply(np.array(p))) * step_mm for p in points)
        for name, points in _SITES_ICBM_MM.items()
    }
    csf = np.clip(brain - gm - wm, 0, 1)
    centre = grid.to_voxel(to_atlas.apply(np.array([0.0, -18.0, 14.0]))) * step_mm
    axes = [np.arange(n, dtype=np.float32) * step_mm for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    near = ((x - centre[0]) / 34) ** 2 + ((y - centre[1]) / 52) ** 2 + ((z - centre[2]) / 26) ** 2 < 1
    return Template(grid, gm, wm, brain, np.where(near, csf, 0).astype(np.float32), sites)
