"""A volume: voxels together with the grid that says where they lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hope.domain.grid import Grid


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels and their grid.

    Attributes:
        data: (i, j, k) array in file order; float32 for images, unsigned integers for labels.
        grid: where the voxels lie, RAS+ millimetres.

    Raises:
        ValueError: if data and grid differ in shape.
    """

    data: npt.NDArray[Any]
    grid: Grid

    def __post_init__(self) -> None:
        if self.data.shape != self.grid.shape:
            raise ValueError(f"data of shape {self.data.shape} does not fit a grid of shape {self.grid.shape}")

    def reoriented(self, orientation: str = "RAS") -> Volume:
        """The same voxels at the same world positions, listed along other axes (a view where possible)."""
        order, flips = self.grid.steps_to(orientation)
        data = self.data.transpose(order)
        data = data[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
        return Volume(data, self.grid.reoriented(orientation))

    def with_data(self, data: npt.NDArray[Any]) -> Volume:
        """Other voxels on the same grid."""
        return replace(self, data=data)

    def same_as(self, other: Volume) -> bool:
        """Whether voxels and grid are equal (grids within tolerance)."""
        return self.grid.same_as(other.grid) and bool(np.array_equal(self.data, other.data))
