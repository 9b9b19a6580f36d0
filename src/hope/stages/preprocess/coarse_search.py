"""The way from a start to within a few millimetres of where two scans agree: a search without gradients at 4 mm.

The fine optimiser follows a gradient and stays where it began when the images share little, as T1 and T2 with thick
slices do. Powell's method looks for the best along one of six directions after the other.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from hope.domain.grid import FloatArray
from hope.domain.transform import Transform
from hope.stages.preprocess.align_check import BINS, Probe, mutual_information

_POINTS = 10_000
"""So many points of the fixed image are compared: more are slower and no better at this spacing."""

_BINS = 16
"""Grey levels of the joint histogram: ten thousand points leave more of them empty."""

_BLUR_VOXELS = 1.0
"""Blur of the moving image: wider valleys, fewer false ones."""

_HEAD_RADIUS_MM = 70.0
"""A turn by 1/70 rad moves the surface of a head by 1 mm, so that turns and shifts are searched in one unit."""

_STEP_MM = 4.0
_ROUNDS = 3
_ENOUGH_MM = 0.05
_ENOUGH_SCORE = 1e-3


class CoarseSearch:
    """A search for the rigid transform under which a probe's images agree best.

    Args:
        probe: the two images.
    """

    def __init__(self, probe: Probe) -> None:
        every = max(1, len(probe.points_ras_mm) // _POINTS)
        self._points = np.ascontiguousarray(probe.points_ras_mm[::every].T)
        self._centre = self._points.mean(axis=1)
        self._fixed = probe.fixed_bins[::every] * _BINS // BINS
        smooth = ndimage.gaussian_filter(probe.moving.data, _BLUR_VOXELS, mode="nearest")
        self._moving = smooth * np.float32(_BINS / BINS)
        self._to_voxel = np.linalg.inv(probe.moving.grid.affine_ras_mm)
        self._last = np.array(probe.moving.grid.shape)[:, None] - 0.5

    def score(self, transform: Transform) -> float:
        """How well the images agree under ``transform`` (fixed world to moving world); 0 is not at all."""
        matrix = self._to_voxel @ transform.fixed_to_moving_ras_mm
        x, y, z = self._points
        # Written out, since a matrix product may round differently on another number of threads.
        voxel = matrix[:3, :1] * x + matrix[:3, 1:2] * y + matrix[:3, 2:3] * z + matrix[:3, 3:]
        seen = ((voxel >= -0.5) & (voxel <= self._last)).all(axis=0)
        if int(seen.sum()) < _BINS * _BINS // 2:
            return 0.0
        values = ndimage.map_coordinates(self._moving, voxel[:, seen], order=1, mode="nearest")
        moving = np.minimum(values.astype(np.intp), _BINS - 1)
        return (mutual_information(self._fixed[seen], moving, _BINS) - 1.0) * float(seen.mean())

    def nearest(self, start: Transform) -> Transform:
        """The best agreement that is found from ``start`` (fixed world to moving world)."""

        def moved(step: FloatArray) -> Transform:
            turn = np.eye(4)
            turn[:3, :3] = Rotation.from_rotvec(step[:3] / _HEAD_RADIUS_MM).as_matrix()
            turn[:3, 3] = self._centre - turn[:3, :3] @ self._centre + step[3:]
            return Transform(turn).then(start)

        found = minimize(
            lambda step: -self.score(moved(step)),
            np.zeros(6),
            method="Powell",
            options={"direc": _STEP_MM * np.eye(6), "maxiter": _ROUNDS, "xtol": _ENOUGH_MM, "ftol": _ENOUGH_SCORE},
        )
        return moved(found.x)
