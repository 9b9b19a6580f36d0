"""Affine transforms between world spaces, RAS+ millimetres to RAS+ millimetres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hope.domain.grid import FloatArray


@dataclass(frozen=True, eq=False)
class Transform:
    """A point map: where a point of the fixed space lies in the moving space.

    This is the direction in which images are resampled: for each voxel of the fixed (output) grid it says where to
    read in the moving (input) image.

    Attributes:
        fixed_to_moving_ras_mm: (4, 4) float64, homogeneous, RAS+ millimetres on both sides.
    """

    fixed_to_moving_ras_mm: FloatArray

    def __post_init__(self) -> None:
        matrix = np.array(self.fixed_to_moving_ras_mm, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
            raise ValueError("a transform needs a finite, invertible 4x4 matrix")
        matrix.setflags(write=False)
        object.__setattr__(self, "fixed_to_moving_ras_mm", matrix)

    @classmethod
    def identity(cls) -> Transform:
        """The transform that moves nothing."""
        return cls(np.eye(4))

    def then(self, other: Transform) -> Transform:
        """First this map, then ``other``: fixed -> (this moving = other fixed) -> other moving."""
        return Transform(other.fixed_to_moving_ras_mm @ self.fixed_to_moving_ras_mm)

    def inverse(self) -> Transform:
        """The map back, moving to fixed."""
        return Transform(np.asarray(np.linalg.inv(self.fixed_to_moving_ras_mm), dtype=np.float64))

    def apply(self, points_ras_mm: npt.ArrayLike) -> FloatArray:
        """Map points (..., 3) of the fixed space to the moving space, millimetres."""
        points = np.asarray(points_ras_mm, dtype=np.float64)
        return points @ self.fixed_to_moving_ras_mm[:3, :3].T + self.fixed_to_moving_ras_mm[:3, 3]

    def largest_difference_mm(self, other: Transform, points_ras_mm: npt.ArrayLike) -> float:
        """Largest distance between where two transforms send the same points."""
        return float(np.linalg.norm(self.apply(points_ras_mm) - other.apply(points_ras_mm), axis=-1).max())
