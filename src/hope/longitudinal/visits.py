"""One date of a patient, read from a result of `hope segment` or from a directory with scans and a mask."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hope.contract.outputs import OutputFile, Role, Space
from hope.contract.report import CaseReport, VolumeMl
from hope.domain.errors import InputError
from hope.domain.sequence import MRSequence
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.names import read_name
from hope.formats.nifti import read_labels, read_scan
from hope.formats.reading import reading
from hope.stages.postprocess.lesions import check_peds, refuse_other_grid
from hope.stages.postprocess.postprocess import count_voxels

RESULT: Final = "result.json"

BEST_FIRST: Final = (MRSequence.T1C, MRSequence.T1N, MRSequence.T2W, MRSequence.T2F)
"""The sequence that two dates are registered by: the first that both have."""


@dataclass(frozen=True, eq=False)
class Visit:
    """One date.

    Attributes:
        case_id: a name without identity.
        labels: uint8 peds labels on the scan's own grid.
        images: sequence -> file of a scan, all in one world.
        image_to_labels: that world to the labels' world, RAS+ mm.
        volumes_ml: per label and region, with intervals where the result has them.
        model: id of the model that made the mask; empty for a mask from elsewhere.
    """

    case_id: str
    labels: Volume
    images: Mapping[MRSequence, Path]
    image_to_labels: Transform
    volumes_ml: Mapping[str, VolumeMl]
    model: str = ""

    def image(self, sequence: MRSequence) -> Volume:
        """Read the scan of a sequence, float32.

        Raises:
            InputError: if it cannot be read.
        """
        return read_scan(self.images[sequence], f"{sequence} of {self.case_id}")[0]


def read_visit(folder: Path, what: str) -> Visit:
    """Read one date.

    Args:
        folder: a result of `hope segment`; or a directory with a mask (``<case>-seg.nii.gz``) on the grid of its t1c.
        what: its role, for messages, such as ``EARLIER``.

    Raises:
        InputError: if it is neither, or a file of it cannot be used.
    """
    with reading(what):
        if not folder.is_dir():
            raise InputError(
                f"{what} is no directory", expected="a result of hope segment, or a directory with scans and a mask"
            )
        is_result = (folder / RESULT).is_file()
    return _of_result(folder, what) if is_result else _of_scans(folder, what)


def common_sequence(earlier: Visit, later: Visit) -> MRSequence:
    """The sequence to register two dates by.

    Raises:
        InputError: if they have none in common.
    """
    for sequence in BEST_FIRST:
        if sequence in earlier.images and sequence in later.images:
            return sequence
    raise InputError(
        "the two dates have no sequence in common",
        expected="the same sequence in both, best t1c",
        got=_both(earlier, later),
    )


def _both(earlier: Visit, later: Visit) -> str:
    first, second = (", ".join(map(str, visit.images)) or "none" for visit in (earlier, later))
    return f"{first} and {second}"


def _of_result(folder: Path, what: str) -> Visit:
    try:
        text = (folder / RESULT).read_bytes()
        report = CaseReport.stored(json.loads(text))
    except OSError as error:
        raise InputError(f"{RESULT} of {what} cannot be read", got=error.strerror or "an error") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{RESULT} of {what} is not a result of hope") from error
    case, reference = report.case_id, report.input.reference or ""
    mask = folder / OutputFile(Role.SEGMENTATION, space=Space.NATIVE).name(case)
    transform = report.transforms.get(reference)
    if not mask.is_file() or transform is None:
        raise InputError(f"{what} is not whole", expected="the files of hope segment in one directory")
    images = {}
    for sequence in BEST_FIRST:
        path = folder / OutputFile.of(Role.IMAGE, sequence=str(sequence)).name(case)
        if path.is_file():
            images[sequence] = path
    try:
        to_labels = Transform(np.array(transform.atlas_to_native_ras_mm))
    except ValueError as error:
        raise InputError(f"{RESULT} of {what} holds a transform that is none") from error
    labels = check_peds(read_labels(mask, f"mask of {what}"))
    return Visit(case, labels, images, to_labels, dict(report.volumes_ml), report.model.id)


def _of_scans(folder: Path, what: str) -> Visit:
    with reading(what):
        files = sorted(path for path in folder.iterdir() if path.name.endswith((".nii", ".nii.gz")))
    images: dict[MRSequence, Path] = {}
    masks = []
    for path in files:
        stem = path.name.removesuffix(".gz").removesuffix(".nii")
        if stem.endswith(("-seg", "_seg", "_dseg")) or stem in ("seg", "mask"):
            masks.append(path)
        elif (named := read_name(path)) and named.sequence not in images:
            images[named.sequence] = path
    if len(masks) != 1 or not images:
        got = f"{len(masks)} masks and {len(images)} scans"
        raise InputError(f"{what} cannot be compared", expected="one mask (<case>-seg.nii.gz) and its t1c", got=got)
    labels = check_peds(read_labels(masks[0], f"mask of {what}"))
    reference = next(sequence for sequence in BEST_FIRST if sequence in images)
    # The mask lies on the grid of one scan; scans in other worlds cannot be used.
    image, _ = read_scan(images[reference], f"{reference} of {what}")
    refuse_other_grid(labels.grid, image.grid)
    counts = count_voxels(labels.data)
    volumes = {key: VolumeMl(ml=round(count * labels.grid.voxel_volume_ml, 3)) for key, count in counts.items()}
    return Visit(what.lower(), labels, {reference: images[reference]}, Transform.identity(), volumes)
