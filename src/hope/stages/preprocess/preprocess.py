"""BraTS-order preprocessing: raw scans in, all sequences on the 1 mm atlas grid out, transforms kept.

Bias-corrected temporary copies steer registration and brain extraction. The images themselves are interpolated
once, from the uncorrected scans straight onto the atlas grid. One thread beside the caller's does what does not wait
for anything: registration holds Python's lock, brain extraction, N4 and interpolation do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from hope.domain.case import SEQUENCES, AlignedCase, HeadState, MRSequence, UploadedCase
from hope.domain.errors import InputError, StageError
from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.progress import Progress, silent
from hope.domain.qc import QCFlag, Severity
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.atlas import atlas_brain
from hope.formats.voxel_order import in_index_order
from hope.ports import BrainExtractor
from hope.stages.intake.misplaced import mirrored_flags
from hope.stages.masks import mask_ml, solid
from hope.stages.preprocess.atlas_place import place_flags
from hope.stages.preprocess.brainmask import FoundBrain, find_brain, joined, judged, keep_cut_tissue, mask_of_stripped
from hope.stages.preprocess.deface import deface
from hope.stages.resample import field_of_view, resample, resample_labels

_T1 = (MRSequence.T1C, MRSequence.T1N)
_T2 = (MRSequence.T2F, MRSequence.T2W)
_STATES = (HeadState.FULL, HeadState.DEFACED, HeadState.BRAIN)
_SPACING_TOLERANCE_MM = 0.05


@dataclass(frozen=True)
class _OnAtlas:
    """All sequences on the atlas grid, head as it came."""

    images: dict[MRSequence, Volume]
    mask: Volume
    to_scan: dict[MRSequence, Transform]
    flags: list[QCFlag]


def preprocess(
    case: UploadedCase, head_state: HeadState, brain: BrainExtractor, progress: Progress = silent
) -> AlignedCase:
    """Bring a case to the atlas grid with the head as the model wants it.

    Args:
        case: one to four sequences.
        head_state: what the images shall show; a head that lost more than that is left as it is, and flagged.
        brain: finds the brain in T1-weighted scans.
        progress: called for each step.

    Raises:
        InputError: if a case that is said to be preprocessed is not on an atlas-shaped grid.
        StageError: if the scans cannot be brought together.
    """
    done = _adopted(case, brain, progress) if case.preprocessed else _aligned(case, brain, progress)
    if case.preprocessed:
        done.flags.extend(place_flags(done.images[case.reference], done.mask, case.reference))
    progress("preprocess: head state", 0.97)
    shown, state_flags = _with_head_state(done, case.head_state, head_state)
    progress("preprocess: done", 1.0)
    return AlignedCase(
        case_id=case.case_id,
        images={name: shown[name] for name in SEQUENCES if name in shown},
        brain_mask=done.mask,
        head_state=max(case.head_state, head_state, key=_STATES.index),
        native_grid=case.scans[case.reference].grid,
        reference=case.reference,
        atlas_to_native=done.to_scan,
        flags=(*case.flags, *done.flags, *state_flags),
    )


def to_native(labels: Volume, case: AlignedCase) -> Volume:
    """Atlas labels on the reference scan's own grid, by linear shares through the inverse of the saved transform."""
    native = resample_labels(labels, case.native_grid, case.atlas_to_native[case.reference].inverse())
    return native.with_data(native.data.astype(np.uint8, copy=False))


def _adopted(case: UploadedCase, extractor: BrainExtractor, progress: Progress) -> _OnAtlas:
    """Take preprocessed images over voxel by voxel: their headers may lie, their voxel order does not."""
    images, to_scan = {}, {}
    for name, scan in case.scans.items():
        upright = scan.reoriented(ATLAS_GRID.orientation)
        _check_atlas_shaped(name, upright)
        images[name] = Volume(in_index_order(upright.data, np.dtype(np.float32)), ATLAS_GRID)
        to_scan[name] = Transform(upright.grid.affine_ras_mm @ np.linalg.inv(ATLAS_GRID.affine_ras_mm))
    progress("preprocess: brain mask", 0.2)
    if case.head_state is HeadState.BRAIN:
        return _OnAtlas(images, Volume(mask_of_stripped(list(images.values())), ATLAS_GRID), to_scan, [])
    unmoved = dict.fromkeys(images, Transform.identity())
    found, flags = _own_brain(images, case.reference, extractor)
    others = {n: partial(_own_brain, images, n, extractor) for n in _to_compare(images, case.reference, found)}
    found, more = _second_opinion(images[case.reference].grid, case.reference, found, unmoved, others)
    mask, last = _mask_on_atlas(found, Transform.identity(), case.reference)
    return _OnAtlas(images, mask, to_scan, flags + more + last)


