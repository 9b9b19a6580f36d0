"""Pictures of a comparison: two dates side by side with what was gained and lost; the growth curve."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from hope.contract.comparison import Comparison, VisitFacts
from hope.domain.labels import region_mask
from hope.longitudinal.compare import Overlay
from hope.stages.report.drawing import BACKGROUND, FAINT, GAP, MARGIN, TEXT, font, say, windowed

TILE: Final = 400
HEADER: Final = 40
LEGEND: Final = 44
OUTLINE: Final = (86, 204, 255)
GAINED: Final = (213, 94, 0)
LOST: Final = (0, 158, 115)
KEPT: Final = (150, 150, 150)
SHARE: Final = 0.55
REGION: Final = "WT"

CURVES: Final = (
    ("WT", "#14181f", "Whole tumour"),
    ("TC", "#0072b2", "Tumour core"),
    ("ET", "#d55e00", "Enhancing tumour"),
)
Place = Callable[[float, float], tuple[float, float]]
"""Where a place along the dates and a volume in ml lie in the picture."""

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 300, 64, 44, 16, 16


def draw_overlay(overlay: Overlay) -> bytes:
    """A PNG: earlier, later, and the difference, on the axial and the coronal slice with most tumour of either date."""
    views = [volume.reoriented("RAS") for volume in (overlay.earlier, overlay.later)]
    masks = [
        region_mask(volume.reoriented("RAS").data, REGION) for volume in (overlay.earlier_labels, overlay.later_labels)
    ]
    either = masks[0] | masks[1]
    size = (2 * MARGIN + 3 * TILE + 2 * GAP, HEADER + 2 * TILE + GAP + LEGEND)
    canvas = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(("Earlier", "Later, laid on the earlier", "Difference")):
        draw.text((MARGIN + column * (TILE + GAP), 10), title, fill=TEXT, font=font(20))
    grey = [windowed(view.data) for view in views]
    spacing_mm = views[0].grid.spacing_mm
    for row, axis in enumerate((2, 1)):
        others = tuple(other for other in range(3) if other != axis)
        area = either.sum(axis=others)
        k = int(area.argmax()) if area.any() else either.shape[axis] // 2
        ratio = spacing_mm[others[1]] / spacing_mm[others[0]]
        planes = [_plane(data, axis, k) for data in (*grey, *(mask.astype(np.float32) for mask in masks))]
        tiles = _tiles(planes, ratio)
        for column, tile in enumerate(tiles):
            canvas.paste(tile, (MARGIN + column * (TILE + GAP), HEADER + row * (TILE + GAP)))
            corner = (MARGIN + column * (TILE + GAP) + 12, HEADER + row * (TILE + GAP) + TILE // 2)
            say(draw, corner, "R", 18, "mm")
    x, y = MARGIN, HEADER + 2 * TILE + GAP + 14
    for colour, text in (
        (GAINED, "only later"),
        (LOST, "only earlier"),
        (KEPT, "both"),
        (OUTLINE, "outline of the whole tumour"),
    ):
        draw.rectangle((x, y + 2, x + 18, y + 18), fill=colour)
        draw.text((x + 26, y), text, fill=FAINT, font=font(17))
        x += 60 + round(draw.textlength(text, font=font(17)))
    stream = io.BytesIO()
    canvas.save(stream, format="PNG", compress_level=4)
    return stream.getvalue()


def growth_curve(comparison: Comparison) -> str:
    """The volumes over the dates as an SVG element; by days where all are known, else by number of the date."""
    visits = comparison.visits
    known = all(visit.days is not None for visit in visits)
    places = [float(visit.days or 0) if known else float(number) for number, visit in enumerate(visits)]
    tops = [v.high_ml or v.ml for visit in visits for key, _, _ in CURVES if (v := visit.volumes_ml.get(key))]
    most = max([*tops, 0.1]) * 1.08
    span = max(places[-1] - places[0], 1e-9)

    def at(place: float, ml: float) -> tuple[float, float]:
        x = LEFT + (place - places[0]) / span * (WIDTH - LEFT - RIGHT - 130)
        return x, HEIGHT - BOTTOM - ml / most * (HEIGHT - BOTTOM - TOP)

    shapes = [_axes(places, most, at, known)]
    for row, (key, colour, name) in enumerate(CURVES):
        shapes.append(_curve(visits, places, key, colour, at))
        y = TOP + 16 + 20 * row
        shapes.append(f'<text x="{WIDTH - 128}" y="{y}" fill="{colour}" font-size="13">{escape(name)}</text>')
    title = "Volume in ml over days since the first date" if known else "Volume in ml over the dates"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}" '
        f'font-family="system-ui, sans-serif">{"".join(shapes)}</svg>'
    )


def _axes(places: Sequence[float], most: float, at: Place, known: bool) -> str:
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        ml = share * most / 1.08
        x, y = at(places[0], ml)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT - 130}" y2="{y:.1f}" stroke="#d5dae1"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" font-size="12">{ml:.1f} ml</text>')
    for number, place in enumerate(places):
        x, y = at(place, 0.0)
        text = f"day {place:.0f}" if known else f"date {number + 1}"
        parts.append(f'<text x="{x:.1f}" y="{y + 20:.1f}" text-anchor="middle" font-size="12">{text}</text>')
    return "".join(parts)


def _curve(visits: Sequence[VisitFacts], places: Sequence[float], key: str, colour: str, at: Place) -> str:
    parts, line = [], []
    for visit, place in zip(visits, places, strict=True):
        volume = visit.volumes_ml.get(key)
        if volume is None:
            continue
        x, y = at(place, volume.ml)
        line.append(f"{x:.1f},{y:.1f}")
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
        if volume.low_ml is not None and volume.high_ml is not None:
            (_, low), (_, high) = at(place, volume.low_ml), at(place, volume.high_ml)
            parts.append(
                f'<line x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}" stroke="{colour}" '
                'stroke-opacity="0.6"/>'
            )
    return f'<polyline points="{" ".join(line)}" fill="none" stroke="{colour}" stroke-width="2"/>{"".join(parts)}'


def _plane(data: npt.NDArray[np.float32], axis: int, k: int) -> npt.NDArray[np.float32]:
    """A slice as (row, column) of the screen: the patient's right at the left, front or top above."""
    plane: npt.NDArray[np.float32] = np.take(data, k, axis=axis).T[::-1, ::-1]
    return plane


