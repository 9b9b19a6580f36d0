"""Both dates on one grid as files that the page draws."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from hope.domain.volume import Volume
from hope.formats.nifti import write_labels
from hope.longitudinal.compare import Overlay
from hope.stages.masks import box_around, cropped

VIEWS: Final = ("earlier", "later", "earlier-labels", "later-labels")
"""Names of the files, each with ``.nii`` behind it."""

BRIGHTEST: Final = 99.5
"""Percentile that is shown white."""


def write_views(overlay: Overlay, folder: Path) -> None:
    """Write the images and the masks of both dates as bytes, in RAS order, cropped to what is there.

    Args:
        overlay: what `compare_visits` gave.
        folder: where the files of `VIEWS` go.

    Raises:
        OutputError: if a file cannot be written.
    """
    volumes = (_grey(overlay.earlier), _grey(overlay.later), overlay.earlier_labels, overlay.later_labels)
    there = np.logical_or.reduce([volume.data != 0 for volume in volumes])
    box = box_around(overlay.earlier_labels.with_data(there))
    for name, volume in zip(VIEWS, volumes, strict=True):
        write_labels(cropped(volume, box).reoriented("RAS"), folder / f"{name}.nii")


def _grey(image: Volume) -> Volume:
    """Intensities as 0 to 255, the brightest cut off."""
    inside = image.data[image.data > 0]
    high = float(np.percentile(inside, BRIGHTEST)) if inside.size else 1.0
    return image.with_data(np.clip(np.rint(image.data * (255 / max(high, 1e-6))), 0, 255).astype(np.uint8))
