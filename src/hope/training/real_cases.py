"""Labelled cases of real patients, brought to the model's grid by the same stages that inference uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.box import bounding_box
from hope.domain.case import SEQUENCES, AlignedCase, HeadState
from hope.domain.errors import InputError
from hope.domain.labels import SCHEMAS, label_set
from hope.domain.progress import Progress
from hope.domain.volume import Volume
from hope.formats.atomic import clear_partial_files
from hope.formats.hashing import sha256_of
from hope.formats.nifti import read_labels
from hope.formats.private_directory import private_directory
from hope.models.model_grid import to_model_grid
from hope.models.normalise import zscore_inside
from hope.ports import BrainExtractor
from hope.stages.intake.intake import CaseSource, load_case
from hope.stages.preprocess.preprocess import preprocess
from hope.stages.resample import resample
from hope.training.config import TrainingConfig
from hope.training.stored import Sample, core_kind, write_sample
from hope.training.turns import small_turn

_SAME_GRID_MM = 0.1
_MARGIN_MM = 16
"""Kept around the brain, so that a turned copy is not cut."""
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
            got=", ".join(path.name for path in found) or "none",
            fix="add the mask (all 0 where there is no tumour)" if not found else "keep one of them there",
        )
    return found[0]


@dataclass(frozen=True)
class LabelledCase:
    """A case at 1 mm, cropped to the brain with a margin.

    Attributes:
        images: (4, i, j, k) float32 in channel order, RAS; a missing sequence is all 0.
        inside: (i, j, k) the brain.
        sets: (i, j, k) uint8 bit sets of the peds labels that each voxel may have.
    """

    images: npt.NDArray[np.float32]
    inside: npt.NDArray[np.bool_]
    sets: npt.NDArray[np.uint8]

    def at(self, spacing_mm: float) -> Sample:
        """Shrunk to the model's isotropic spacing, as the runtime does it."""
        inner = self.inside.astype(np.float32)
        fine = (1.0, 1.0, 1.0)
        small = to_model_grid(np.concatenate([self.images * inner, inner[None]]), fine, spacing_mm)
        codes = np.unique(self.sets)
        shares = to_model_grid(np.stack([self.sets == code for code in codes]).astype(np.float32), fine, spacing_mm)
        sets = codes[shares.argmax(axis=0)]
        # Shrinking pads with zeros where the spacing does not divide: background, whatever the codes are.
        sets[shares.max(axis=0) <= 0] = label_set(0)
        return zscore_inside(small[:-1], small[-1] > 0.5).astype(np.float16), sets.astype(np.uint8)

    def turned(self, rng: np.random.Generator) -> LabelledCase:
        """A copy turned by up to 15 degrees about each axis, scaled by 0.85 to 1.15, and mirrored half of the time."""
        linear = small_turn(rng, 15) @ np.diag(rng.uniform(0.95, 1.05, 3)) / rng.uniform(0.85, 1.15)
        if rng.random() < 0.5:
            linear = linear @ np.diag([-1.0, 1.0, 1.0])
        middle = (np.array(self.inside.shape) - 1) / 2
        offset = middle - linear @ middle
        images = np.stack(
            [ndimage.affine_transform(image, linear, offset, order=1, output=np.float32) for image in self.images]
        )
        inside = ndimage.affine_transform(self.inside.astype(np.float32), linear, offset, order=1) > 0.5
        sets = ndimage.affine_transform(self.sets, linear, offset, order=0, cval=label_set(0))
        return LabelledCase(images, inside, np.asarray(sets, dtype=np.uint8))


def read_labelled(source: CaseSource, scheme: str, brain: BrainExtractor) -> LabelledCase:
    """Read one case with the segmentation that lies beside its scans, on the grid of its t1c.

    Args:
        source: the case.
        scheme: label scheme of the segmentation.
        brain: for scans that still show the head.

    Raises:
        InputError: if there is not one segmentation, it lies on another grid, or its labels do not fit the scheme.
    """
    with private_directory() as scratch:
        case = load_case(source, preprocessed=None, scratch=scratch)
        aligned = preprocess(case, HeadState.BRAIN, brain)
    truth = _segmentation(source, aligned, scheme)
    on_atlas = resample(truth, aligned.grid, aligned.atlas_to_native[aligned.reference], "nearest")
    return labelled_case(aligned, on_atlas, scheme)


