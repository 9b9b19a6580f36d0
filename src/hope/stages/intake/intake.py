"""Intake: scans as they come to an `UploadedCase`, freed of identity, checked one by one and against each other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np

from hope.domain.case import SEQUENCES, HeadState, MRSequence, UploadedCase
from hope.domain.errors import AmbiguousInputError, InputError
from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.identity import identity_flags
from hope.domain.progress import Progress, silent
from hope.domain.qc import QCFlag, Severity
from hope.domain.volume import Volume
from hope.formats.budget import Budget, reading_one_case
from hope.formats.nifti import NiftiFacts
from hope.stages.intake.burned_in import drawing_flags
from hope.stages.intake.case_finding import CaseSource, find_cases
from hope.stages.intake.misplaced import misplaced_flags
from hope.stages.intake.quality import contrast_flags, head_state_of, scan_flags
from hope.stages.intake.scan_reading import NAMED, Found, overlay_flags, read_found, resolve_all
from hope.stages.intake.voxel_check import VoxelOpinion, check_sequences

__all__ = ["CaseSource", "cautions", "find_cases", "load_case"]

MIN_FIELD_OF_VIEW_MM = 60.0
MAX_FIELD_OF_VIEW_MM = 500.0
"""A head scan is never narrower or wider than this along any axis."""

MIN_OVERLAP = 0.25
"""Share of the smaller field of view that must lie within the other one, else the two cannot be one head."""

LOW_OVERLAP = 0.6
"""Overlap below this is flagged."""

MAX_LABEL_VALUES = 10
"""A scan with no more different values than this is a label volume."""

SAME_IMAGE_CORRELATION = 0.999999
"""Two scans on one grid that correlate more than this are one image, perhaps scaled."""

LOW_CONFIDENCE = 0.8
"""A sequence identified with less confidence is flagged."""

ATLAS_TOLERANCE = 1e-3
"""Spacing (mm) and direction cosines of a preprocessed scan may differ this much from 1 mm and straight axes."""

_PREPROCESSED_TOLERANCE_MM = 0.1
# Origins, once listed RAS, of the headers that BraTS releases carry: all mean one voxel grid, most are untrue.
_BRATS_ORIGINS_MM = ((-239.0, 0.0, 0.0), (0.0, 239.0, 0.0), (0.0, 0.0, 0.0))


def load_case(
    source: CaseSource, *, preprocessed: bool | None, scratch: Path, progress: Progress = silent
) -> UploadedCase:
    """Read and check the scans of one case.

    Args:
        source: where they lie, from `find_cases`.
        preprocessed: the scans are co-registered in atlas space already; None lets them decide (a flag says how).
        scratch: an existing directory for DICOM conversion and unpacking; nothing is kept there that the result needs.
        progress: called with what is being read.

    Returns:
        float32 scans on their own grids, with flags; nothing of names, dates or header texts.

    Raises:
        AmbiguousInputError: if it cannot be told which series is which, or the voxels speak against a name.
        InputError: if a scan is unusable, the scans cannot belong together, or reading them costs more than one case
            may (`hope.domain.limits.CASE_LIMITS`).
        OutputError: if the scratch directory cannot be written.
    """
    if source.problem:
        raise source.problem
    progress("intake: find the sequences", 0.0)
    with reading_one_case() as budget:
        resolved = resolve_all(source, scratch)
        found = resolved.found
        scans, facts = _read_scans(found, scratch, progress, budget)
    if not scans:
        raise InputError(
            "none of the sequences t1n, t1c, t2w, t2f was found", fix="name the scans by flags, such as --t1c FILE"
        )
    _refuse_same_image(scans)
    treated, why = _decide_preprocessed(scans, preprocessed)
    flags = [*source.flags, *resolved.flags, *(flag for one in found.values() for flag in one.flags)]
    flags += [*identity_flags({s: one.identity for s, one in found.items()}), *overlay_flags(found)]
    progress("intake: check quality", len(found) / (len(found) + 1))
    opinion = check_sequences(scans)
    _ask_if_mixed_up(opinion, found)
    head_state, disagree = head_state_of(list(scans.values()))
    flags += cautions(scans, facts, treated, opinion, disagree)
    flags += _notes(found, treated, why)
    progress("intake: done", 1.0)
    return UploadedCase(
        case_id=source.case_id,
        scans=scans,
        preprocessed=treated,
        head_state=head_state if not disagree else HeadState.FULL,
        input_sha256={sequence: hash_volume(scan) for sequence, scan in scans.items()},
        flags=tuple(flags),
        sources={s: {"confidence": f.confidence, "reason": f.reason} for s, f in found.items()},
        selection=resolved.selection,
    )


def _read_scans(
    found: Mapping[MRSequence, Found], scratch: Path, progress: Progress, budget: Budget
) -> tuple[dict[MRSequence, Volume], dict[MRSequence, NiftiFacts]]:
    """Each sequence's scan and what its file says; all of them count towards one budget."""
    scans: dict[MRSequence, Volume] = {}
    facts: dict[MRSequence, NiftiFacts] = {}
    for number, sequence in enumerate(s for s in SEQUENCES if s in found):
        progress(f"intake: read {sequence}", (number + 0.5) / (len(found) + 1))
        budget.hold()  # the scans before are no cost of this one
        scans[sequence], facts[sequence] = read_found(found[sequence], scratch, sequence)
        _refuse_unusable(scans[sequence], facts[sequence], sequence)
    return scans, facts


