"""Pairs of faint components at mirrored places: both insulae, both ventricles' edges, and seldom a tumour."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hope.domain.box import bounding_box
from hope.domain.volume import Volume

PAIRED_SHARE = 0.3
PAIRED_MEAN = 0.85
"""Fitted by ``benchmarks/cleanup.py`` on answers of the starter to 40 adults' scans and 64 synthetic children that it
had not seen (docs/benchmarks.md, Clean-up)."""


def symmetric_components(
    parts: npt.NDArray[np.integer], probability: npt.NDArray[np.floating], brain: Volume
) -> npt.NDArray[np.bool_]:
    """Which components are one of a faint pair.

    A component is faint if its mean probability is below ``PAIRED_MEAN``. A faint one counts if more than
    ``PAIRED_SHARE`` of its voxels have a voxel of *another faint* component at the mirrored place. So a tumour across
    the midline, which mirrors onto itself, never counts, nor does a lesion opposite one that the model is sure of.

    Args:
        parts: (i, j, k) number of the component at each voxel, 0 outside, in the brain's own file order.
        probability: (i, j, k) of the whole tumour.
        brain: what is brain, on the same grid; the mirror is the plane through the middle of its right-left extent.

    Returns:
        (components + 1,) bool, by number; the first, which is the background, is False.
    """
    count = int(parts.max()) + 1
    ras = Volume(parts, brain.grid).reoriented("RAS").data
    own, box = bounding_box(parts), bounding_box(ras)
    inside = np.asarray(brain.reoriented("RAS").data, dtype=bool)
    across = np.flatnonzero(inside.any(axis=(1, 2)))
    if own is None or box is None or not len(across):
        return np.zeros(count, dtype=bool)
    part = ras[box].astype(np.uint32)
    where = np.argwhere(part)
    number = part[tuple(where.T)]
    opposite = int(across[0]) + int(across[-1]) - 2 * box[0].start - where[:, 0]
    there = (opposite >= 0) & (opposite < part.shape[0])
    mirrored = np.zeros(len(where), dtype=part.dtype)
    mirrored[there] = part[opposite[there], where[there, 1], where[there, 2]]
    voxels = np.bincount(number, minlength=count)
    total = np.bincount(parts[own].ravel(), weights=probability[own].ravel().astype(np.float64), minlength=count)
    faint = total < PAIRED_MEAN * voxels
    faint[0] = False  # the background
    paired = np.bincount(number, weights=faint[mirrored] & (mirrored != number), minlength=count)
    return np.asarray(faint & (paired > PAIRED_SHARE * voxels))
