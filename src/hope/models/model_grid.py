"""Between the atlas grid and a network's coarser grid, the same way in training and at inference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from hope.domain.grid import Shape

_WHOLE = 1e-3
"""A ratio of spacings this close to a whole number is taken for one."""


def _padded_and_small(shape: Shape, spacing_mm: Sequence[float], model_mm: float) -> tuple[list[int], list[int]]:
    """Shape after padding, so that a whole ratio of spacings divides it, and shape on the model's grid."""
    padded, small = [], []
    for n, spacing in zip(shape, spacing_mm, strict=True):
        ratio = model_mm / spacing
        step = round(ratio) if ratio >= 1 and abs(ratio - round(ratio)) < _WHOLE else 1
        padded.append(-(-n // step) * step)
        small.append(padded[-1] // step if step > 1 else max(1, round(n / ratio)))
    return padded, small


def to_model_grid(
    channels: npt.NDArray[np.float32], spacing_mm: Sequence[float], model_mm: float
) -> npt.NDArray[np.float32]:
    """Shrink channels (c, i, j, k) to the model's isotropic spacing by averaging, so that no voxel is skipped.

    Args:
        channels: images and masks on one grid; zeros are added at the far ends where the ratio does not divide.
        spacing_mm: their spacing.
        model_mm: the model's spacing.
    """
    shape: Shape = (channels.shape[1], channels.shape[2], channels.shape[3])
    padded, small = _padded_and_small(shape, spacing_mm, model_mm)
    extra = [(0, 0), *((0, p - n) for p, n in zip(padded, shape, strict=True))]
    whole = torch.from_numpy(np.pad(channels, extra).astype(np.float32, copy=False))[None]
    if small == padded:
        return np.asarray(whole[0].numpy())
    mode = "area" if all(s <= p for s, p in zip(small, padded, strict=True)) else "trilinear"
    return np.asarray(F.interpolate(whole, size=small, mode=mode)[0].numpy())


def from_model_grid(output: Tensor, shape: Shape, spacing_mm: Sequence[float], model_mm: float) -> Tensor:
    """Bring an answer (c, x, y, z) on the model's grid back to ``shape``, linearly: ``to_model_grid`` turned round."""
    padded, _ = _padded_and_small(shape, spacing_mm, model_mm)
    fine = F.interpolate(output[None], size=padded, mode="trilinear", align_corners=False)[0]
    return fine[:, : shape[0], : shape[1], : shape[2]]