def cautions(
    scans: Mapping[MRSequence, Volume],
    facts: Mapping[MRSequence, NiftiFacts],
    treated: bool = False,
    opinion: VoxelOpinion | None = None,
    mixed_heads: bool | None = None,
) -> list[QCFlag]:
    """All remarks on the voxels of a case's scans, one by one and against each other.

    Args:
        scans: float32, finite, any grid.
        facts: what reading each showed.
        treated: they share one atlas grid already.
        opinion: what `check_sequences` said of them; it is asked if not given.
        mixed_heads: whether some show the brain alone and others the head; it is looked at if not given.

    Raises:
        InputError: if two scans cannot show one head.
    """
    flags = misplaced_flags(_listed_alike(scans)) if treated else _one_head(scans)
    opinion = opinion or check_sequences(scans)
    if opinion is not None and opinion.uncertain:
        reason = f"by their voxels, {opinion.message()}: look whether the scans were mixed up"
        flags.append(QCFlag("sequence_odd", Severity.WARNING, reason))
    for sequence, scan in scans.items():
        flags += [*scan_flags(scan, facts[sequence], sequence), *drawing_flags(scan, sequence)]
    if MRSequence.T1N in scans and MRSequence.T1C in scans:
        flags += contrast_flags(scans[MRSequence.T1N], scans[MRSequence.T1C])
    if head_state_of(list(scans.values()))[1] if mixed_heads is None else mixed_heads:
        reason = "some scans show the brain alone and others the head; all are treated as heads"
        flags.append(QCFlag("mixed_head_state", Severity.CAUTION, reason))
    return flags


def _listed_alike(scans: Mapping[MRSequence, Volume]) -> dict[MRSequence, Volume]:
    return {sequence: scan.reoriented(ATLAS_GRID.orientation) for sequence, scan in scans.items()}


def hash_volume(volume: Volume) -> str:
    """SHA-256 (hex) of a volume's shape, affine (to 0.0001 mm) and voxels, whatever file they came from."""
    digest = hashlib.sha256(np.array(volume.grid.shape, dtype="<i8").tobytes())
    digest.update((np.round(volume.grid.affine_ras_mm * 1e4) + 0.0).astype("<i8").tobytes())
    for k in range(volume.data.shape[2]):
        digest.update(np.asarray(volume.data[:, :, k], dtype="<f4").tobytes(order="F"))
    return digest.hexdigest()


def is_atlas_shaped(grid: Grid) -> bool:
    """Whether a grid is 240 x 240 x 155 at 1 mm on straight axes once listed RAS; its origin is not looked at."""
    canonical = grid.reoriented("RAS")
    straight = np.abs(canonical.affine_ras_mm[:3, :3] - np.eye(3)).max() <= ATLAS_TOLERANCE
    return canonical.shape == ATLAS_GRID.shape and bool(straight)


def _refuse_unusable(scan: Volume, facts: NiftiFacts, sequence: MRSequence) -> None:
    if facts.nan_count + facts.inf_count == scan.grid.voxel_count:
        raise InputError(
            f"{sequence} holds no number at all, every voxel is NaN or infinite", fix="export the scan again"
        )
    low, high = float(scan.data.min()), float(scan.data.max())
    if low == high:
        got = "every voxel is 0" if high == 0 else f"every voxel is {high:g}"
        raise InputError(f"{sequence} is an empty image", got=got, fix="export the scan again")
    if facts.distinct_values is not None and facts.distinct_values <= MAX_LABEL_VALUES:
        got = f"only {facts.distinct_values} different values"
        raise InputError(
            f"{sequence} looks like a label volume or a mask",
            expected="an MRI scan",
            got=got,
            fix="give the scan itself",
        )
    extent = [n * s for n, s in zip(scan.grid.shape, scan.grid.spacing_mm, strict=True)]
    if min(extent) < MIN_FIELD_OF_VIEW_MM or max(extent) > MAX_FIELD_OF_VIEW_MM:
        got = " x ".join(f"{x:.0f}" for x in extent) + " mm"
        expected = f"{MIN_FIELD_OF_VIEW_MM:g} to {MAX_FIELD_OF_VIEW_MM:g} mm along each axis"
        raise InputError(f"the field of view of {sequence} cannot be that of a head", expected=expected, got=got)


