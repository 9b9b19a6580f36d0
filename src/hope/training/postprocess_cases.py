"""Cases to learn post-processing from: four images, a prediction and the truth, all on the atlas grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hope.domain.case import MRSequence
from hope.domain.errors import InputError, StageError
from hope.domain.labels import PEDS, SCHEMAS
from hope.domain.progress import Progress, silent
from hope.domain.volume import Volume
from hope.formats.names import public_case_name
from hope.formats.nifti import read_labels
from hope.formats.reading import reading
from hope.stages.postprocess.atlas_images import find_images, in_one_order, read_images
from hope.training.lesion_tables import make_table
from hope.training.postprocess_fit import FitCase

RESULT: Final = "result.json"
"""Lies in every case directory that `hope segment` wrote; <case>-seg.nii.gz there is the model's answer, no truth."""

VOXEL_ML: Final = 0.001
VOXEL_TOLERANCE_ML: Final = 1e-5

_ENDINGS = (".nii.gz", ".nii")
_PREDICTION_NAMES = ("{case}/{case}-seg-atlas", "{case}/{case}-seg", "{case}-seg-atlas", "{case}-seg", "{case}")
_TRUTH_NAMES = ("{case}/{case}-seg", "{case}/{case}_seg", "{case}-seg", "{case}_seg", "{case}")


@dataclass(frozen=True)
class LabelledFiles:
    """Where one case lies.

    Attributes:
        shown: a name that carries no identity.
        images: file per sequence; may lack some.
        prediction: peds mask.
        truth: mask in the user's scheme.
    """

    shown: str
    images: Mapping[MRSequence, Path]
    prediction: Path
    truth: Path


@dataclass(frozen=True)
class CaseList:
    """What was read.

    Attributes:
        cases: to learn from.
        notes: sentences on cases that were left out and on headers that had to be overruled.
    """

    cases: tuple[FitCase, ...]
    notes: tuple[str, ...]


def find_labelled(folders: Sequence[Path], predictions: Path | None, truth: Path | None) -> list[LabelledFiles]:
    """Find cases with a prediction and a truth.

    A case is a directory with images in it, whose names give the case its name; what is given may be such a directory,
    or one that holds them. Masks are looked for in the directories named for them, as CASE/CASE-seg-atlas.nii.gz (what
    `hope segment` writes), CASE/CASE-seg.nii.gz, CASE-seg.nii.gz or CASE.nii.gz; without such a directory beside the
    images: the prediction as CASE-seg-atlas.nii.gz, the truth as CASE-seg.nii.gz, but never in a directory that
    `hope segment` wrote, where that name is a prediction's.

    Args:
        folders: what the user gave.
        predictions: directory of the predictions, or None.
        truth: directory of the truths, or None.

    Raises:
        InputError: if there is no case, or one lacks a mask, or two have one name.
    """
    found: dict[str, LabelledFiles] = {}
    for folder in folders:
        for inside in _case_folders(folder):
            case, images = find_images(inside)
            shown = public_case_name(case) or f"case {len(found) + 1}"
            if case in found:
                raise InputError(f"{shown} is there twice", fix="give each case once")
            prediction = _mask(predictions or inside, _PREDICTION_NAMES if predictions else ("{case}-seg-atlas",), case)
            if prediction is None:
                raise InputError(
                    f"{shown} has no prediction",
                    expected="<case>/<case>-seg-atlas.nii.gz or <case>.nii.gz in the directory of predictions",
                    fix="" if predictions else "name the directory with --predictions DIR",
                )
            found[case] = LabelledFiles(shown, images, prediction, _truth(inside, truth, case, shown))
    if not found:
        raise InputError("there is no case to learn from", expected="directories with the images of one case each")
    return [found[case] for case in sorted(found)]


