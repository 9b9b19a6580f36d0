"""The index box around a mask."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Box = tuple[slice, slice, slice]
"""Index ranges along i, j, k; ``array[box]`` is the part inside."""


def bounding_box(mask: npt.NDArray[np.bool_]) -> Box | None:
    """Smallest box that holds all true voxels of a mask (i, j, k); None if there are none."""
    spans = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if not filled.size:
            return None
        spans.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return spans[0], spans[1], spans[2]
