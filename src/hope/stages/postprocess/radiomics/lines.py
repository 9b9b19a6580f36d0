"""The 13 directions in which voxels have neighbours, each as the region's voxels sorted line after line.

All texture matrices but the zones are read off these lines: a pair of neighbours is two entries in a row, a run is a
stretch of entries of one grey level. The lines depend on the mask alone, so the four sequences share them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Final

import numpy as np

from hope.stages.postprocess.radiomics.region import BoolArray, IntArray

STEPS: Final = tuple(step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0))
"""One of each pair of opposite steps between a voxel and its 26 neighbours; the first step that is not 0 is 1."""


@dataclass(frozen=True, eq=False)
class Direction:
    """The voxels of a region along the parallel lines of one direction.

    Attributes:
        order: (n,) the voxels' numbers (in file order), line after line and along each line.
        joined: (n - 1,) whether an entry of ``order`` and the next are direct neighbours.
        has_long_line: whether some line meets two voxels or more, be they neighbours or not.
    """

    order: IntArray
    joined: BoolArray
    has_long_line: bool

    @cached_property
    def pairs(self) -> tuple[IntArray, IntArray]:
        """The numbers of the first and of the second voxel of all neighbouring pairs."""
        return self.order[:-1][self.joined], self.order[1:][self.joined]


def directions(inside: BoolArray) -> list[Direction]:
    """Sort the voxels of a (k, j, i) mask along all 13 directions."""
    voxels = np.argwhere(inside)
    return [_direction(voxels, inside.shape, step) for step in STEPS]


def _direction(voxels: IntArray, shape: tuple[int, ...], step: tuple[int, ...]) -> Direction:
    leading = next(axis for axis, length in enumerate(step) if length)
    along = voxels[:, leading]
    # Where the voxel's line crosses the plane in which the leading index is 0: the same for all voxels of a line.
    foot = voxels - along[:, None] * np.array(step)
    spread = 2 * max(shape) + 2  # more than the feet are apart along any axis, so that lines never share a number
    line = (foot[:, 0] * spread + foot[:, 1]) * spread + foot[:, 2]
    place = line * spread + along
    order = np.argsort(place, kind="stable")
    place, line = place[order], line[order]
    return Direction(order, np.diff(place) == 1, bool((np.diff(line) == 0).any()))
