"""The picture of a result: three planes through the tumour, without and with the labels, and a legend in ml.

Drawn with Pillow alone. Radiological convention: the patient's left is on the viewer's right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from hope import DISCLAIMER
from hope.contract.measurements import PlaneDiameters
from hope.domain.grid import CORNER_TOLERANCE_MM, Grid
from hope.domain.labels import PEDS, REGION_NAMES, REGIONS, Label
from hope.domain.volume import Volume
from hope.domain.wording import millilitres
from hope.formats.atomic import atomic_output
from hope.stages.report.drawing import (
    BACKGROUND,
    FAINT,
    GAP,
    MARGIN,
    PANEL_BACKGROUND,
    RULE,
    TEXT,
    WARNING,
    font,
    say,
    windowed,
)

VolumesMl = Mapping[str, Mapping[str, float]]

PANEL: Final = 488
HEADER: Final = 92
LEGEND: Final = 236
LEGEND_TEXT: Final = PANEL - 56
SUPERSAMPLING: Final = 2
FILL_SHARE: Final = 0.4
OUTLINE_PX: Final = 2
HEAD_MARGIN_MM: Final = 4.0
LETTER_SPACE: Final = 26


@dataclass(frozen=True)
class _Plane:
    """How one plane is cut from RAS-ordered voxels and laid on the screen.

    Every screen axis runs against its world axis: right to left is -x, front to back is -y, top to bottom is -z.
    """

    name: str
    cut: int
    across: int
    down: int
    letters: tuple[str, str, str, str]
    """At the left, right, top and bottom edge."""


PLANES: Final = (
    _Plane("Axial", cut=2, across=0, down=1, letters=("R", "L", "A", "P")),
    _Plane("Coronal", cut=1, across=0, down=2, letters=("R", "L", "S", "I")),
    _Plane("Sagittal", cut=0, across=1, down=2, letters=("A", "P", "S", "I")),
)


def render_preview(
    image: Volume,
    labels: Volume,
    volumes_ml: VolumesMl,
    title: str,
    path: Path,
    notice: str = "",
    measured: PlaneDiameters | None = None,
) -> None:
    """Write the PNG of one result.

    Args:
        image: float scan (i, j, k), any orientation and spacing; t1c where there is one.
        labels: peds labels on the same grid.
        volumes_ml: per label key and region ``{"ml", "low_ml", "high_ml"}``; a missing key reads as 0.0 ml.
        title: what the picture shows, without identity.
        path: the PNG to write.
        notice: one sentence of warning to print under the title, such as a missing sequence.
        measured: axial diameters to draw on the labels; their slice is the axial one that is shown.

    Raises:
        ValueError: if labels and image do not share one grid.
        OutputError: if the file cannot be written.
    """
    if image.grid.shape != labels.grid.shape or not image.grid.same_as(labels.grid):
        raise ValueError(f"preview needs labels on the image's grid (corners within {CORNER_TOLERANCE_MM} mm)")
    scan, mask = image.reoriented("RAS"), labels.reoriented("RAS")
    shown = windowed(scan.data)
    box = _head_box(shown, mask.data, scan.grid)
    where = _slices(mask.data, box)
    lines = [scan.grid.to_voxel(chord.ends_ras_mm) for chord in (measured.long, measured.short)] if measured else []
    if lines:
        first, stop = box[2]
        where = (where[0], where[1], min(max(round(float(lines[0][0, 2])), first), stop - 1))
    canvas = Image.new("RGB", (2 * MARGIN + 3 * PANEL + 2 * GAP, HEADER + 2 * PANEL + GAP + LEGEND), BACKGROUND)
    _draw_header(canvas, title, _state(mask.data, scan.data), notice)
    pixels_per_mm = _common_scale(scan.grid, box)
    for column, plane in enumerate(PLANES):
        left = MARGIN + column * (PANEL + GAP)
        grey, overlaid = _panels(plane, where[plane.cut], shown, mask.data, scan.grid, box)
        if plane.cut == 2:
            _draw_lines(overlaid, lines, scan.grid, box, pixels_per_mm)
        caption = f"{plane.name}  {_position(scan.grid, plane, where)}"
        _draw_panel(canvas, (left, HEADER), grey, plane, caption, pixels_per_mm)
        _draw_panel(canvas, (left, HEADER + PANEL + GAP), overlaid, plane, f"{plane.name} with labels", pixels_per_mm)
    _draw_legend(canvas, volumes_ml, HEADER + 2 * PANEL + GAP)
    with atomic_output(path) as file:
        canvas.save(file, format="PNG", compress_level=4)


def _head_box(
    shown: npt.NDArray[np.float32], mask: npt.NDArray[np.integer], grid: Grid
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Per RAS axis the first and one past the last slice that shows head or tumour, with a small margin."""
    foreground = (shown > 0.12) | (mask > 0)
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        share = foreground.mean(axis=others)
        found = np.flatnonzero((share > 0.01) | (mask > 0).any(axis=others))
        if found.size == 0:
            box.append((0, mask.shape[axis]))
            continue
        margin = round(HEAD_MARGIN_MM / grid.spacing_mm[axis])
        box.append((max(0, int(found[0]) - margin), min(mask.shape[axis], int(found[-1]) + 1 + margin)))
    return box[0], box[1], box[2]


