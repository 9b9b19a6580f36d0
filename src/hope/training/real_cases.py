"""The user's own labelled cases, brought to the model's grid by the same stages that inference uses."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hope.domain.case import SEQUENCES, AlignedCase, HeadState
from hope.domain.errors import InputError
from hope.domain.labels import SCHEMAS
from hope.domain.progress import Progress
from hope.domain.volume import Volume
from hope.formats.nifti import read_labels
from hope.models.model_grid import to_model_grid
from hope.models.normalise import zscore_inside
from hope.ports import BrainExtractor
from hope.stages.intake.intake import CaseSource, load_case
from hope.stages.preprocess.preprocess import preprocess
from hope.stages.resample import resample
from hope.training.pool import Sample

_SAME_GRID_MM = 0.1
_SEGMENTATION_ENDINGS = ("-seg.nii.gz", "_seg.nii.gz", "-seg.nii", "_seg.nii")


def segmentation_of(source: CaseSource) -> Path:
    """The segmentation that lies beside a case's scans.

    Raises:
        InputError: if there is none, or more than one.
    """
    folders = {path.parent for path in source.files.values()}
    found = sorted(p for f in folders for p in f.iterdir() if p.name.endswith(_SEGMENTATION_ENDINGS))
    if len(found) != 1:
        raise InputError(
            f"{source.case_id} cannot be trained on",
            expected="one <case>-seg.nii.gz beside the scans",
            got=str(len(found)),
        )
    return found[0]


def load_samples(
    sources: Sequence[CaseSource], scheme: str, spacing_mm: float, brain: BrainExtractor, progress: Progress
) -> list[Sample]:
    """Read labelled cases for training.

    Args:
        sources: cases with a segmentation beside them, on the grid of their t1c.
        scheme: label scheme of the segmentations.
        spacing_mm: the model's isotropic voxel size.
        brain: for scans that still show the head.
        progress: told of each case.

    Returns:
        Normalised images and peds labels on the model's grid, RAS.
    """
    samples = []
    for number, source in enumerate(sources):
        progress(f"train: read {source.case_id}", number / max(len(sources), 1))
        with tempfile.TemporaryDirectory(prefix="hope-train-") as scratch:
            case = load_case(source, preprocessed=None, scratch=Path(scratch))
            aligned = preprocess(case, HeadState.BRAIN, brain)
        peds = _peds_labels(source, aligned, scheme)
        to_native = aligned.atlas_to_native[aligned.reference]
        samples.append(sample_of(aligned, resample(peds, aligned.grid, to_native, "nearest"), spacing_mm))
    return samples


def sample_of(aligned: AlignedCase, on_atlas: Volume, spacing_mm: float) -> Sample:
    """A case for training.

    Args:
        aligned: images and brain on the 1 mm atlas grid; a missing sequence becomes all 0.
        on_atlas: peds labels on the same grid.
        spacing_mm: the model's isotropic voxel size.
    """
    labels = on_atlas.reoriented().data
    images = [
        aligned.images[s].reoriented().data if s in aligned.images else np.zeros(labels.shape, np.float32)
        for s in SEQUENCES
    ]
    return _at_model_spacing(np.stack(images), aligned.brain_mask.reoriented().data, labels, spacing_mm)


def _peds_labels(source: CaseSource, aligned: AlignedCase, scheme: str) -> Volume:
    """The case's segmentation in peds values on the grid of its reference scan."""
    native = aligned.native_grid
    truth = read_labels(segmentation_of(source)).reoriented(native.orientation)
    if not truth.grid.same_as(native, _SAME_GRID_MM):
        raise InputError(
            f"the segmentation of {source.case_id} does not lie on the grid of its {aligned.reference}",
            expected=f"shape {native.shape}, corners within {_SAME_GRID_MM} mm",
            got=f"shape {truth.grid.shape}, {truth.grid.largest_corner_distance_mm(native):.1f} mm off at a corner",
        )
    try:
        return Volume(SCHEMAS[scheme].convert_to_peds(truth.data), native)
    except ValueError as error:
        raise InputError(f"the segmentation of {source.case_id} does not fit --scheme: {error}") from error


def _at_model_spacing(
    images: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    inside: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    labels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    spacing_mm: float,
) -> Sample:
    """Shrink 1 mm data to the model's grid as the runtime does, cropped to the brain."""
    used = [np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    box = tuple(slice(max(int(u[0]) - 4, 0), int(u[-1]) + 5) for u in used)
    inner = np.ascontiguousarray(inside[box], dtype=np.float32)
    spacing = (1.0, 1.0, 1.0)
    small = to_model_grid(np.concatenate([images[(slice(None), *box)] * inner, inner[None]]), spacing, spacing_mm)
    shares = to_model_grid(np.stack([labels[box] == v for v in range(5)]).astype(np.float32), spacing, spacing_mm)
    return zscore_inside(small[:-1], small[-1] > 0.5).astype(np.float16), shares.argmax(axis=0).astype(np.uint8)
