"""N4 bias-field correction of temporary copies: what registration and brain extraction see, never the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hope.domain.volume import Volume

_WORK_SPACING_MM = 5.5
_ITERATIONS = [20, 15]
_MINIMUM_VOXELS_PER_AXIS = 4
"""N4's cubic B-splines need a few samples along every axis."""


def correct_bias(scan: Volume) -> Volume:
    """A copy of ``scan`` (float32, file order) without its smooth intensity drift.

    The field is fitted at about 5 mm: each axis is thinned by its own factor, so 5 mm slices are all kept. A scan
    that is too small or too empty for a fit comes back unchanged: the copy only helps registration.
    """
    factors = [max(1, int(_WORK_SPACING_MM / s + 0.25)) for s in scan.grid.spacing_mm]
    data = np.maximum(scan.data, 0.0).astype(np.float32)
    thin = _block_means(data, factors)
    head = thin > head_threshold(thin)
    if min(thin.shape) < _MINIMUM_VOXELS_PER_AXIS or int(head.sum()) < _MINIMUM_VOXELS_PER_AXIS**3:
        return scan
    log_field = _log_field(thin, head, [s * f for s, f in zip(scan.grid.spacing_mm, factors, strict=True)])
    full = log_field
    for axis, (count, factor) in enumerate(zip(scan.grid.shape, factors, strict=True)):
        full = _upsampled(full, axis, count, factor)
    return scan.with_data((data / np.exp(full)).astype(np.float32))


def head_threshold(data: npt.NDArray[np.float32]) -> float:
    """An intensity between air and tissue, found from the histogram (Otsu, after clipping the bright end)."""
    low, high = (float(x) for x in np.percentile(data, (1.0, 99.0)))
    if high <= low:
        return high
    counts, edges = np.histogram(np.clip(data, low, high), bins=128)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total_below = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = total_below / below - (total_below[-1] - total_below) / above
        spread = np.nan_to_num(below * above * gap**2)
    # Otsu's cut lies between air and bright fat; half of it keeps grey matter and fluid inside the head.
    return float(low + 0.5 * (centres[int(spread.argmax())] - low))


def _block_means(data: npt.NDArray[np.float32], factors: list[int]) -> npt.NDArray[np.float32]:
    padding = [(0, -n % f) for n, f in zip(data.shape, factors, strict=True)]
    padded = np.pad(data, padding, mode="edge")
    a, b, c = (n // f for n, f in zip(padded.shape, factors, strict=True))
    blocks = padded.reshape(a, factors[0], b, factors[1], c, factors[2])
    means: npt.NDArray[np.float32] = blocks.mean(axis=(1, 3, 5), dtype=np.float32)
    return means


def _upsampled(thin: npt.NDArray[np.float32], axis: int, count: int, factor: int) -> npt.NDArray[np.float32]:
    """Thinned values at ``count`` voxels along one axis, linearly; the first and last ones go on to the edges."""
    # Voxel i of the scan lies at (i + 0.5) / factor - 0.5 in the thinned volume.
    at = np.clip((np.arange(count) + 0.5) / factor - 0.5, 0.0, thin.shape[axis] - 1.0)
    below = np.minimum(at.astype(np.intp), thin.shape[axis] - 2)
    share = (at - below).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(thin.ndim)])
    low, high = np.take(thin, below, axis), np.take(thin, below + 1, axis)
    upsampled: npt.NDArray[np.float32] = low + (high - low) * share
    return upsampled


def _log_field(
    thin: npt.NDArray[np.float32], head: npt.NDArray[np.bool_], spacing_mm: list[float]
) -> npt.NDArray[np.float32]:
    # Imported late: whoever only wants `head_threshold` does without it.
    import SimpleITK as sitk

    from hope.formats.itk import from_itk

    # SimpleITK ships half-typed wrappers; Any keeps that out of our own types.
    image: Any = sitk.GetImageFromArray(np.ascontiguousarray(thin.transpose(2, 1, 0)))
    mask: Any = sitk.GetImageFromArray(np.ascontiguousarray(head.transpose(2, 1, 0).astype(np.uint8)))
    for item in (image, mask):
        item.SetSpacing(spacing_mm)
    make_n4: Any = sitk.N4BiasFieldCorrectionImageFilter
    n4 = make_n4()
    n4.SetMaximumNumberOfIterations(_ITERATIONS)
    n4.SetNumberOfThreads(1)  # sums in one order: the same input gives the same field
    n4.Execute(image, mask)
    return from_itk(n4.GetLogBiasFieldAsImage(image))
