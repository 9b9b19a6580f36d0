"""What the pictures are drawn with: colours, text, grey values. Pillow alone."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

MARGIN: Final = 28
GAP: Final = 10
DISPLAY_GAMMA: Final = 0.85
"""Below 1 it lifts the brain, which bright fat and vessels would push into the dark."""

BACKGROUND: Final = (13, 16, 21)
PANEL_BACKGROUND: Final = (0, 0, 0)
RULE: Final = (58, 66, 78)
TEXT: Final = (236, 240, 245)
FAINT: Final = (166, 176, 190)
WARNING: Final = (255, 196, 92)


def windowed(data: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Grey values 0..1 between the 1st and the 99.5th percentile of what is not zero; same shape."""
    image = np.asarray(data, dtype=np.float32)
    shown = (image != 0) & np.isfinite(image)
    inside, grey = image[shown], np.zeros(image.shape, dtype=np.float32)
    if inside.size == 0:
        return grey
    low, high = (float(q) for q in np.percentile(inside, (1.0, 99.5)))
    if high <= low:
        high = low + 1.0
    # Powers take longest, and most of a scan is 0.
    grey[shown] = np.clip((inside - low) / (high - low), 0.0, 1.0) ** DISPLAY_GAMMA
    return grey


def font(size: int) -> Font:
    """Pillow's own scalable font: no font file of the machine is needed."""
    return ImageFont.load_default(size)


def say(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    size: int,
    anchor: str,
    fill: tuple[int, int, int] = TEXT,
) -> None:
    """Text that stays readable on any grey: it carries a black rim."""
    draw.text(at, text, fill=fill, font=font(size), anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))