def _slices(mask: npt.NDArray[np.integer], box: tuple[tuple[int, int], ...]) -> tuple[int, int, int]:
    """Per RAS axis the slice where the tumour is largest, else the middle of the head."""
    tumour = mask > 0
    if not tumour.any():
        return (sum(box[0]) // 2, sum(box[1]) // 2, sum(box[2]) // 2)
    best = []
    for axis in range(3):
        area = tumour.sum(axis=tuple(a for a in range(3) if a != axis))
        largest = np.flatnonzero(area == area.max())
        best.append(int(largest[len(largest) // 2]))
    return best[0], best[1], best[2]


def _common_scale(grid: Grid, box: tuple[tuple[int, int], ...]) -> float:
    """Screen pixels per millimetre, the same in all panels, so that sizes can be compared across planes."""
    return (PANEL - 2 * LETTER_SPACE) / max(
        (stop - start) * grid.spacing_mm[axis] for axis, (start, stop) in enumerate(box)
    )


def _panels(
    plane: _Plane,
    index: int,
    shown: npt.NDArray[np.float32],
    mask: npt.NDArray[np.integer],
    grid: Grid,
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
) -> tuple[Image.Image, Image.Image]:
    """One plane without and with labels, both at the final size, aspect ratio as in the body."""
    scale = _common_scale(grid, box)
    size = tuple(
        max(1, round((box[axis][1] - box[axis][0]) * grid.spacing_mm[axis] * scale)) * SUPERSAMPLING
        for axis in (plane.across, plane.down)
    )
    big = (size[0], size[1])
    grey = np.asarray(_resized(_screen(shown, plane, index, box), big, Image.Resampling.BICUBIC)).clip(0, 1)
    rgb = np.repeat((grey * 255).astype(np.float32)[..., None], 3, axis=2)
    overlaid = _overlay(rgb, _labels_on_screen(_screen(mask, plane, index, box), big))
    plain, coloured = (Image.fromarray(a.round().astype(np.uint8)).reduce(SUPERSAMPLING) for a in (rgb, overlaid))
    return plain, coloured


def _draw_lines(
    panel: Image.Image,
    lines: Sequence[npt.NDArray[np.floating]],
    grid: Grid,
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
    pixels_per_mm: float,
) -> None:
    """Diameters on the axial panel; each line is (2, 3), its ends in RAS-ordered voxels."""
    draw = ImageDraw.Draw(panel)
    for line in lines:
        ends = [
            tuple((box[axis][1] - 0.5 - float(end[axis])) * grid.spacing_mm[axis] * pixels_per_mm for axis in (0, 1))
            for end in line
        ]
        draw.line([(x, y) for x, y in ends], fill=(0, 0, 0), width=4)
        draw.line([(x, y) for x, y in ends], fill=TEXT, width=2)


def _screen(
    data: npt.NDArray[np.generic], plane: _Plane, index: int, box: tuple[tuple[int, int], ...]
) -> npt.NDArray[np.generic]:
    """One slice as (row, column) of the screen, cropped to the box."""
    cropped = data[tuple(slice(*edges) if axis != plane.cut else index for axis, edges in enumerate(box))]
    # In every plane `across` is the lower axis, so the transpose makes it the columns.
    return cropped.T[::-1, ::-1]


def _resized(values: npt.NDArray[np.generic], size: tuple[int, int], how: Image.Resampling) -> npt.NDArray[np.float32]:
    """Values on a screen of ``size`` (width, height) pixels."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(values, dtype=np.float32)).resize(size, how))


def _labels_on_screen(labels: npt.NDArray[np.generic], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Labels at screen size: for each pixel the label with the largest bilinear share, so that edges are not stairs."""
    values = (0, *PEDS.values)
    shares = [_resized(labels == value, size, Image.Resampling.BILINEAR) for value in values]
    best, on_screen = shares[0].copy(), np.zeros(shares[0].shape, dtype=np.uint8)
    for value, share in zip(values[1:], shares[1:], strict=True):
        on_screen[share > best] = value
        np.maximum(best, share, out=best)
    return on_screen


def _overlay(rgb: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Fill and outline in the schema's colours; (row, column, 3) in 0..255."""
    out = rgb.copy()
    for label in PEDS.labels:
        inside = labels == label.value
        colour = np.array(_rgb(label), dtype=np.float32)
        out[inside] = (1 - FILL_SHARE) * rgb[inside] + FILL_SHARE * colour
        out[inside & ~_eroded(inside, OUTLINE_PX * SUPERSAMPLING)] = colour
    return out


def _eroded(inside: npt.NDArray[np.bool_], steps: int) -> npt.NDArray[np.bool_]:
    """Peel a shape: what is left after taking ``steps`` pixels from its edge (4-neighbours)."""
    for _ in range(steps):
        padded = np.pad(inside, 1)
        inside = inside & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside


def _state(mask: npt.NDArray[np.integer], scan: npt.NDArray[np.floating]) -> str:
    """Say in words what a picture without colour does not."""
    said = [] if (mask > 0).any() else ["No tumour found: no voxel was labelled"]
    said += [] if ((scan != 0) & ~np.isnan(scan)).any() else ["Nothing of the scan is shown"]
    return ". ".join(said)


def _position(grid: Grid, plane: _Plane, where: tuple[int, int, int]) -> str:
    """World position of a slice, such as ``S 34 mm``."""
    mm = float(grid.to_world(where)[plane.cut])
    return f"{('R', 'A', 'S')[plane.cut] if mm >= 0 else ('L', 'P', 'I')[plane.cut]} {abs(mm):.0f} mm"


def _rgb(label: Label) -> tuple[int, int, int]:
    """Give the label's colour as three bytes."""
    return int(label.colour[1:3], 16), int(label.colour[3:5], 16), int(label.colour[5:7], 16)


def _fitted(draw: ImageDraw.ImageDraw, text: str, size: int, width: int) -> str:
    """Shorten the text with an ellipsis until it fits ``width`` pixels."""
    shape = font(size)
    if draw.textlength(text, font=shape) <= width:
        return text
    while text and draw.textlength(text + "…", font=shape) > width:
        text = text[:-1]
    return text + "…"


def _draw_header(canvas: Image.Image, title: str, state: str, notice: str) -> None:
    """Title at the left, what the rows are under it, the state in words."""
    draw = ImageDraw.Draw(canvas)
    width = canvas.width - 2 * MARGIN
    draw.text((MARGIN, 18), _fitted(draw, title, 30, width), fill=TEXT, font=font(30))
    said = ". ".join(part.rstrip(".") for part in (state, notice) if part)
    line = said or "Slices through the largest extent of the tumour. Radiological view: patient's left on the right."
    draw.text((MARGIN, 58), _fitted(draw, line, 19, width), fill=WARNING if said else FAINT, font=font(19))


def _draw_panel(
    canvas: Image.Image, corner: tuple[int, int], picture: Image.Image, plane: _Plane, caption: str, scale: float
) -> None:
    """One slice in its frame, with side letters, caption and a 5 cm bar."""
    left, top = corner
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left, top, left + PANEL - 1, top + PANEL - 1), fill=PANEL_BACKGROUND)
    canvas.paste(picture, (left + (PANEL - picture.width) // 2, top + (PANEL - picture.height) // 2))
    draw.rectangle((left, top, left + PANEL - 1, top + PANEL - 1), outline=RULE)
    middle = PANEL // 2
    places = ((14, middle), (PANEL - 14, middle), (middle, 14), (middle, PANEL - 14))
    for letter, (x, y) in zip(plane.letters, places, strict=True):
        say(draw, (left + x, top + y), letter, 20, "mm")
    say(draw, (left + 12, top + 10), caption, 17, "la", FAINT)
    bar = round(50 * scale)
    if bar < PANEL // 2:
        x, y = left + PANEL - 14 - bar, top + PANEL - 16
        draw.line((x, y, x + bar, y), fill=FAINT, width=3)
        say(draw, (x + bar // 2, y - 6), "50 mm", 15, "mb", FAINT)


def _draw_legend(canvas: Image.Image, volumes_ml: VolumesMl, top: int) -> None:
    """All four labels and the two regions with their volumes, then the disclaimer."""
    draw = ImageDraw.Draw(canvas)
    column = (canvas.width - 2 * MARGIN) // 3
    for index, label in enumerate(PEDS.labels):
        x, y = MARGIN + (index % 2) * column, top + 22 + (index // 2) * 76
        fill = tuple(round(FILL_SHARE * c + (1 - FILL_SHARE) * 60) for c in _rgb(label))
        draw.rectangle((x, y + 4, x + 34, y + 38), fill=fill, outline=_rgb(label), width=3)
        _draw_volume(draw, (x + 50, y), label.key, label.name, volumes_ml)
    for row, key in enumerate(("TC", "WT")):
        parts = " + ".join(label.key for label in PEDS.labels if label.value in REGIONS[key])
        name = f"{REGION_NAMES[key]} ({parts})"
        _draw_volume(draw, (MARGIN + 2 * column + 50, top + 22 + row * 76), key, name, volumes_ml)
    y = top + LEGEND - 46
    draw.line((MARGIN, y - 14, canvas.width - MARGIN, y - 14), fill=RULE)
    draw.text((MARGIN, y), DISCLAIMER, fill=WARNING, font=font(19))


def _draw_volume(draw: ImageDraw.ImageDraw, at: tuple[int, int], key: str, name: str, volumes_ml: VolumesMl) -> None:
    """Key and volume in large type, the name and the interval under it."""
    volume = volumes_ml.get(key, {})
    ml = float(volume.get("ml", 0.0))
    draw.text(at, f"{key}  {millilitres(ml)} ml", fill=TEXT, font=font(25))
    low, high = volume.get("low_ml"), volume.get("high_ml")
    interval = (
        f"  {millilitres(low)} to {millilitres(high)} ml" if low is not None and high is not None and high > 0 else ""
    )
    text = _fitted(draw, name + interval, 18, LEGEND_TEXT)
    draw.text((at[0], at[1] + 32), text, fill=FAINT, font=font(18))
