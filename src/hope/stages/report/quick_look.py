"""The small picture that the page shows at once: the three slices with labels, cut from the picture of the result."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from PIL import Image

from hope.formats.atomic import atomic_output
from hope.stages.report.drawing import GAP, MARGIN
from hope.stages.report.preview import HEADER, PANEL

QUICK_WIDTH: Final = 1080


def write_quick_look(picture: Path, path: Path) -> None:
    """Write a small WebP of the three slices with labels, for whoever waits for the viewer on a slow line.

    It is cut from the picture, so it shows of a head what that shows.

    Args:
        picture: the PNG that `render_preview` wrote.
        path: the WebP to write; about 20 kB.

    Raises:
        OutputError: if the file cannot be written.
    """
    top = HEADER + PANEL + GAP
    with Image.open(picture) as whole:
        row = whole.crop((MARGIN, top, whole.width - MARGIN, top + PANEL))
    small = row.resize((QUICK_WIDTH, round(row.height * QUICK_WIDTH / row.width)), Image.Resampling.LANCZOS)
    with atomic_output(path) as file:
        small.save(file, format="WEBP", quality=70, method=4)
