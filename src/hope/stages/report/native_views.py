"""What the viewer shows: every scan on the grid of the reference scan, where the labels lie too."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hope.domain.case import MRSequence
from hope.domain.grid import Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.nifti import write_compact
from hope.stages.resample import resample

_STILL_MM = 1e-6


def native_view(scan: Volume, onto: Grid, to_scan: Transform) -> Volume:
    """One scan on the reference scan's grid: linear, 0 where it shows nothing; unchanged if it lies there already.

    Args:
        scan: on its own grid, float32.
        onto: the reference scan's grid.
        to_scan: world of the reference scan to world of this scan, RAS+ mm.
    """
    moved_mm = to_scan.largest_difference_mm(Transform.identity(), onto.corners_ras_mm())
    if moved_mm < _STILL_MM and scan.grid.same_as(onto, _STILL_MM):
        return Volume(scan.data, onto)
    return resample(scan, onto, to_scan, "linear")


def brain_view(image: Volume, brain: Volume, to_atlas: Transform) -> Volume:
    """What a model was shown, on the reference scan's grid: linear, and 0 outside the brain.

    Args:
        image: on the atlas grid, float32.
        brain: on the reference scan's grid, not 0 inside the brain.
        to_atlas: world of the reference scan to world of the atlas, RAS+ mm.
    """
    view = native_view(image, brain.grid, to_atlas)
    return view.with_data(np.where(brain.data != 0, view.data, np.float32(0)))


def between_scans(to_native: dict[MRSequence, Transform], reference: MRSequence, other: MRSequence) -> Transform:
    """World of the reference scan to world of another one, through the atlas that both were registered to."""
    if other is reference:
        return Transform.identity()
    return to_native[reference].inverse().then(to_native[other])


def write_view(view: Volume, path: Path, *, scale: tuple[float, float] = (1.0, 0.0), exact: bool) -> None:
    """Write a view in few bytes.

    Args:
        view: any image.
        path: name ending in .nii.gz.
        scale: slope and intercept of the file that the scan came in.
        exact: every voxel comes back as it is, which the scan itself deserves and an interpolated one does not need.

    Raises:
        OutputError: if the file cannot be written.
    """
    write_compact(view, path, scale=scale, lossy=not exact)