def _check_atlas_shaped(name: MRSequence, upright: Volume) -> None:
    spacing_mm = np.array(upright.grid.spacing_mm)
    if upright.grid.shape == ATLAS_GRID.shape and np.abs(spacing_mm - 1.0).max() <= _SPACING_TOLERANCE_MM:
        return
    shape, spacing = "x".join(map(str, upright.grid.shape)), "x".join(f"{s:.2f}" for s in spacing_mm)
    raise InputError(
        f"{name} is not on the preprocessed atlas grid",
        expected="240x240x155 voxels of 1 mm",
        got=f"{shape} voxels of {spacing} mm",
        fix="run without --preprocessed to have it registered",
    )


def _aligned(case: UploadedCase, extractor: BrainExtractor, progress: Progress) -> _OnAtlas:
    """Register raw scans to the reference and on to the atlas, then interpolate once."""
    with ThreadPoolExecutor(1, "hope-preprocess") as beside:
        return _aligned_with(beside, case, extractor, progress)


def _aligned_with(beside: Executor, case: UploadedCase, extractor: BrainExtractor, progress: Progress) -> _OnAtlas:
    """`_aligned`, with an executor for what needs not be waited for at once."""
    # Imported late: a preprocessed case does without the libraries behind these, a fifth of a second.
    from hope.formats.itk import interpolated
    from hope.stages.preprocess.align import coverage, to_atlas, to_reference
    from hope.stages.preprocess.bias import correct_bias

    reference = case.reference
    progress("preprocess: even out the bias fields", 0.0)
    atlas = beside.submit(atlas_brain)
    later = {name: beside.submit(correct_bias, scan) for name, scan in case.scans.items() if name is not reference}
    first = {reference: correct_bias(case.scans[reference])}
    progress(f"preprocess: find the brain in {reference}", 0.1)
    stripped = case.head_state is HeadState.BRAIN
    if stripped:
        own: FoundBrain | None = FoundBrain(first[reference].with_data(mask_of_stripped([first[reference]])), 1.0)
        flags: list[QCFlag] = []
    else:
        own, flags = _own_brain(first, reference, extractor)
    corrected = {name: first[name] if name is reference else later[name].result() for name in case.scans}
    names = [] if stripped else _to_compare(corrected, reference, own)
    others = {name: beside.submit(_own_brain, corrected, name, extractor).result for name in names}
    between, fit_flags = to_reference(
        corrected, reference, own.mask if own else None, lambda text, share: progress(text, 0.4 + 0.3 * share)
    )
    flags += fit_flags
    if not stripped:
        progress("preprocess: compare brain masks", 0.7)
        own, more = _second_opinion(corrected[reference].grid, reference, own, between, others)
        flags += more
    progress(f"preprocess: register {reference} to the atlas", 0.75)
    onto_atlas, more = to_atlas(corrected[reference], reference, own.mask if own else None)
    to_scan = {name: onto_atlas.then(between[name]) for name in case.scans}
    grids = {name: scan.grid for name, scan in case.scans.items()}
    flags += more + coverage(grids, to_scan, mask_ml(own.mask if own else atlas.result()))
    progress("preprocess: interpolate", 0.85)
    read = {n: beside.submit(interpolated, scan, ATLAS_GRID, to_scan[n]) for n, scan in case.scans.items()}
    mask, more = _mask_on_atlas(own, onto_atlas, reference)
    images = {name: image.result() for name, image in read.items()}
    progress("preprocess: brain mask", 0.9)
    if own and not stripped:
        mask, cut = keep_cut_tissue(mask, images, _seen_by_all(case, to_scan))
        more += cut
    return _OnAtlas(images, mask, to_scan, flags + more + mirrored_flags(_inside(mask, images)))


