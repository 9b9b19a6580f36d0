"""A small picture of one scan before anything is known of it: an axial slice above the eyes, without the skin."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from hope.domain.volume import Volume
from hope.stages.masks import box_around
from hope.stages.report.drawing import windowed

SIDE: Final = 160
"""Pixels of the longer side."""

BELOW_TOP_MM: Final = 55.0
"""How far below the top of the head the slice lies: above the orbits of children and adults."""

SKIN_MM: Final = 12.0
"""What is left out along the outline of the head: skin and skull, so that no surface of it is seen."""

EDGE_MM: Final = 4.0
"""Of black around what is shown."""

_FOREGROUND: Final = 0.12
"""Of the 99th percentile; what is darker is air."""

_FILLED: Final = 0.5
"""Of every edge of the slice: a background as bright as the head (MP2RAGE has such noise) hides where the skin is."""


def thumbnail(scan: Volume, *, has_face: bool = True) -> bytes:
    """A WebP of one axial slice, patient's left on the right, 2 to 6 kB.

    The slice is taken across the axis of the file that runs closest to head and feet, whatever plane the scanner
    used, so that no profile is shown.

    Args:
        scan: one sequence on its own grid, RAS+ mm; any order of axes.
        has_face: whether a face may be in it; if not, the slice is shown up to its edges.
    """
    upright = scan.reoriented("RAS")
    head = _foreground(upright.data)
    across_mm, slice_mm = upright.grid.spacing_mm[:2], upright.grid.spacing_mm[2]
    place = _height(head, slice_mm)
    shown = np.asarray(upright.data[:, :, place], dtype=np.float32)
    seen = head[:, :, place]
    if has_face:
        seen = _inner(seen, across_mm)
        shown = np.where(seen, shown, np.float32(0))
    slice_grid = upright.grid.cropped((0, 0, place), (*seen.shape, place + 1))
    i, j, _ = box_around(Volume(seen[:, :, None], slice_grid), EDGE_MM)
    grey = Image.fromarray(np.rint(windowed(shown[i, j]) * 255).astype(np.uint8).T[::-1, ::-1])
    return _webp(grey, across_mm)


def _foreground(data: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """What is no air, by its brightness."""
    bright = float(np.percentile(data[::2, ::2, ::2], 99.0)) if data.size else 0.0
    return np.asarray(data > _FOREGROUND * bright)


def _height(head: npt.NDArray[np.bool_], slice_mm: float) -> int:
    """Index of the slice: so far below the top of the head, or its middle if it does not reach so far down."""
    filled = head.mean(axis=(0, 1))
    inside = np.flatnonzero(filled > 0.25 * filled.max()) if filled.max() > 0 else np.arange(head.shape[2])
    low, top = int(inside[0]), int(inside[-1])
    return max(top - round(BELOW_TOP_MM / slice_mm), (low + top) // 2, low)


def _inner(slice_: npt.NDArray[np.bool_], spacing_mm: tuple[float, float]) -> npt.NDArray[np.bool_]:
    """What lies deeper in the head's outline than skin and skull; x, y. Nothing where there is no outline."""
    parts, count = ndimage.label(ndimage.binary_closing(slice_, iterations=2))
    filled = min(float(edge.mean()) for edge in (slice_[0], slice_[-1], slice_[:, 0], slice_[:, -1]))
    if not count or filled > _FILLED:
        return np.zeros(slice_.shape, dtype=bool)
    sizes = np.bincount(parts.ravel())
    whole = ndimage.binary_fill_holes(parts == int(sizes[1:].argmax()) + 1)
    # Beyond the edge of the image is outside, too.
    depth = ndimage.distance_transform_edt(np.pad(whole, 1), sampling=spacing_mm)[1:-1, 1:-1]
    return np.asarray(depth > SKIN_MM)


def _webp(grey: Image.Image, spacing_mm: tuple[float, float]) -> bytes:
    width, height = grey.width * spacing_mm[0], grey.height * spacing_mm[1]
    scale = SIDE / max(width, height)
    small = grey.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, format="WEBP", quality=70, method=4)
    return stream.getvalue()
