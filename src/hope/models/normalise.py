"""Intensity normalisation, shared by training and inference so that they cannot drift apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NORMALISATION = "zscore-brain"
_LIMIT = 6.0


def zscore_inside(images: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Zero mean and unit deviation of each channel inside the mask, clipped to +-6; 0 outside.

    Args:
        images: (channels, i, j, k) in any unit; a channel that is constant inside the mask becomes all 0.
        mask: (i, j, k), usually the brain.
    """
    out = np.zeros(images.shape, dtype=np.float32)
    if not mask.any():
        return out
    for channel, image in enumerate(images):
        values = image[mask].astype(np.float32)
        deviation = float(values.std())
        if deviation > 1e-6:
            out[channel][mask] = np.clip((values - values.mean()) / deviation, -_LIMIT, _LIMIT)
    return out
