"""Text that is burned into the pixels of a scan: what the DICOM headers say, and what is drawn on every slice alike."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hope.domain.qc import QCFlag, Severity
from hope.domain.volume import Volume

CODE: Final = "burned_in_text"
MIN_SLICES: Final = 10
"""With fewer slices, equal voxels prove nothing."""

MIN_PIXELS: Final = 40
"""A word of four letters in the smallest fonts; single voxels may be equal by chance in scans of few grey levels."""

MAX_SHARE: Final = 0.1
"""Text covers less of a slice; more is an image that does not change from slice to slice."""

MIN_BRIGHTNESS: Final = 0.5
"""Of the scan's 99th percentile: text is as bright as tissue, padding and masked air are not."""


def header_flags(sequence: str, stated: int, images: int) -> list[QCFlag]:
    """What the headers of a series say.

    Args:
        sequence: for the flag, such as ``t1c``.
        stated: images that state BurnedInAnnotation YES.
        images: all images of the series.
    """
    if not stated:
        return []
    reason = f"{sequence}: by their headers, {stated} of {images} DICOM images have text burned into their pixels"
    return [QCFlag(CODE, Severity.CAUTION, f"{reason}, which may be a name", sequence)]


def drawing_flags(scan: Volume, sequence: str) -> list[QCFlag]:
    """What lies at the same place with the same brightness on every slice: a drawing or a text, and no anatomy.

    Text that differs from slice to slice, or that a lossy compression or a resampling blurred, is not found.

    Args:
        scan: float32, finite, any orientation.
        sequence: for the flag.
    """
    pixels = max(equal_pixels(scan.data, axis) for axis in range(3))
    if pixels < MIN_PIXELS:
        return []
    reason = f"{sequence}: {pixels} pixels are bright and the same on every slice, as burned-in text is"
    return [QCFlag(CODE, Severity.CAUTION, f"{reason}: look whether it is a name", sequence)]


def equal_pixels(data: npt.NDArray[np.float32], axis: int) -> int:
    """How many pixels of a slice across ``axis`` have one bright value on all slices; 0 where too many are alike."""
    if data.shape[axis] < MIN_SLICES:
        return 0
    low, high = data.min(axis=axis), data.max(axis=axis)
    equal = (low == high) & (low > 0)
    if int(equal.sum()) < MIN_PIXELS:
        return 0
    count = int((equal & (low > MIN_BRIGHTNESS * float(np.percentile(data[::2, ::2, ::2], 99)))).sum())
    return count if count <= MAX_SHARE * low.size else 0