def _tiles(planes: Sequence[npt.NDArray[np.float32]], ratio: float) -> list[Image.Image]:
    """Earlier, later and difference of one slice at screen size."""
    rows, columns = planes[0].shape[0] * ratio, planes[0].shape[1]
    scale = TILE / max(rows, columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))

    def sized(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        picture = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
        return np.asarray(picture.resize(size, Image.Resampling.BILINEAR))

    first, second, *masks = (sized(plane) for plane in planes)
    before, after = (mask >= 0.5 for mask in masks)
    tiles = []
    for grey, inside in ((first, before), (second, after)):
        rgb = np.repeat((grey * 255).clip(0, 255)[..., None], 3, axis=2)
        rgb[inside & ~_shrunk(inside)] = OUTLINE
        tiles.append(rgb)
    rgb = np.repeat((second * 160).clip(0, 255)[..., None], 3, axis=2)
    for where, colour in ((after & ~before, GAINED), (before & ~after, LOST), (before & after, KEPT)):
        rgb[where] = (1 - SHARE) * rgb[where] + SHARE * np.array(colour, dtype=np.float32)
    tiles.append(rgb)
    return [_framed(tile) for tile in tiles]


def _framed(rgb: npt.NDArray[np.float32]) -> Image.Image:
    tile = Image.new("RGB", (TILE, TILE), (0, 0, 0))
    picture = Image.fromarray(rgb.astype(np.uint8))
    tile.paste(picture, ((TILE - picture.width) // 2, (TILE - picture.height) // 2))
    return tile


def _shrunk(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    padded = np.pad(inside, 1)
    inner: npt.NDArray[np.bool_] = inside & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inner
