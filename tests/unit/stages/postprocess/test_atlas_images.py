"""Preprocessed images by their names, and the grid they have to share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import AmbiguousInputError, InputError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.formats.nifti import write_scan
from hope.stages.postprocess.atlas_images import find_images, in_one_order, read_images

SHAPE = (6, 5, 4)
GRID = Grid(SHAPE, np.diag([-1.0, -1.0, 1.0, 1.0]))


def scan(grid: Grid = GRID) -> Volume:
    return Volume(np.arange(120, dtype=np.float32).reshape(grid.shape), grid)


def test_names_with_and_without_atlas_are_found(tmp_path: Path) -> None:
    for name in ("c1-t1n.nii.gz", "c1-t1c.nii", "c1-seg.nii.gz", "c1-brain-mask.nii.gz", "notes.txt"):
        (tmp_path / name).touch()
    assert find_images(tmp_path) == (
        "c1",
        {MRSequence.T1N: tmp_path / "c1-t1n.nii.gz", MRSequence.T1C: tmp_path / "c1-t1c.nii"},
    )
    for sequence in SEQUENCES:
        (tmp_path / f"c1-{sequence}-atlas.nii.gz").touch()
    (tmp_path / "c1-seg-atlas.nii.gz").touch()
    assert find_images(tmp_path) == ("c1", {s: tmp_path / f"c1-{s}-atlas.nii.gz" for s in SEQUENCES})


def test_two_claims_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a-t1c.nii.gz").touch()
    (tmp_path / "b-t1c.nii.gz").touch()
    with pytest.raises(AmbiguousInputError, match="t1c"):
        find_images(tmp_path)


def test_images_are_listed_as_the_mask_is(tmp_path: Path) -> None:
    files = {s: tmp_path / f"{s}.nii.gz" for s in SEQUENCES}
    for number, path in enumerate(files.values()):
        write_scan(scan().reoriented(("RAS", "LPS", "SAL", "PIR")[number]), path)
    mask = Volume(np.zeros(SHAPE, np.uint8), GRID)
    read = read_images(files, mask)
    assert all(np.array_equal(volume.data, scan().data) for volume in read.values())

    with pytest.raises(InputError, match="no t2f"):
        read_images({s: path for s, path in files.items() if s is not MRSequence.T2F}, mask)
    moved = Grid(SHAPE, GRID.affine_ras_mm + np.array([[0, 0, 0, 2.0], [0] * 4, [0] * 4, [0] * 4]))
    with pytest.raises(InputError, match=r"t1n does not lie .* 2.0 mm off"):
        read_images(files, Volume(mask.data, moved))


def test_voxels_of_another_origin_are_taken_but_said() -> None:
    other = Grid(SHAPE, np.diag([-1.0, -1.0, 1.0, 1.0]) + np.array([[0, 0, 0, 5.0], [0] * 4, [0] * 4, [0] * 4]))
    same, elsewhere = in_one_order(scan().reoriented("RAS"), scan(), "the truth")
    assert (np.array_equal(same.data, scan().data), elsewhere) == (True, False)
    moved, elsewhere = in_one_order(scan(other), scan(), "the truth")
    assert moved.grid == GRID
    assert elsewhere
    for grid in (Grid((5, 6, 4), GRID.affine_ras_mm), Grid(SHAPE, np.diag([-2.0, -1.0, 1.0, 1.0]))):
        with pytest.raises(InputError, match="the truth does not lie"):
            in_one_order(scan(grid), scan(), "the truth")
