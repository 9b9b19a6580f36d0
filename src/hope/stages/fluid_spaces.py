"""What is fluid in a brain, looked at coarsely: shared by the rules on cavities and on cysts."""

from __future__ import annotations

from itertools import product

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]


def blocks(data: npt.NDArray[np.generic], step: list[int]) -> npt.NDArray[np.float32]:
    """Means of blocks of voxels; zeros are added at the end where the shape does not divide."""
    padded = np.pad(data.astype(np.float32), [(0, -n % s) for n, s in zip(data.shape, step, strict=True)])
    a, b, c = step
    total = np.zeros([n // s for n, s in zip(padded.shape, step, strict=True)], dtype=np.float32)
    # Whole slices are added: `mean` of the blocks takes five times as long.
    for i, j in product(range(a), range(b)):
        line = padded[i::a, j::b, ::c].copy()
        for k in range(1, c):
            line += padded[i::a, j::b, k::c]
        total += line
    return total / np.float32(a * b * c)


def robust_scores(image: npt.NDArray[np.float32], tissue: Mask) -> npt.NDArray[np.float32]:
    """Distance from the median of the tissue, in units of its median absolute deviation (times 1.4826)."""
    values = image[tissue]
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle))
    return np.asarray((image - middle) / max(float(spread), 1e-6), dtype=np.float32)


def wide_parts(fluid: Mask) -> npt.NDArray[np.integer]:
    """Numbered components of what is at least five voxels wide: at 2 mm, sulci are narrower."""
    grid = np.mgrid[-2:3, -2:3, -2:3]
    wide = ndimage.binary_opening(fluid, (grid**2).sum(axis=0) <= 4)
    body = ndimage.binary_dilation(wide) & fluid
    return np.asarray(cc3d.connected_components(body.astype(np.uint8), connectivity=6))