def _refuse_same_image(scans: Mapping[MRSequence, Volume]) -> None:
    canonical = {sequence: scan.reoriented("RAS").data for sequence, scan in scans.items()}
    for first, second in combinations(canonical, 2):
        one, two = canonical[first], canonical[second]
        if one.shape != two.shape:
            continue
        step = max(1, round((one.size / 200_000) ** (1 / 3)))
        some, others = (x[::step, ::step, ::step].astype(np.float64).ravel() for x in (one, two))
        same = np.array_equal(one, two)
        if not same and some.std() > 0 and others.std() > 0:
            same = float(np.corrcoef(some, others)[0, 1]) > SAME_IMAGE_CORRELATION
        if same:
            raise InputError(
                f"{first} and {second} are the same image", expected="different sequences", fix="give each its own scan"
            )


def _decide_preprocessed(scans: Mapping[MRSequence, Volume], asked: bool | None) -> tuple[bool, str]:
    if asked is False:
        return False, "as asked"
    why_not = _why_not_preprocessed(scans)
    if not why_not:
        return True, "as asked" if asked else "all scans share one 240 x 240 x 155 grid at 1 mm"
    if asked:
        fix = "leave out --preprocessed to have them registered"
        raise InputError(
            "the scans are not preprocessed", expected="one 240 x 240 x 155 grid at 1 mm", got=why_not, fix=fix
        )
    return False, why_not


def _why_not_preprocessed(scans: Mapping[MRSequence, Volume]) -> str:
    for sequence, scan in scans.items():
        if not is_atlas_shaped(scan.grid):
            shape = " x ".join(map(str, scan.grid.shape))
            spacing = " x ".join(f"{s:.2f}" for s in scan.grid.spacing_mm)
            return f"{sequence} of {shape} voxels at {spacing} mm" + (
                "" if shape != "240 x 240 x 155" else ", oblique or listed otherwise"
            )
    grids = {sequence: scan.grid.reoriented("RAS") for sequence, scan in scans.items()}
    (first, reference), *others = grids.items()
    for sequence, grid in others:
        distance = reference.largest_corner_distance_mm(grid)
        if distance > _PREPROCESSED_TOLERANCE_MM and not (_brats_header(reference) and _brats_header(grid)):
            return f"{sequence} lies {distance:.1f} mm from {first}"
    return ""


def _brats_header(grid: Grid) -> bool:
    origin = grid.affine_ras_mm[:3, 3]
    return any(np.abs(origin - known).max() <= _PREPROCESSED_TOLERANCE_MM for known in _BRATS_ORIGINS_MM)


def _one_head(scans: Mapping[MRSequence, Volume]) -> list[QCFlag]:
    flags = []
    for first, second in combinations(scans, 2):
        share = _overlap(scans[first].grid, scans[second].grid)
        if share < MIN_OVERLAP:
            raise InputError(
                f"{first} and {second} cannot show one head: their fields of view overlap by {100 * share:.0f} %",
                expected=f"at least {100 * MIN_OVERLAP:.0f} %",
                fix="give scans of one session with intact positions, for example converted again from DICOM",
            )
        if share < LOW_OVERLAP:
            reason = f"the fields of view of {first} and {second} overlap by {100 * share:.0f} % only"
            flags.append(QCFlag("small_overlap", Severity.CAUTION, reason))
    return flags


def _ask_if_mixed_up(opinion: VoxelOpinion | None, found: Mapping[MRSequence, Found]) -> None:
    """Ask where the voxels clearly speak against a name or tag; what the caller named himself gets a warning only."""
    if opinion is None or not opinion.disagrees:
        return
    odd = opinion.misnamed
    if not all(found[sequence].reason == NAMED for sequence in odd):
        raise AmbiguousInputError(
            f"the scans do not look like what names or tags say: {opinion.message()}",
            fix="look at them, and say which is which with " + " and ".join(f"--{sequence} FILE" for sequence in odd),
        )


def _overlap(one: Grid, two: Grid) -> float:
    """Volume that two upright bounding boxes (RAS+ mm) share, over the smaller one's."""
    boxes = [(grid.corners_ras_mm().min(axis=0), grid.corners_ras_mm().max(axis=0)) for grid in (one, two)]
    shared = np.clip(np.minimum(boxes[0][1], boxes[1][1]) - np.maximum(boxes[0][0], boxes[1][0]), 0, None).prod()
    return float(shared / max(1e-6, min(float((high - low).prod()) for low, high in boxes)))


def _notes(found: Mapping[MRSequence, Found], treated: bool, why: str) -> list[QCFlag]:
    code, how = (
        ("treated_as_preprocessed", "not registered") if treated else ("treated_as_raw", "registered to the atlas")
    )
    flags = [QCFlag(code, Severity.INFO, f"the scans were {how}: {why}")]
    for sequence, scan in found.items():
        if scan.confidence < LOW_CONFIDENCE:
            reason = f"{sequence} was identified with confidence {scan.confidence:.2f} only: {scan.reason}"
            flags.append(QCFlag("identification_uncertain", Severity.CAUTION, reason, sequence))
    return flags
