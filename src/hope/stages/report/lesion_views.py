"""The picture of the lesions: each on its slice, with its outline and its two diameters. Drawn with Pillow alone."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from hope.contract.measurements import Chord, LesionFacts, Measurements, PlaneDiameters
from hope.domain.labels import region_mask
from hope.domain.volume import Volume
from hope.stages.report.drawing import BACKGROUND, FAINT, GAP, MARGIN, RULE, TEXT, WARNING, font, say, windowed

TILE: Final = 420
CAPTION: Final = 62
MOST_TILES: Final = 6
ACROSS: Final = 3
FIELD_SHARE: Final = 2.2
LEAST_FIELD_MM: Final = 60.0
OUTLINE: Final = (86, 204, 255)
LONG: Final = (255, 222, 89)
SHORT: Final = (255, 128, 171)

Point = tuple[float, float]


def draw_measurements(image: Volume, labels: Volume, found: Measurements) -> bytes:
    """A PNG with the axial slices of the largest lesions; empty where no lesion has diameters.

    Args:
        image: float scan, any orientation and spacing.
        labels: the mask that was measured, on the same grid.
        found: what was measured on it.

    Raises:
        ValueError: if labels and image do not share one grid.
    """
    if not image.grid.same_as(labels.grid):
        raise ValueError("diameters are drawn on an image on the mask's grid")
    shown = [(lesion, axial) for lesion in found.lesions if (axial := lesion.axial)][:MOST_TILES]
    if not shown:
        return b""
    scan, mask = image.reoriented("RAS"), labels.reoriented("RAS")
    grey = windowed(scan.data)
    inside = region_mask(mask.data, found.rule.region)
    columns = min(ACROSS, len(shown))
    rows = -(-len(shown) // columns)
    size = (2 * MARGIN + columns * TILE + (columns - 1) * GAP, MARGIN + rows * (TILE + CAPTION) + GAP)
    canvas = Image.new("RGB", size, BACKGROUND)
    for place, (lesion, axial) in enumerate(shown):
        corner = (MARGIN + place % columns * (TILE + GAP), MARGIN + place // columns * (TILE + CAPTION))
        tile = _Tile(scan.with_data(grey), inside, axial)
        canvas.paste(tile.drawn(), corner)
        _caption(canvas, corner, lesion, axial)
    stream = io.BytesIO()
    canvas.save(stream, format="PNG", compress_level=4)
    return stream.getvalue()


class _Tile:
    """One axial slice around a lesion, a square field; the patient's right is at the left."""

    def __init__(self, scan: Volume, inside: npt.NDArray[np.bool_], axial: PlaneDiameters) -> None:
        ends = scan.grid.to_voxel(np.array([*axial.long.ends_ras_mm, *axial.short.ends_ras_mm]))
        self._k = int(np.clip(round(float(ends[0, 2])), 0, scan.data.shape[2] - 1))
        self._spacing = scan.grid.spacing_mm
        self._middle_mm = ends[:2, :2].mean(axis=0) * self._spacing[:2]
        self._field_mm = max(LEAST_FIELD_MM, FIELD_SHARE * axial.long.mm)
        self._grid, self._axial = scan.grid, axial
        self._grey, self._inside = self._slice(scan.data), self._slice(inside)

    def drawn(self) -> Image.Image:
        """The slice, the outline, both chords."""
        grey = np.repeat((self._grey * 255).clip(0, 255)[..., None], 3, axis=2)
        filled = self._inside >= 0.5
        edge = filled & ~_shrunk(filled)
        grey[edge] = OUTLINE
        tile = Image.fromarray(grey.astype(np.uint8))
        draw = ImageDraw.Draw(tile)
        for chord, colour in ((self._axial.long, LONG), (self._axial.short, SHORT)):
            draw.line([*self._on_screen(chord)], fill=colour, width=3)
        draw.rectangle((0, 0, TILE - 1, TILE - 1), outline=RULE)
        for letter, at in (("R", (14, TILE // 2)), ("L", (TILE - 14, TILE // 2)), ("A", (TILE // 2, 14))):
            say(draw, at, letter, 18, "mm")
        bar = round(10 * TILE / self._field_mm)
        draw.line((TILE - 14 - bar, TILE - 16, TILE - 14, TILE - 16), fill=FAINT, width=3)
        say(draw, (TILE - 14 - bar // 2, TILE - 22), "10 mm", 14, "mb", FAINT)
        return tile

    def _on_screen(self, chord: Chord) -> tuple[Point, Point]:
        voxels = self._grid.to_voxel(np.array(chord.ends_ras_mm))[:, :2] * self._spacing[:2]
        pixels = TILE / 2 - (voxels - self._middle_mm) * TILE / self._field_mm
        (ax, ay), (bx, by) = pixels.tolist()
        return (ax, ay), (bx, by)

    def _slice(self, data: npt.NDArray[np.floating] | npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        """The slice at screen size, linear between voxels, 0 outside the scan: (row, column)."""
        at_mm = (TILE / 2 - np.arange(TILE) - 0.5) * self._field_mm / TILE
        i, j = ((at_mm + self._middle_mm[axis]) / self._spacing[axis] for axis in (0, 1))
        plane = np.asarray(data[:, :, self._k], dtype=np.float32)
        return _between(_between(plane, i, 0), j, 1).T


def _between(plane: npt.NDArray[np.float32], at: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float32]:
    """Values at positions along an axis, linear; 0 outside."""
    length = plane.shape[axis]
    low = np.floor(at).astype(np.intp)
    share = np.expand_dims((at - low).astype(np.float32), 1 - axis)
    read = [np.take(plane, np.clip(low + step, 0, length - 1), axis) for step in (0, 1)]
    known = np.expand_dims((at >= -0.5) & (at <= length - 0.5), 1 - axis)
    values: npt.NDArray[np.float32] = np.where(known, read[0] * (1 - share) + read[1] * share, 0).astype(np.float32)
    return values


def _shrunk(filled: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    padded = np.pad(filled, 2)
    inner = filled.copy()
    for row, column in ((0, 2), (4, 2), (2, 0), (2, 4)):
        inner &= padded[row : row + TILE, column : column + TILE]
    return inner


def _caption(canvas: Image.Image, corner: tuple[int, int], lesion: LesionFacts, axial: PlaneDiameters) -> None:
    draw = ImageDraw.Draw(canvas)
    x, y = corner[0] + 2, corner[1] + TILE + 6
    head = f"Lesion {lesion.number}{' (target)' if lesion.target else ''}   slice {axial.slice_index}"
    draw.text((x, y), head, fill=TEXT, font=font(18))
    size = f"{axial.long.mm:.1f} x {axial.short.mm:.1f} mm"
    word = "near the limit" if lesion.near_limit else "measurable" if lesion.measurable else "not measurable"
    fill = WARNING if lesion.near_limit else FAINT
    draw.text((x, y + 24), f"{size}, {word}", fill=fill, font=font(17))
