"""A mask that a person has corrected: checked against the scan that it belongs to, kept on its grid, measured."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hope.domain.errors import InputError, StageError
from hope.domain.grid import Grid
from hope.domain.labels import PEDS
from hope.domain.progress import Progress
from hope.domain.volume import Volume
from hope.formats.gunzip import open_scan
from hope.formats.nifti import read_labels, write_labels
from hope.formats.nifti_header import read_layout
from hope.formats.reading import reading
from hope.stages.postprocess.postprocess import count_voxels

GRID_TOLERANCE_MM = 0.1
"""Programs round the matrices that they write; a mask that lies further off belongs to another scan."""

_MASK = "the segmentation"


def keep_mask(folder: Path, to: Path, progress: Progress) -> dict[str, Any]:
    """Check a mask and write it on the grid of the reference scan.

    Args:
        folder: holds ``mask.nii[.gz]``, which may list the same voxels along other axes than the scan; and
            ``reference.json`` (``shape``, ``affine_ras_mm``), or else ``reference.nii`` or ``.nii.gz``.
        to: where the mask is written.
        progress: called for each step.

    Returns:
        ``{"volumes_ml": {key: {"ml"}}, "warnings": [sentence]}``

    Raises:
        InputError: if the mask lies on another grid, or holds anything but the labels 0 to 4.
        StageError: if there is no reference scan or no mask.
    """
    reference = _reference_grid(folder)
    path = next((folder / name for name in ("mask.nii", "mask.nii.gz") if (folder / name).is_file()), None)
    if path is None:
        raise StageError("no mask was handed over")
    progress("segmentation: check", 0.1)
    # Checked before a voxel is read: a header may promise far more voxels than the scan has.
    mask = read_labels(path, _MASK, partial(_refuse_other_grid, reference)).reoriented(reference.orientation)
    highest = int(mask.data.max())
    if highest > max(PEDS.values):
        known = ", ".join(f"{label.value} {label.key}" for label in PEDS.labels)
        raise InputError(f"{_MASK} holds unknown labels", expected=f"0 background, {known}", got=str(highest))
    progress("segmentation: measure", 0.6)
    write_labels(Volume(np.asarray(mask.data), reference), to)
    warnings = [] if highest else ["The mask is empty: it marks no tumour."]
    return {"volumes_ml": _volumes(mask, reference), "warnings": warnings}


def _reference_grid(folder: Path) -> Grid:
    facts = folder / "reference.json"
    if facts.is_file():
        known = json.loads(facts.read_bytes())
        return Grid(tuple(known["shape"]), np.array(known["affine_ras_mm"]))
    for name in ("reference.nii", "reference.nii.gz"):
        if (folder / name).is_file():
            return _grid_of(folder / name, "the reference scan")
    raise StageError("no reference scan was handed over")


def _grid_of(path: Path, what: str) -> Grid:
    """The grid that a NIfTI file's header tells; no voxel is read."""
    with reading(what), open_scan(path, what) as file:
        return read_layout(file, what).grid


def _refuse_other_grid(reference: Grid, stored: Grid) -> None:
    grid = stored.reoriented(reference.orientation)
    fix = "save the mask on the grid of the scan that carries the result, without cropping or resampling"
    if grid.shape != reference.shape:
        expected, got = ("x".join(map(str, g.shape)) + " voxels" for g in (reference, grid))
        raise InputError(f"{_MASK} is on another grid than the scan", expected=expected, got=got, fix=fix)
    distance = grid.largest_corner_distance_mm(reference)
    if distance > GRID_TOLERANCE_MM:
        expected, got = f"corners within {GRID_TOLERANCE_MM} mm", f"{distance:.1f} mm"
        raise InputError(f"{_MASK} lies elsewhere than the scan", expected=expected, got=got, fix=fix)


def _volumes(mask: Volume, reference: Grid) -> dict[str, dict[str, float]]:
    counts = count_voxels(np.asarray(mask.data))
    return {key: {"ml": round(count * reference.voxel_volume_ml, 3)} for key, count in counts.items()}