def read_labelled(
    files: Sequence[LabelledFiles], scheme: str, with_features: bool, progress: Progress = silent
) -> CaseList:
    """Read cases, count their tables, and compute their features.

    Cases in which the model found no tumour, or whose features cannot be computed, are left out and counted in the
    notes: the rules will never be applied to such a case either.

    Args:
        files: from ``find_labelled``.
        scheme: label scheme of the truths.
        with_features: whether the images are needed.
        progress: called for each case.

    Raises:
        InputError: naming the case that cannot be used.
    """
    cases, empty, moved = [], 0, 0
    failed: list[str] = []
    for number, one in enumerate(files):
        progress(f"postprocess: read {one.shown}", number / len(files))
        prediction = read_labels(one.prediction, f"the prediction of {one.shown}")
        _check_prediction(prediction, one.shown)
        drawn = read_labels(one.truth, f"the truth of {one.shown}")
        true, elsewhere = in_one_order(drawn, prediction, f"the truth of {one.shown}")
        moved += elsewhere
        try:
            peds = SCHEMAS[scheme].convert_to_peds(true.data)
        except ValueError as error:
            raise InputError(f"the truth of {one.shown} does not fit --scheme: {error}") from error
        table = make_table(prediction.data, peds, scheme)
        if not table.has_tumour:
            empty += 1
            continue
        features = None
        if with_features:
            try:
                features = _features(one, prediction)
            except StageError as error:
                failed.append(f"{one.shown} is left out, its features cannot be computed: {error}")
                continue
        cases.append(FitCase(table, features))
    notes = list(failed)
    if empty:
        notes.append(f"{empty} case{'' if empty == 1 else 's'} left out: the model found no tumour in them")
    if moved:
        notes.append(f"in {moved} case{'' if moved == 1 else 's'} the headers of prediction and truth differ: compared "
                     "voxel by voxel, as `hope evaluate` does")  # fmt: skip
    return CaseList(tuple(cases), tuple(notes))


def _features(one: LabelledFiles, prediction: Volume) -> Mapping[str, float]:
    from hope.stages.postprocess.radiomics import tumour_features

    try:
        images = read_images(one.images, prediction)
    except InputError as error:
        raise InputError(f"{one.shown}: {error}") from error
    return tumour_features(images, prediction)


def _case_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError("the cases are not there", expected="a directory of one case, or of such directories")
    if find_images(folder)[1]:
        return [folder]
    with reading("the directory of cases"):
        inner = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return [entry for entry in inner if find_images(entry)[1]]


def _mask(folder: Path, names: Sequence[str], case: str) -> Path | None:
    """The first of these names that is a file in the directory."""
    candidates = (folder / (name.format(case=case) + ending) for name in names for ending in _ENDINGS)
    return next((path for path in candidates if path.is_file()), None)


def _truth(inside: Path, truth: Path | None, case: str, shown: str) -> Path:
    found, fix = None, "name the directory with --truth DIR"
    if truth is not None:
        found, fix = _mask(truth, _TRUTH_NAMES, case), ""
    elif not (inside / RESULT).exists():
        found = _mask(inside, ("{case}-seg", "{case}_seg"), case)
    if found is None or (found.parent / RESULT).exists():
        raise InputError(f"{shown} has no truth", expected="<case>-seg.nii.gz drawn by a person", fix=fix)
    return found


def _check_prediction(prediction: Volume, shown: str) -> None:
    unknown = sorted(set(prediction.data[prediction.data > 0].tolist()) - set(PEDS.values))
    if unknown:
        raise InputError(
            f"the prediction of {shown} holds labels that are not of the peds scheme", got=", ".join(map(str, unknown))
        )
    if abs(prediction.grid.voxel_volume_ml - VOXEL_ML) > VOXEL_TOLERANCE_ML:
        raise InputError(
            f"the prediction of {shown} is not on the atlas grid, whose voxels the sizes count",
            expected="voxels of 1 mm3",
            got=f"{prediction.grid.voxel_volume_ml * 1000:.3g} mm3",
            fix="give <case>-seg-atlas.nii.gz, not the mask on the scan's own grid",
        )