def labelled_case(aligned: AlignedCase, on_atlas: Volume, scheme: str) -> LabelledCase:
    """A case for training.

    Args:
        aligned: images and brain on the 1 mm atlas grid.
        on_atlas: its labels in ``scheme`` on the same grid.
        scheme: name of a label scheme.
    """
    sets = SCHEMAS[scheme].label_sets(on_atlas.reoriented().data)
    images = [
        aligned.images[s].reoriented().data if s in aligned.images else np.zeros(sets.shape, np.float32)
        for s in SEQUENCES
    ]
    inside = aligned.brain_mask.reoriented().data
    box = bounding_box(inside, _MARGIN_MM) or (slice(None),) * 3
    return LabelledCase(
        np.stack([image[box] for image in images]).astype(np.float32), inside[box].astype(bool), sets[box]
    )


def load_samples(
    sources: Sequence[CaseSource], scheme: str, spacing_mm: float, brain: BrainExtractor, progress: Progress
) -> list[Sample]:
    """Read labelled cases for training into memory; see ``read_labelled``.

    Args:
        sources: cases with a segmentation beside them.
        scheme: label scheme of the segmentations.
        spacing_mm: the model's isotropic voxel size.
        brain: for scans that still show the head.
        progress: called for each case.
    """
    samples = []
    for number, source in enumerate(sources):
        progress(f"train: read {source.case_id}", number / max(len(sources), 1))
        samples.append(read_labelled(source, scheme, brain).at(spacing_mm))
    return samples


def store_cases(
    sources: Sequence[CaseSource],
    config: TrainingConfig,
    folder: Path,
    brain: BrainExtractor,
    progress: Progress,
) -> dict[str, tuple[str, list[Path]]]:
    """Shrink labelled cases once and keep them on disk, each with its turned copies; what is there is not made again.

    Args:
        sources: cases with a segmentation beside them.
        config: scheme, voxel size, seed and number of copies.
        folder: where the files go; made if need be.
        brain: for scans that still show the head.
        progress: called for each case.

    Returns:
        Per case id its kind (``hope.training.stored``), and the file of the case itself followed by those of its
        copies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clear_partial_files(folder)
    stored: dict[str, tuple[str, list[Path]]] = {}
    for number, source in enumerate(sources):
        progress(f"train: read {source.case_id}", number / max(len(sources), 1))
        name = _name_of(source, config)
        there = sorted(folder.glob(f"{name}-*.npz"))
        if len(there) != config.real_copies + 1:
            there = _store(read_labelled(source, config.scheme, brain), name, config, folder)
        kind = there[0].stem.split("-")[-1]
        stored[source.case_id] = (kind, there)
    return stored


def _store(case: LabelledCase, name: str, config: TrainingConfig, folder: Path) -> list[Path]:
    whole = case.at(config.spacing_mm)
    kind = core_kind(whole[1])
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, int(name[:8], 16)]))
    paths = [folder / f"{name}-{copy:02d}-{kind}.npz" for copy in range(config.real_copies + 1)]
    for copy, path in enumerate(paths):
        write_sample(path, case.turned(rng).at(config.spacing_mm) if copy else whole)
    return paths


def _name_of(source: CaseSource, config: TrainingConfig) -> str:
    """Of a case's files: another case, or the same one after a change, has another name; a copy of it has not."""
    files = [*source.files.values(), segmentation_of(source)]
    facts = [(path.name, sha256_of(path)) for path in sorted(files) if path.is_file()]
    text = repr([source.case_id, facts, config.scheme, config.spacing_mm, config.seed])
    return sha256(text.encode()).hexdigest()[:12]


def _segmentation(source: CaseSource, aligned: AlignedCase, scheme: str) -> Volume:
    """The case's segmentation in its own scheme on the grid of its reference scan."""
    native = aligned.native_grid
    truth = read_labels(segmentation_of(source)).reoriented(native.orientation)
    if not truth.grid.same_as(native, _SAME_GRID_MM):
        raise InputError(
            f"the segmentation of {source.case_id} does not lie on the grid of its {aligned.reference}",
            expected=f"shape {native.shape}, corners within {_SAME_GRID_MM} mm",
            got=f"shape {truth.grid.shape}, {truth.grid.largest_corner_distance_mm(native):.1f} mm off at a corner",
        )
    try:
        SCHEMAS[scheme].label_sets(truth.data)
    except ValueError as error:
        others = [name for name, other in SCHEMAS.items() if set(np.unique(truth.data).tolist()) <= {0, *other.values}]
        raise InputError(
            f"the segmentation of {source.case_id} does not fit --scheme: {error}",
            fix=f"its labels would fit --scheme {' or '.join(others)}" if others else "",
        ) from error
    return Volume(truth.data, native)


def by_kind(stored: Mapping[str, tuple[str, list[Path]]]) -> dict[str, list[Path]]:
    """The files of ``store_cases`` per kind of case, as ``CasePool`` takes them."""
    files: dict[str, list[Path]] = {}
    for kind, paths in stored.values():
        files.setdefault(kind, []).extend(paths)
    return files
