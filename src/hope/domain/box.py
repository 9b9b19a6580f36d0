"""The index box around a mask: the one place that works it out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Box = tuple[slice, slice, slice]
"""Index ranges along i, j, k; ``array[box]`` is the part inside."""

EVERYTHING: Box = (slice(None), slice(None), slice(None))
"""All of a volume, where there is nothing to draw a box around."""


def used_slices(array: npt.NDArray[Any]) -> tuple[slice, ...] | None:
    """Smallest range of each axis that holds all elements that are not zero; None if there are none.

    Args:
        array: of any number of dimensions; true or non-zero counts.
    """
    box: list[slice] = []
    for axis in range(array.ndim):
        # What the axes before have left out is not looked at again, which spares most of the array.
        inside = array[tuple(box)]
        used = np.flatnonzero(inside.any(axis=tuple(other for other in range(array.ndim) if other != axis)))
        if not used.size:
            return None
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(box)


def bounding_box(mask: npt.NDArray[Any], margin: int | tuple[int, int, int] = 0) -> Box | None:
    """Smallest box around a mask (i, j, k), grown by a margin as far as the volume goes; None for an empty mask.

    Args:
        mask: true or non-zero inside.
        margin: voxels on each side, for all axes or for each.
    """
    found = used_slices(mask)
    if found is None:
        return None
    margins = (margin, margin, margin) if isinstance(margin, int) else margin
    i, j, k = (
        slice(max(span.start - more, 0), min(span.stop + more, length))
        for span, more, length in zip(found, margins, mask.shape, strict=True)
    )
    return i, j, k


def box_of(mask: npt.NDArray[Any], margin: int | tuple[int, int, int] = 0) -> Box:
    """`bounding_box` of a mask that is known to hold something.

    Raises:
        ValueError: if it is empty.
    """
    box = bounding_box(mask, margin)
    if box is None:
        raise ValueError("an empty mask has no box")
    return box
