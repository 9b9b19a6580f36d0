"""A scan as another scanner would show the same head: turned, moved, on another grid, noisier; the truth is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.grid import ALL_ORIENTATIONS, Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.synthesis.raw import rigid

_REACH_MM = 15.0
"""The other field of view is this much wider, so that the turned head fits."""


def turned(
    scan: Volume, rng: np.random.Generator, degrees: float = 10.0, millimetres: float = 15.0, noise: float = 0.02
) -> tuple[Volume, Transform]:
    """The scan of the moved head.

    Args:
        scan: float32, any orientation.
        rng: pose, grid, orientation, noise.
        degrees: turned by up to so much about each axis.
        millimetres: moved by up to so much along each axis.
        noise: of the brightest 1 %, as a share.

    Returns:
        float32 on a grid of its own; and the true map from the scan's world to that of the moved head, RAS+ mm.
    """
    centre = scan.grid.centre_ras_mm()
    true = rigid(rng, degrees, millimetres, centre)
    sides = np.array(scan.grid.spacing_mm) * rng.uniform(0.8, 1.0, 3)
    shape = np.ceil((np.array(scan.grid.shape) * scan.grid.spacing_mm + 2 * _REACH_MM) / sides).astype(int)
    axes = np.array(scan.grid.affine_ras_mm)[:3, :3] / np.array(scan.grid.spacing_mm)
    affine = np.eye(4)
    affine[:3, :3] = rigid(rng, 5, 0, (0, 0, 0)).fixed_to_moving_ras_mm[:3, :3] @ axes * sides
    affine[:3, 3] = true.apply(centre) - affine[:3, :3] @ ((shape - 1) / 2)
    grid = Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
    to_scan = np.linalg.inv(scan.grid.affine_ras_mm) @ true.inverse().fixed_to_moving_ras_mm @ grid.affine_ras_mm
    data = ndimage.affine_transform(
        np.asarray(scan.data, dtype=np.float32), to_scan[:3, :3], to_scan[:3, 3], grid.shape, order=3
    )
    sigma = noise * float(np.percentile(scan.data, 99))
    noisy = np.hypot(data + rng.normal(0, sigma, grid.shape), rng.normal(0, sigma, grid.shape))
    moved = Volume(noisy.astype(np.float32), grid)
    return moved.reoriented(str(rng.choice(ALL_ORIENTATIONS))), true


def error_mm(found: Transform, true: Transform, where: Volume) -> npt.NDArray[np.float64]:
    """How far apart two maps take the points of a mask, millimetres, at every fifth voxel along each axis.

    Args:
        found: from the mask's world.
        true: likewise.
        where: bool on any grid.
    """
    voxels = np.argwhere(np.asarray(where.data)[::5, ::5, ::5]) * 5
    points = where.grid.to_world(voxels)
    return np.asarray(np.linalg.norm(found.apply(points) - true.apply(points), axis=-1), dtype=np.float64)
