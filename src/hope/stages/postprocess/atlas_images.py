"""The preprocessed images of a case, found by their names, on the grid of its mask."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import AmbiguousInputError, InputError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.formats.names import is_label_name, is_nifti_name, read_name
from hope.formats.nifti import read_scan
from hope.formats.reading import reading

ATLAS_ENDING = "-atlas"
"""What `hope segment` puts behind the sequence: <case>-t1c-atlas.nii.gz."""

SPACING_TOLERANCE_MM = 0.001


def find_images(folder: Path) -> tuple[str, dict[MRSequence, Path]]:
    """The case name and the images that lie directly in a directory.

    Names are those of BraTS and BIDS, with or without ``-atlas`` behind the sequence; where both kinds lie there, the
    ones with ``-atlas`` are taken.

    Raises:
        AmbiguousInputError: if two files claim one sequence.
        InputError: if the directory cannot be read.
    """
    with reading("a case directory"):
        files = sorted(file for file in folder.iterdir() if file.is_file() and is_nifti_name(file))
    groups: dict[bool, dict[MRSequence, Path]] = {True: {}, False: {}}
    cases: dict[bool, str] = {}
    for file in files:
        stem = file.name.removesuffix(".gz").removesuffix(".nii")
        plain = stem.removesuffix(ATLAS_ENDING)
        named = read_name(Path(f"{plain}.nii.gz"))
        if named is None or is_label_name(file):
            continue
        on_atlas = plain != stem
        if named.sequence in groups[on_atlas]:
            raise AmbiguousInputError(
                f"two files are named as {named.sequence} ({named.sequence.title})",
                expected="one",
                fix="put each case in a directory of its own",
            )
        groups[on_atlas][named.sequence] = file
        cases.setdefault(on_atlas, named.case)
    chosen = bool(groups[True])
    return cases.get(chosen) or folder.name, groups[chosen]


def read_images(files: Mapping[MRSequence, Path], mask: Volume) -> dict[MRSequence, Volume]:
    """Read a case's four images, listed along the mask's axes.

    Args:
        files: the file of each sequence.
        mask: whose grid they have to share.

    Raises:
        InputError: if a sequence is missing, cannot be read, or lies on another grid.
    """
    absent = [str(sequence) for sequence in SEQUENCES if sequence not in files]
    if absent:
        raise InputError(
            "the cluster needs all four images",
            expected="t1n, t1c, t2w and t2f",
            got=f"no {', '.join(absent)}",
            fix="name them with " + " ".join(f"--{sequence} FILE" for sequence in absent),
        )
    images = {}
    for sequence in SEQUENCES:
        volume, _ = read_scan(files[sequence], str(sequence))
        images[sequence] = volume.reoriented(mask.grid.orientation)
        if not images[sequence].grid.same_as(mask.grid):
            raise InputError(
                f"{sequence} does not lie on the grid of the mask",
                expected=_words(mask.grid),
                got=f"{_words(images[sequence].grid)}{_distance(images[sequence].grid, mask.grid)}",
                fix="give the preprocessed images that the mask was made on",
            )
    return images


def in_one_order(volume: Volume, reference: Volume, what: str) -> tuple[Volume, bool]:
    """The voxels of one volume on the grid of another that lists the same voxels, whatever its header's origin says.

    BraTS releases carry several origins for one voxel grid; so size and spacing decide, after both are listed along
    the same axes.

    Args:
        volume: to be brought to the other's grid.
        reference: whose grid is taken.
        what: the volume's role.

    Returns:
        The volume, and whether the headers place it elsewhere.

    Raises:
        InputError: if size or spacing differ.
    """
    listed = volume.reoriented(reference.grid.orientation)
    spacing, wanted = listed.grid.spacing_mm, reference.grid.spacing_mm
    if listed.grid.shape != reference.grid.shape or not np.allclose(spacing, wanted, atol=SPACING_TOLERANCE_MM, rtol=0):
        raise InputError(
            f"{what} does not lie on the grid of the prediction",
            expected=_words(reference.grid),
            got=_words(listed.grid),
            fix="bring all of a case to one grid first",
        )
    return Volume(listed.data, reference.grid), not listed.grid.same_as(reference.grid)


def _words(grid: Grid) -> str:
    voxels = " x ".join(str(n) for n in grid.shape)
    return f"{voxels} voxels of {' x '.join(f'{s:.3g}' for s in grid.spacing_mm)} mm"


def _distance(first: Grid, second: Grid) -> str:
    distance = first.largest_corner_distance_mm(second)
    return f", {distance:.1f} mm off at a corner" if np.isfinite(distance) else ""