def _own_brain(
    scans: Mapping[MRSequence, Volume], reference: MRSequence, extractor: BrainExtractor
) -> tuple[FoundBrain | None, list[QCFlag]]:
    """The brain as the reference scan shows it, or None with a flag."""
    try:
        found = find_brain(scans[reference], extractor)
    except StageError as error:
        return None, [QCFlag("brain_extraction_failed", Severity.WARNING, str(error), str(reference))]
    if found.usable:
        return found, []
    reason = f"the brain mask of {reference} is not used: {'; '.join(found.cautions)}"
    return None, [QCFlag("brain_extraction_failed", Severity.WARNING, reason, str(reference))]


def _to_compare(scans: Mapping[MRSequence, Volume], reference: MRSequence, own: FoundBrain | None) -> list[MRSequence]:
    """Scans whose brain mask is compared with the reference's: the other T1, or the other T2 to fill a gap."""
    kind = _T1 if reference in _T1 else _T2
    if kind is _T2 and own:
        return []
    return [name for name in kind if name is not reference and name in scans]


def _second_opinion(
    onto: Grid,
    reference: MRSequence,
    own: FoundBrain | None,
    between: Mapping[MRSequence, Transform],
    others: Mapping[MRSequence, Callable[[], tuple[FoundBrain | None, list[QCFlag]]]],
) -> tuple[FoundBrain | None, list[QCFlag]]:
    """Compare the reference's brain mask with that of other scans, each found when it is asked for.

    Args:
        onto: the reference's grid.
        reference: which scan that is.
        own: its mask, if one was found.
        between: reference world to each scan's world.
        others: the scans of `_to_compare`.
    """
    flags = []
    for name, look in others.items():
        there, failed = look()
        flags += failed
        if there is None:
            continue
        mapped = resample(there.mask.with_data(there.mask.data.astype(np.float32)), onto, between[name], "linear")
        other = judged(Volume(solid(mapped.data > 0.5), onto))
        if own is None:
            own = other
            continue
        own, more = joined(own, other, (str(reference), str(name)))
        flags += more
    if own and reference in _T2:
        reason = "the brain mask comes from a T2-weighted scan, for which the method was not made: look at the picture"
        flags.append(QCFlag("brain_mask_not_from_t1", Severity.WARNING, reason))
    return own, flags


def _mask_on_atlas(
    found: FoundBrain | None, to_reference_world: Transform, reference: MRSequence
) -> tuple[Volume, list[QCFlag]]:
    if found is None:
        reason = "no brain mask could be drawn from the scans; the atlas brain is used in its place"
        return atlas_brain(), [QCFlag("brain_mask_from_atlas", Severity.WARNING, reason)]
    # Linear and then half: a mask drawn on 5 mm slices becomes smooth instead of stepped.
    smooth = resample(
        found.mask.with_data(found.mask.data.astype(np.float32)), ATLAS_GRID, to_reference_world, "linear"
    )
    flags = [
        QCFlag("brain_mask_uncertain", Severity.WARNING, f"the brain mask is uncertain: {d}") for d in found.cautions
    ]
    return smooth.with_data(solid(smooth.data > 0.5)), flags


def _seen_by_all(case: UploadedCase, to_scan: Mapping[MRSequence, Transform]) -> npt.NDArray[np.bool_]:
    seen = np.ones(ATLAS_GRID.shape, dtype=bool)
    for name, scan in case.scans.items():
        seen &= field_of_view(scan.grid, ATLAS_GRID, to_scan[name])
    return seen


def _with_head_state(
    done: _OnAtlas, came: HeadState, wanted: HeadState
) -> tuple[dict[MRSequence, Volume], list[QCFlag]]:
    """Take away what the model does not want to see; what is already gone cannot be given back."""
    if _STATES.index(came) > _STATES.index(wanted):
        reason = f"the model was made for {wanted} heads, the scans show only {came}: expect a worse result"
        return done.images, [QCFlag("head_state_differs", Severity.WARNING, reason)]
    if came is wanted:
        return done.images, []
    if wanted is HeadState.DEFACED:
        return {name: deface(image, done.mask) for name, image in done.images.items()}, []
    return _inside(done.mask, done.images), []


def _inside(mask: Volume, images: Mapping[MRSequence, Volume]) -> dict[MRSequence, Volume]:
    """The images with 0 outside the brain."""
    empty = np.float32(0.0)
    return {name: image.with_data(np.where(mask.data, image.data, empty)) for name, image in images.items()}
