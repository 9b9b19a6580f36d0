"""One date of a patient, read from a result of `hope segment` or from a directory with scans and a mask."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hope.contract.outputs import Role, Space
from hope.contract.report import VolumeMl
from hope.domain.case import HeadState
from hope.domain.errors import InputError
from hope.domain.labels import PEDS
from hope.domain.qc import Severity, worst_first
from hope.domain.sequence import MRSequence
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.domain.wording import counted
from hope.export.stored_result import FACTS as RESULT
from hope.export.stored_result import StoredResult, read_result
from hope.formats.names import read_name
from hope.formats.nifti import read_labels, read_scan
from hope.formats.reading import reading
from hope.stages.intake.intake import hash_volume
from hope.stages.intake.quality import shows_brain_only
from hope.stages.postprocess.lesions import check_peds, refuse_other_grid
from hope.stages.postprocess.postprocess import count_voxels
from hope.stages.postprocess.scheme_check import likelier_scheme
from hope.stages.report.made_from import MadeFrom

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
        brain_only: whether the images show the brain alone, so that pictures may show all of them.
        model_sha256: of the model's bundle; None for a mask from elsewhere.
        scan_sha256: of the voxels of the scan that the mask lies on; empty if not known.
        from_dicom: whether the result says that this scan was given as DICOM.
        warnings: what is likely wrong with this date's volumes, one sentence each.
    """

    case_id: str
    labels: Volume
    images: Mapping[MRSequence, Path]
    image_to_labels: Transform
    volumes_ml: Mapping[str, VolumeMl]
    model: str = ""
    brain_only: bool = False
    model_sha256: str | None = None
    scan_sha256: str = ""
    from_dicom: bool = False
    warnings: tuple[str, ...] = ()

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


def made_from(visits: Sequence[Visit]) -> MadeFrom:
    """What a comparison is made from: mask and scan of each date, in their order."""
    digests = [hashlib.sha256(f"{hash_volume(visit.labels)} {visit.scan_sha256}".encode()) for visit in visits]
    return MadeFrom("dates", {f"date {number}": digest.hexdigest() for number, digest in enumerate(digests, 1)})


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
    """One date from a result whose mask and images are those that its result.json measured and lists."""
    try:
        stored = read_result(folder)
    except InputError as error:
        raise error.about(what) from error
    return visit_of(stored, what)


def visit_of(stored: StoredResult, what: str) -> Visit:
    """One date from a result that was read.

    Args:
        stored: its mask and images have to be those that its result.json lists with their hashes.
        what: its role, for messages, such as ``EARLIER``.

    Raises:
        InputError: if a file of it cannot be used.
    """
    try:
        report = stored.report
        transform = report.transforms.get(report.input.reference or "")
        if transform is None or not report.volumes_ml:
            raise InputError("result.json states no volumes or no transform", fix="run hope segment again")
        files = [
            (output, facts) for output, _, facts in stored.files() if output.role in (Role.SEGMENTATION, Role.IMAGE)
        ]
        if any(not facts.sha256 for _, facts in files):
            raise InputError("result.json lists mask or images without their hashes", fix="run hope segment again")
        listed = {output.sequence for output, _ in files if output.role is Role.IMAGE}
        images = {s: stored.path_of(Role.IMAGE, Space.ATLAS, str(s)) for s in BEST_FIRST if str(s) in listed}
        to_labels = Transform(np.array(transform.atlas_to_native_ras_mm))
        labels = check_peds(stored.labels())
    except InputError as error:
        raise error.about(what) from error
    except ValueError as error:
        raise InputError(f"{RESULT} of {what} holds a transform that is none") from error
    # Delivered images show what the scans show, but no more than the model wants to see.
    brain_only = HeadState.BRAIN in (report.input.head_state, report.model.head_state)
    volumes, model = dict(report.volumes_ml), report.model
    scan = report.input.sequences.get(report.input.reference or "")
    sha256 = (scan.sha256 if scan else None) or ""
    dicom = stored.reference_from_dicom
    said = (flag.reason for flag in worst_first(report.qc) if flag.severity == Severity.WARNING)
    warnings = tuple(text for text in (stored.correction_note, *said) if text)
    return Visit(
        *(stored.case_id, labels, images, to_labels, volumes, model.id, brain_only, model.sha256, sha256, dicom),
        warnings=warnings,
    )


def _of_scans(folder: Path, what: str) -> Visit:
    with reading(what):
        files = sorted(path for path in folder.iterdir() if path.name.endswith((".nii", ".nii.gz")))
    named: dict[MRSequence, list[tuple[Path, bool]]] = {}
    masks = []
    for path in files:
        stem = path.name.removesuffix(".gz").removesuffix(".nii")
        if stem.endswith(("-seg", "_seg", "_dseg")) or stem in ("seg", "mask"):
            masks.append(path)
        elif name := read_name(path):
            named.setdefault(name.sequence, []).append((path, name.exact))
    images = {sequence: _the_one(claims, sequence, what) for sequence, claims in named.items()}
    if len(masks) != 1 or not images:
        got = f"{counted(len(masks), 'masks')} and {counted(len(images), 'scans')}"
        raise InputError(f"{what} cannot be compared", expected="one mask (<case>-seg.nii.gz) and its t1c", got=got)
    labels = check_peds(read_labels(masks[0], f"mask of {what}"))
    likelier = likelier_scheme(labels.data, PEDS.name)
    odd = (
        f"the labels of its mask lie in one another as those of the {likelier} scheme do, which has other numbers "
        "than 1 ET, 2 NET, 3 CC, 4 ED"
    )
    reference = next(sequence for sequence in BEST_FIRST if sequence in images)
    # The mask lies on the grid of one scan; scans in other worlds cannot be used.
    image, _ = read_scan(images[reference], f"{reference} of {what}")
    refuse_other_grid(labels.grid, image.grid)
    counts = count_voxels(labels.data)
    volumes = {key: VolumeMl(ml=round(count * labels.grid.voxel_volume_ml, 3)) for key, count in counts.items()}
    used = {reference: images[reference]}
    brain_only, sha256 = shows_brain_only(image), hash_volume(image)
    identity = Transform.identity()
    return Visit(
        *(what.lower(), labels, used, identity, volumes),
        brain_only=brain_only,
        scan_sha256=sha256,
        warnings=(odd,) if likelier else (),
    )


def _the_one(claims: Sequence[tuple[Path, bool]], sequence: MRSequence, what: str) -> Path:
    """The file that is named as a sequence; one that follows a scheme to the letter goes before freer ones."""
    best = [path for path, exact in claims if exact] or [path for path, _ in claims]
    if len(best) > 1:
        fix = "leave one of them in the directory, the one that the mask lies on"
        raise InputError(f"{what} has {len(best)} scans that are named as {sequence}", expected="one", fix=fix)
    return best[0]
