"""How alike the edges of two images are: structural similarity (Wang and others 2004) of their gradient magnitudes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.volume import Volume
from hope.stages.masks import box_around

_WINDOW = 7
"""Voxels along each side of the window in which gradients are compared, as is usual for structural similarity."""

_K1, _K2 = 0.01, 0.03
_RIM_VOXELS = 2
"""What stripping left as the brain's edge is not the brain's own; it would drown all others."""

Field = npt.NDArray[np.float32]


class Edges:
    """The edges of one image inside the inner brain, to compare others with.

    Gradients are divided by their mean: brightness and gain of the whole do not count.

    Args:
        image: any scale.
        brain: (i, j, k) bool on its grid.
        like: the edges of another image inside the same brain, whose inner part is then not looked for again.

    Attributes:
        box: the part of the grid that is looked at, which holds the brain.
    """

    def __init__(self, image: Volume, brain: npt.NDArray[np.bool_], like: Edges | None = None) -> None:
        inside = (like.box, like._inner) if like else _inside(image, brain)
        self.box: tuple[slice, slice, slice] = inside[0]
        self._inner: npt.NDArray[np.bool_] = inside[1]
        if not self._inner.any():
            return
        self._own = _gradient(image.data[self.box], self._inner)
        self._mean = _mean(self._own)
        self._spread = _mean(self._own**2) - self._mean**2
        full_scale = float(np.percentile(self._own[self._inner], 99))
        self._c1, self._c2 = np.float32((_K1 * full_scale) ** 2), np.float32((_K2 * full_scale) ** 2)

    def similarity(self, data: npt.NDArray[np.float32]) -> float:
        """Mean similarity to the edges of other voxels in ``box`` of the same grid, 1 if they are only scaled.

        An image without contrast is like another such, and like nothing else.
        """
        if not self._inner.any():
            return 1.0
        other = _gradient(data, self._inner)
        mean = _mean(other)
        spread, joint = _mean(other**2) - mean**2, _mean(self._own * other) - self._mean * mean
        alike = (2 * self._mean * mean + self._c1) * (2 * joint + self._c2)
        whole = (self._mean**2 + mean**2 + self._c1) * (self._spread + spread + self._c2)
        where = self._inner & (whole > 0)
        return float((alike[where] / whole[where]).mean(dtype=np.float64)) if where.any() else 1.0


def _inside(image: Volume, brain: npt.NDArray[np.bool_]) -> tuple[tuple[slice, slice, slice], npt.NDArray[np.bool_]]:
    """The box around the brain, and the brain in it without its rim, or with it if nothing else is there."""
    box = box_around(image.with_data(brain))
    inner = ndimage.binary_erosion(np.pad(brain[box], 1), iterations=_RIM_VOXELS)[1:-1, 1:-1, 1:-1]
    return box, inner if inner.any() else brain[box]


def _gradient(data: npt.NDArray[np.float32], inner: npt.NDArray[np.bool_]) -> Field:
    squares = np.zeros(data.shape, dtype=np.float32)
    for axis in range(3):
        if data.shape[axis] > 1:
            squares += np.gradient(np.asarray(data, dtype=np.float32), axis=axis) ** 2
    # The rim's fall to 0 is larger than any edge inside and would reach into the windows beside it.
    magnitude: Field = np.where(inner, np.sqrt(squares), np.float32(0)).astype(np.float32)
    mean = float(magnitude[inner].mean(dtype=np.float64))
    return magnitude / np.float32(mean) if mean > 0 else magnitude


def _mean(field: Field) -> Field:
    return np.asarray(ndimage.uniform_filter(field, _WINDOW))
