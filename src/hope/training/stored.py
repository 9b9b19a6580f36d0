"""Training cases on disk: made once, read in a few milliseconds."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from hope.domain.box import bounding_box
from hope.domain.errors import InputError
from hope.domain.labels import CC, ET, NET, label_set, surely_in
from hope.formats.atomic import atomic_output

Sample = tuple[npt.NDArray[np.float16], npt.NDArray[np.uint8]]
"""Normalised images (4, i, j, k) on the model's grid, RAS, 0 outside the brain; and (i, j, k) bit sets of the peds
labels that each voxel may have (``LabelSchema.label_sets``)."""

_STEP: Final = 0.05
_LOWEST: Final = -4.0
"""z-scores are kept in steps of 0.05 from -4 to 8.65, far finer than a scan's noise; code 0 is outside the brain."""

RING, NON_ENHANCING, TUMOUR_FREE = "ring", "non_enhancing", "tumour_free"
RING_SHARE: Final = 0.4
"""A core of which less than this share enhances counts as non-enhancing."""


def write_sample(path: Path, sample: Sample) -> None:
    """Write a case, all or nothing; an existing file is replaced. Takes about 5 bytes a voxel of the brain's box.

    Raises:
        OutputError: if it cannot be written.
    """
    images, sets = sample
    inside = (images != 0).any(axis=0) | (sets != label_set(0))
    box = bounding_box(inside) or (slice(None),) * 3
    z = images[(slice(None), *box)].astype(np.float32)
    codes = np.clip(np.rint((z - _LOWEST) / _STEP) + 1, 1, 255) * (z != 0)
    with atomic_output(path) as stream:  # runs that share a pool may make one case at one time
        np.savez(stream, codes=codes.astype(np.uint8), sets=sets[box])


def read_sample(path: Path) -> Sample:
    """Read a case that ``write_sample`` wrote.

    Raises:
        InputError: if the file is damaged.
    """
    try:
        with np.load(path) as stored:
            codes, sets = stored["codes"], stored["sets"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path.name} of the run's cases is damaged", fix="delete it; it is made anew") from error
    return _DECODED[codes], sets


_DECODED = np.concatenate([[0.0], _LOWEST + _STEP * np.arange(255)]).astype(np.float16)
# The code of a z-score of exactly 0 would read as outside the brain.
_DECODED[1 + round(-_LOWEST / _STEP)] = np.float16(1e-3)


def core_kind(sets: npt.NDArray[np.uint8]) -> str:
    """What kind of case this is: tumour-free, a core that enhances, or one that mostly does not.

    Args:
        sets: (i, j, k) bit sets of peds labels.
    """
    core = int(surely_in(sets, (ET, NET, CC)).sum())
    if not (sets != label_set(0)).any():
        return TUMOUR_FREE
    return RING if core and (sets == label_set(ET)).sum() >= RING_SHARE * core else NON_ENHANCING
