"""Voxel grids: where the voxels of a volume lie in the scanner's world, always RAS+ millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Shape = tuple[int, int, int]

CORNER_TOLERANCE_MM = 0.01
"""Two grids whose eight corners agree within this distance are the same grid."""

_POSITIVE = "RAS"
_NEGATIVE = "LPI"

ALL_ORIENTATIONS: tuple[str, ...] = tuple(
    "".join((_POSITIVE, _NEGATIVE)[sign][axis] for axis, sign in zip(axes, signs, strict=True))
    for axes in permutations(range(3))
    for signs in product((0, 1), repeat=3)
)
"""The 48 axis codes, such as RAS or LPI: the world direction in which each voxel index grows."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape of a volume and the affine that maps voxel centres to world.

    Attributes:
        shape: number of voxels along the three file axes (i, j, k).
        affine_ras_mm: (4, 4) float64; homogeneous voxel index to RAS+ millimetres.

    Raises:
        ValueError: for a shape or an affine that describes no volume.
    """

    shape: Shape
    affine_ras_mm: FloatArray

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        affine = np.array(self.affine_ras_mm, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"a grid needs three positive dimensions, got {self.shape}")
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ValueError("a grid needs a finite 4x4 affine")
        if not np.allclose(affine[3], (0, 0, 0, 1)):
            raise ValueError("the last row of a grid's affine must be 0 0 0 1")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise ValueError("a grid's affine must be invertible (two axes are parallel or a spacing is zero)")
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine_ras_mm", affine)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return self.shape == other.shape and bool(np.array_equal(self.affine_ras_mm, other.affine_ras_mm))

    def __hash__(self) -> int:
        return hash((self.shape, self.affine_ras_mm.tobytes()))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along i, j, k in millimetres."""
        x, y, z = np.linalg.norm(self.affine_ras_mm[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def skew_degrees(self) -> float:
        """How far two of its axes are from a right angle, at most; 0 for a grid without shear."""
        direction = self.affine_ras_mm[:3, :3] / np.linalg.norm(self.affine_ras_mm[:3, :3], axis=0)
        cosines = direction.T @ direction - np.eye(3)
        return float(np.degrees(np.arcsin(min(1.0, float(np.abs(cosines).max())))))

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine_ras_mm[:3, :3]))) / 1000.0

    @property
    def voxel_count(self) -> int:
        """Number of voxels."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def orientation(self) -> str:
        """Closest axis codes, e.g. ``"LPS"``: world direction in which i, j and k grow."""
        world_axis, sign = self._closest_axes()
        return "".join((_POSITIVE if s > 0 else _NEGATIVE)[w] for w, s in zip(world_axis, sign, strict=True))

    def _closest_axes(self) -> tuple[list[int], list[int]]:
        """For each file axis the closest world axis, assigned without repetition, and its sign."""
        direction = self.affine_ras_mm[:3, :3] / np.linalg.norm(self.affine_ras_mm[:3, :3], axis=0)

        def fit(worlds: tuple[int, ...]) -> list[float]:
            # Ties are decided by the axes themselves, in whatever order and sense they are listed.
            towards = [direction[:, worlds.index(w)] for w in range(3)]
            towards = [axis if axis[w] >= 0 else -axis for w, axis in enumerate(towards)]
            return [round(float(x), 9) for x in (sum(axis[w] for w, axis in enumerate(towards)), *np.ravel(towards))]

        best = max(permutations(range(3)), key=fit)
        return list(best), [1 if direction[w, a] >= 0 else -1 for a, w in enumerate(best)]

    def to_world(self, ijk: npt.ArrayLike) -> FloatArray:
        """Map voxel indices (..., 3) to RAS+ millimetres (..., 3)."""
        points = np.asarray(ijk, dtype=np.float64)
        return np.asarray(points @ self.affine_ras_mm[:3, :3].T + self.affine_ras_mm[:3, 3], dtype=np.float64)

    def to_voxel(self, ras_mm: npt.ArrayLike) -> FloatArray:
        """Map RAS+ millimetres (..., 3) to fractional voxel indices (..., 3)."""
        inverse = np.linalg.inv(self.affine_ras_mm)
        points = np.asarray(ras_mm, dtype=np.float64)
        return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3], dtype=np.float64)

    def corners_ras_mm(self) -> FloatArray:
        """(8, 3) world positions of the centres of the eight corner voxels."""
        return self.to_world(list(product(*((0, n - 1) for n in self.shape))))

    def centre_ras_mm(self) -> FloatArray:
        """(3,) world position of the middle of the volume."""
        return self.to_world([(n - 1) / 2 for n in self.shape])

    def largest_corner_distance_mm(self, other: Grid) -> float:
        """Largest distance between matching corners of two grids of the same shape; infinite otherwise."""
        if self.shape != other.shape:
            return float("inf")
        return float(np.linalg.norm(self.corners_ras_mm() - other.corners_ras_mm(), axis=1).max())

    def same_as(self, other: Grid, tolerance_mm: float = CORNER_TOLERANCE_MM) -> bool:
        """Whether both grids have one shape and their corners agree within ``tolerance_mm``."""
        return self.largest_corner_distance_mm(other) <= tolerance_mm

    def steps_to(self, orientation: str) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
        """How to reach ``orientation``: the axis permutation, then which of the new axes to flip.

        Raises:
            ValueError: if ``orientation`` is not one of the 48 axis codes.
        """
        if orientation not in ALL_ORIENTATIONS:
            raise ValueError(f"{orientation!r} is not one of the 48 axis codes such as RAS or LPS")
        world_axis, sign = self._closest_axes()
        order, flips = [], []
        for code in orientation:
            wanted = (_POSITIVE if code in _POSITIVE else _NEGATIVE).index(code)
            axis = world_axis.index(wanted)
            order.append(axis)
            flips.append((sign[axis] > 0) != (code in _POSITIVE))
        return (order[0], order[1], order[2]), (flips[0], flips[1], flips[2])

    def reoriented(self, orientation: str = _POSITIVE) -> Grid:
        """The same voxels in the same places, listed along other axes."""
        order, flips = self.steps_to(orientation)
        shape = tuple(self.shape[a] for a in order)
        to_old = np.zeros((4, 4))
        to_old[3, 3] = 1.0
        for new_axis, (old_axis, flip) in enumerate(zip(order, flips, strict=True)):
            to_old[old_axis, new_axis] = -1.0 if flip else 1.0
            to_old[old_axis, 3] = shape[new_axis] - 1 if flip else 0.0
        return Grid((shape[0], shape[1], shape[2]), self.affine_ras_mm @ to_old)

    def with_spacing(self, spacing_mm: Sequence[float]) -> Grid:
        """A grid over the same field of view with about this spacing (voxel edges, not centres, coincide)."""
        old = np.array(self.spacing_mm)
        shape = np.maximum(1, np.rint(np.array(self.shape) * old / np.asarray(spacing_mm, dtype=np.float64))).astype(
            int
        )
        scale = np.array(self.shape) / shape
        affine = np.array(self.affine_ras_mm)
        affine[:3, :3] = self.affine_ras_mm[:3, :3] * scale
        affine[:3, 3] = self.to_world((scale - 1) / 2)
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def cropped(self, start: Sequence[int], stop: Sequence[int]) -> Grid:
        """The grid of ``data[start:stop]`` (per axis)."""
        affine = np.array(self.affine_ras_mm)
        affine[:3, 3] = self.to_world(list(start))
        return Grid((stop[0] - start[0], stop[1] - start[1], stop[2] - start[2]), affine)

    def to_json(self) -> dict[str, object]:
        """Shape, spacing, orientation and affine as plain JSON values."""
        return {
            "shape": list(self.shape),
            "spacing_mm": [round(s, 6) for s in self.spacing_mm],
            "orientation": self.orientation,
            "affine_ras_mm": np.asarray(self.affine_ras_mm).tolist(),
        }


ATLAS_GRID = Grid(
    (240, 240, 155),
    np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, 239.0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]),
)
"""The BraTS grid: SRI24 frame, 1 mm, stored LPS with the header that BraTS 2021 files carry."""
