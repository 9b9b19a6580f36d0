"""Intensities inside the region: normalised, sorted into grey levels, and described without regard to place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hope.domain.errors import StageError
from hope.domain.volume import Volume
from hope.stages.postprocess.radiomics.region import FloatArray, IntArray

TINY: Final = float(np.spacing(1.0))
"""Added inside every logarithm, so that an empty cell counts 0."""

MOST_LEVELS: Final = 1000
"""More grey levels than this make matrices that nobody asked for."""


@dataclass(frozen=True)
class GreyLevels:
    """The region's voxels by grey level.

    Attributes:
        index: (n,) per voxel the position of its level in ``numbers``.
        numbers: (m,) the levels that occur, ascending; bin 1 holds the smallest intensity.
    """

    index: IntArray
    numbers: FloatArray

    @property
    def of_voxels(self) -> FloatArray:
        """(n,) level per voxel."""
        return self.numbers[self.index]


def mean_and_deviation(image: Volume) -> tuple[float, float]:
    """Mean and sample standard deviation of all voxels of an image, background included.

    Raises:
        StageError: if a voxel is not a finite number, or all are equal.
    """
    mean = float(np.mean(image.data, dtype=np.float64))
    if not np.isfinite(mean):
        raise StageError("the image holds voxels that are not finite numbers")
    if image.data.min() == image.data.max():  # the deviation itself may miss 0 by rounding
        raise StageError(f"every voxel is {mean:g}, so there is nothing to normalise by")
    # Slice by slice, because the squares of a whole volume in double precision would take as much memory again.
    squares = sum(float(np.square(part.astype(np.float64) - mean).sum()) for part in image.data)
    return mean, float(np.sqrt(squares / (image.data.size - 1)))


def grey_levels(values: FloatArray, bin_width: float) -> GreyLevels:
    """Sort intensities into bins of one width, whose edges are multiples of it.

    Raises:
        StageError: if the bins are so narrow that there are more than ``MOST_LEVELS``.
    """
    lowest, highest = float(values.min()), float(values.max())
    wanted = (highest - lowest) / bin_width + 2
    if wanted > MOST_LEVELS:
        raise StageError(
            f"a bin width of {bin_width:g} gives {wanted:.0f} grey levels (at most {MOST_LEVELS}); use wider bins"
        )
    edges = np.arange(lowest - lowest % bin_width, highest + 2 * bin_width, bin_width)
    numbers, index = np.unique(np.digitize(values, edges), return_inverse=True)
    return GreyLevels(index.astype(np.int64), numbers.astype(np.float64))


def first_order_features(values: FloatArray, levels: GreyLevels, voxel_volume_mm3: float) -> dict[str, float]:
    """Statistics of the intensities (n,); entropy and uniformity are those of the grey levels."""
    p10, p25, p75, p90 = np.percentile(values, (10, 25, 75, 90))
    mean = np.mean(values)
    variance, third, fourth = (np.mean(np.power(values - mean, order)) for order in (2, 3, 4))
    spread = variance if variance else 1.0
    central = values[(values >= p10) & (values <= p90)]
    # Of two different values neither lies between the percentiles, and the robust deviation is not defined.
    robust = np.mean(np.abs(central - central.mean())) if central.size else np.nan
    energy = np.square(values).sum()
    share = np.bincount(levels.index) / values.size
    return {
        "10Percentile": float(p10),
        "90Percentile": float(p90),
        "Energy": float(energy),
        "Entropy": float(-(share * np.log2(share + TINY)).sum()),
        "InterquartileRange": float(p75 - p25),
        "Kurtosis": float(fourth / spread**2),
        "Maximum": float(values.max()),
        "MeanAbsoluteDeviation": float(np.mean(np.abs(values - mean))),
        "Mean": float(mean),
        "Median": float(np.median(values)),
        "Minimum": float(values.min()),
        "Range": float(values.max() - values.min()),
        "RobustMeanAbsoluteDeviation": float(robust),
        "RootMeanSquared": float(np.sqrt(energy / values.size)),
        "Skewness": float(third / spread**1.5),
        "TotalEnergy": float(energy * voxel_volume_mm3),
        "Uniformity": float(np.square(share).sum()),
        "Variance": float(variance),
    }


def as_floats(values: npt.NDArray[np.generic]) -> FloatArray:
    """Intensities in double precision.

    Raises:
        StageError: if one is not a finite number.
    """
    floats = values.astype(np.float64)
    if not np.isfinite(floats).all():
        raise StageError("the tumour holds voxels that are not finite numbers")
    return floats
