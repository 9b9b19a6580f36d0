"""Values that a scan or a model may state. Each range stands here once; readers refuse or ignore what lies outside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ValueRange:
    """A closed range of numbers; NaN and infinities lie outside of every range.

    Attributes:
        low, high: the smallest and the largest value.
        unit: for messages, empty for a plain number.
    """

    low: float
    high: float
    unit: str = ""

    def __contains__(self, value: object) -> bool:
        # A comparison with NaN is false.
        return isinstance(value, int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (f" {self.unit}" if self.unit else "")


SPACING_MM = ValueRange(0.001, 1000.0, "mm")
"""Distance of voxel centres along an axis. Microscopes and whole-body localisers lie within."""

POSITION_MM = ValueRange(-100_000.0, 100_000.0, "mm")
"""Any coordinate of a voxel in the scanner's world."""

TIME_MS = ValueRange(0.0, 1_000_000.0, "ms")
"""Repetition, echo and inversion times."""

B_VALUE = ValueRange(0.0, 1_000_000.0, "s/mm2")
"""Diffusion weighting."""

SERIES_NUMBER = ValueRange(-(2**31), 2**31 - 1)
"""SeriesNumber and every other whole number that DICOM writes as an integer string."""

FRAMES = ValueRange(1, 100_000)
"""Images in one DICOM file."""

EDGE_PIXELS = ValueRange(0, 65_535)
"""Rows or columns of one DICOM image."""

MODEL_SPACING_MM = ValueRange(0.1, 20.0, "mm")
"""Voxel size of a network's input."""

MODEL_WEIGHT = ValueRange(1e-6, 1e6)
"""Share of one group of networks in an ensemble's mean, before the shares are made to add up to 1."""

PATCH_EDGE_VOXELS = ValueRange(1, 1024)
"""Edge of a network's tile."""

PATCH_VOXELS = ValueRange(1, 320**3)
"""Voxels of a network's tile; the largest published ones hold a quarter of this."""
