"""How the harmonizer's network sees a case, in training as at use: at 4 mm, in units of the brain's median."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hope.domain.box import box_of

Array = npt.NDArray[np.float32]

SPACING_MM = 4.0
CELL = 8
"""Voxels of the coarse view in one cell of the shading field: 32 mm."""
VIEW_PERCENTILES = (2.0, 10.0, 25.0, 40.0, 60.0, 75.0, 90.0, 98.0)
"""Percentiles that the style encoder is told of each sequence."""
_LEAST_MASK = 0.25
_MOST = 6.0


def averaged(images: Array, fraction: Array) -> Array:
    """Mean over the brain alone, from a mean that counts everything outside as 0.

    Args:
        images: (c, i, j, k) averages of images that are 0 outside the brain.
        fraction: (i, j, k) share of each coarse voxel that is brain.
    """
    return np.asarray(np.where(fraction >= _LEAST_MASK, images / np.maximum(fraction, _LEAST_MASK), 0), np.float32)


def inside(fraction: Array) -> npt.NDArray[np.bool_]:
    """Coarse voxels that count: mostly brain."""
    return np.asarray(fraction >= 0.5)


def medians(images: Array, fraction: Array) -> npt.NDArray[np.float64]:
    """Median of each channel over the brain; 0 for a channel that is 0 (missing)."""
    return np.array([float(np.median(image[inside(fraction)])) for image in images])


def places(fraction: Array) -> Array:
    """Where each voxel lies in the brain's bounding box: left-right without side (0 to 1), the others -1 to 1."""
    axes = []
    for axis, span in enumerate(box_of(inside(fraction))):
        first, last = span.start, span.stop - 1
        middle, half = (first + last) / 2, max((last - first) / 2, 1.0)
        axes.append(((np.arange(fraction.shape[axis]) - middle) / half).astype(np.float32))
    x, y, z = np.meshgrid(np.abs(axes[0]), axes[1], axes[2], indexing="ij")
    return np.stack([x, y, z])


def view(images: Array, fraction: Array, scale: npt.NDArray[np.float64], place: Array) -> tuple[Array, Array]:
    """What the network is given.

    Args:
        images: (4, i, j, k) coarse images; missing ones are 0.
        fraction: (i, j, k) share of brain.
        scale: what each channel is divided by; 0 marks it as missing.
        place: (3, i, j, k), see ``places``.

    Returns:
        (12, i, j, k): the images in units of ``scale``, the brain, per sequence whether it is there, and the place
        (inside the brain); and the percentiles (4, percentiles), 0 where missing.
    """
    brain = inside(fraction)
    there = scale > 0
    channels = np.zeros((12, *fraction.shape), np.float32)
    percentiles = np.zeros((4, len(VIEW_PERCENTILES)), np.float32)
    for index in np.flatnonzero(there):
        channels[index] = np.clip(images[index] / scale[index], 0, _MOST) * (fraction >= _LEAST_MASK)
        channels[5 + index] = brain
        percentiles[index] = np.percentile(channels[index][brain], VIEW_PERCENTILES)
    channels[4] = fraction
    channels[9:] = place * brain
    return channels, percentiles
