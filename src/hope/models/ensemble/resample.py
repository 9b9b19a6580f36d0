"""Resampling as nnU-Net does it by default: splines over the whole volume, or slice by slice where voxels are flat.

Voxel edges of both grids coincide, the border is repeated outward, nothing is smoothed before shrinking. Images are
resampled on the CPU in double precision (once per case); network output in torch on its own device (once per member).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from hope.models.ensemble.spec import Resampling

_FLAT = 3.0
"""Voxels more than this many times longer along one axis than along another are resampled slice by slice."""


def shape_at(shape: Sequence[int], spacing_mm: Sequence[float], wanted_mm: Sequence[float]) -> tuple[int, int, int]:
    """Shape of the same field of view in other voxels."""
    i, j, k = (round(s / w * n) for n, s, w in zip(shape, spacing_mm, wanted_mm, strict=True))
    return max(i, 1), max(j, 1), max(k, 1)


def separate_axis(from_mm: Sequence[float], to_mm: Sequence[float], force: bool | None) -> int | None:
    """The axis along which slices lie apart, which is then treated on its own; None for none.

    Without ``force`` the first of the two grids that is flat decides. Two equally long axes are not separated.
    """
    if force is False:
        return None
    deciding = from_mm if force or max(from_mm) / min(from_mm) > _FLAT else to_mm
    if not force and max(deciding) / min(deciding) <= _FLAT:
        return None
    longest = [axis for axis, length in enumerate(deciding) if length == max(deciding)]
    return longest[0] if len(longest) == 1 else None


def resample_image(
    image: npt.NDArray[np.float32], shape: Sequence[int], axis: int | None, how: Resampling
) -> npt.NDArray[np.float32]:
    """Bring one channel (i, j, k) to ``shape``; values stay within the range of the volume, or of their slice."""
    if image.shape == tuple(shape):
        return image
    values = image.astype(np.float64)
    if axis is None:
        return _zoom(values, shape, how.order).astype(np.float32)
    within = [n for a, n in enumerate(shape) if a != axis]
    slices = np.stack([_zoom(part, within, how.order) for part in np.moveaxis(values, axis, 0)], axis=axis)
    if how.order_z == 0:
        return slices.take(_nearest(image.shape[axis], shape[axis]), axis=axis).astype(np.float32)
    factors = [n / old for n, old in zip(shape, slices.shape, strict=True)]
    along = ndimage.zoom(slices, factors, order=how.order_z, mode="nearest", grid_mode=True)
    return np.asarray(along, dtype=np.float32)


def _zoom(values: npt.NDArray[np.float64], shape: Sequence[int], order: int) -> npt.NDArray[np.float64]:
    """Spline interpolation, clipped to the range of the input so that splines do not overshoot."""
    factors = [1 / (old / n) for n, old in zip(shape, values.shape, strict=True)]
    out = ndimage.zoom(values, factors, order=order, mode="nearest", grid_mode=True)
    return np.asarray(np.clip(out, values.min(), values.max()))


def _nearest(old: int, new: int) -> npt.NDArray[np.intp]:
    """For each new slice the old one whose middle is closest, the later one of two."""
    position = old / new * (np.arange(new) + 0.5) - 0.5
    return np.asarray(np.clip(np.floor(position + 0.5), 0, old - 1), dtype=np.intp)


def resample_output(output: Tensor, shape: Sequence[int], axis: int | None, how: Resampling) -> Tensor:
    """Bring network output (classes, i, j, k) to ``shape``, at most linearly, on the device where it lies.

    Computed class by class in double precision, and returned in the precision of the input, as nnU-Net does.
    """
    if tuple(output.shape[1:]) == tuple(shape):
        return output
    out = torch.empty((output.shape[0], *shape), dtype=output.dtype, device=output.device)
    for given, wanted in zip(output, out, strict=True):
        wanted.copy_(_resampled(given.double(), shape, axis, how))
    return out


def _resampled(values: Tensor, shape: Sequence[int], axis: int | None, how: Resampling) -> Tensor:
    if axis is None:
        return _interpolate(values, shape, how.order)
    within = [values.shape[a] if a == axis else n for a, n in enumerate(shape)]
    slices = _interpolate(values, within, how.order)
    if how.order_z == 0:
        return slices.index_select(axis, torch.from_numpy(_nearest(values.shape[axis], shape[axis])).to(values.device))
    return _interpolate(slices, shape, how.order_z)


def _interpolate(values: Tensor, shape: Sequence[int], order: int) -> Tensor:
    if order == 0:
        return F.interpolate(values[None, None], size=list(shape), mode="nearest-exact")[0, 0]
    return F.interpolate(values[None, None], size=list(shape), mode="trilinear", align_corners=False)[0, 0]
