"""What harmonisation changed, and what is uncertain, is shown where the scan shows it, whatever its orientation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hope.contract.job import CaseRecord, CaseState
from hope.contract.outputs import OutputFile, Role
from hope.contract.report import CaseReport
from hope.contract.result import CaseResult
from hope.domain.case import (
    SEQUENCES,
    AlignedCase,
    HarmonizedCase,
    HeadState,
    MRSequence,
    Prediction,
    UploadedCase,
)
from hope.domain.grid import Grid
from hope.domain.labels import PEDS, REGION_NAMES
from hope.domain.progress import silent
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.nifti import read_labels, read_scan, write_labels
from hope.pipeline import Prepared, Segmented
from hope.stages.preprocess.preprocess import to_native
from hope.stages.report.preview import render_preview
from hope.stages.report.viewer_files import ViewerCase, write_viewer_files
from hope.web.serializers import case_out

T1N, T1C, T2W, _ = SEQUENCES
CASE = "case-0123abcd"
ATLAS = Grid((40, 44, 36), np.array([[-2.0, 0, 0, 39], [0, -2, 0, 43], [0, 0, 2, -35], [0, 0, 0, 1]]))
MARKER_MM = np.array([18.0, -11.0, 9.0])
"""In the atlas, off the middle of every axis, so that each flip moves it."""


def turned(degrees: float, *shift_mm: float) -> Transform:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return Transform(np.array([[c, -s, 0, shift_mm[0]], [s, c, 0, shift_mm[1]], [0, 0, 1, shift_mm[2]], [0, 0, 0, 1]]))


TO_NATIVE = {T1C: turned(12, 5, -4, 3), T1N: turned(-20, -9, 8, 1), T2W: turned(25, 7, 7, -6)}


def segmented(orientation: str, changed: tuple[MRSequence, ...]) -> Segmented:
    """Three sequences; those that were changed hold a marker in the brain and, as a whole head would, bright skin."""
    native = Grid((46, 30, 50), np.array([[2.0, 0, 0, -45], [0, 3.2, 0, -47], [0, 0, 1.8, -44], [0, 0, 0, 1]]))
    native = native.reoriented(orientation)
    places = ATLAS.to_world(np.moveaxis(np.indices(ATLAS.shape), 0, -1))
    brain = (places / (30, 34, 26)) ** 2 @ np.ones(3) < 1
    before = Volume(np.where(brain, 50, 0).astype(np.float32), ATLAS)
    marker = 900 * np.exp(-(((places - MARKER_MM) / 5) ** 2).sum(-1))
    after = Volume(np.where(brain, marker, 250).astype(np.float32), ATLAS)
    images = dict.fromkeys(TO_NATIVE, before)
    scans = {s: Volume(np.ones(native.shape, np.float32), native) for s in TO_NATIVE}
    aligned = AlignedCase(CASE, images, Volume(brain, ATLAS), HeadState.FULL, native, T1C, TO_NATIVE)
    harmonized = HarmonizedCase(aligned, images | dict.fromkeys(changed, after), "histogram" if changed else "none")
    uploaded = UploadedCase(CASE, scans, False, HeadState.FULL, dict.fromkeys(scans, "0" * 64))
    labels = Volume(np.zeros(ATLAS.shape, np.uint8), ATLAS)
    return Segmented(Prepared(uploaded, aligned, "none"), harmonized, Prediction(labels, {}, "none", "0" * 64), {})


def write(folder: Path, case: Segmented) -> dict[str, OutputFile]:
    """Write all files for the viewer; which is which by name."""
    aligned, labels = case.harmonized.aligned, case.prediction.labels
    native = to_native(labels, aligned)
    write_labels(native, folder / f"{CASE}-seg.nii.gz")
    none = {"ml": 0.0, "low_ml": 0.0, "high_ml": 0.0}
    volumes = dict.fromkeys([*(label.key for label in PEDS.labels), *REGION_NAMES], none)
    result = CaseResult(native, labels, CaseReport.stored({"case_id": CASE, "volumes_ml": volumes}))
    render_preview(
        Volume(np.ones(native.grid.shape, np.float32), native.grid), native, volumes, CASE, folder / "preview.png"
    )
    places = ATLAS.to_world(np.moveaxis(np.indices(ATLAS.shape), 0, -1))
    unsure = np.exp(-(((places - MARKER_MM) / 5) ** 2).sum(-1)).astype(np.float32)
    shown = ViewerCase(case.prepared.uploaded, case.harmonized, labels, (Volume(unsure, ATLAS), "what it means"))
    return {file.name(CASE): file for file in write_viewer_files(folder, shown, result, (1.0, 0.0), silent)}


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIL", "SRA"])
def test_the_changed_image_shows_at_its_place_in_the_scan(orientation: str, tmp_path: Path) -> None:
    """Of both sequences by the way of the reference, on whose grid they are shown; their own differs."""
    case = segmented(orientation, (T1C, T2W))
    kinds = write(tmp_path, case)
    mask = read_labels(tmp_path / f"{CASE}-seg.nii.gz")
    assert mask.grid.orientation == orientation
    brain = to_native(case.harmonized.aligned.brain_mask, case.harmonized.aligned).data
    for sequence in (T1C, T2W):
        name = f"{CASE}-{sequence}-harmonized-view.nii.gz"
        assert kinds[name] == OutputFile.of(Role.HARMONIZED_VIEW, sequence=str(sequence))
        view, _ = read_scan(tmp_path / name, sequence)
        assert view.grid.same_as(mask.grid)
        assert not view.data[brain == 0].any(), "only the brain is shown"
        bright = np.argwhere(view.data > 300)
        weights = view.data[tuple(bright.T)].astype(np.float64)
        place = view.grid.to_world((bright * weights[:, None]).sum(0) / weights.sum())
        assert np.linalg.norm(place - TO_NATIVE[T1C].apply(MARKER_MM)) < 0.5


@pytest.mark.parametrize("orientation", ["LPS", "SRA"])
def test_the_uncertainty_shows_at_its_place_in_the_scan(orientation: str, tmp_path: Path) -> None:
    case = segmented(orientation, ())
    name = f"{CASE}-uncertainty-view.nii.gz"
    assert write(tmp_path, case)[name].kind == "view of the uncertainty, 0 to 1: what it means"
    view, _ = read_scan(tmp_path / name, T1C)
    assert view.grid.same_as(case.harmonized.aligned.native_grid)
    assert 0.8 < view.data.max() <= 1.0 and view.data.min() == 0.0
    sure = np.argwhere(view.data > 0.3)
    weights = view.data[tuple(sure.T)].astype(np.float64)
    place = view.grid.to_world((sure * weights[:, None]).sum(0) / weights.sum())
    assert np.linalg.norm(place - TO_NATIVE[T1C].apply(MARKER_MM)) < 0.5


@pytest.mark.parametrize("orientation", ["RAS", "PIL"])
def test_the_brain_lies_on_the_grid_of_the_mask(orientation: str, tmp_path: Path) -> None:
    """Whether or not harmonisation changed an image; the brush of the page is kept to it."""
    case = segmented(orientation, ())
    name = f"{CASE}-brain-view.nii.gz"
    assert write(tmp_path, case)[name] == OutputFile.of(Role.BRAIN_VIEW)
    brain, mask = read_labels(tmp_path / name), read_labels(tmp_path / f"{CASE}-seg.nii.gz")
    assert brain.grid.same_as(mask.grid)
    assert set(np.unique(brain.data)) == {0, 1}
    # An ellipsoid of half axes 30, 34 and 26 mm; the transforms of this case keep volumes.
    assert abs(brain.data.sum() * brain.grid.voxel_volume_ml / 111.1 - 1) < 0.03
    middle = brain.grid.to_world(np.argwhere(brain.data).mean(axis=0))
    assert np.linalg.norm(middle - TO_NATIVE[T1C].apply(np.zeros(3))) < 0.5


@pytest.mark.parametrize("changed", [(), (T2W,)])
def test_what_was_passed_on_unchanged_has_one_view(changed: tuple[MRSequence, ...], tmp_path: Path) -> None:
    kinds = write(tmp_path, segmented("LPS", changed))
    found = {name for name in kinds if "harmonized" in name}
    assert found == {f"{CASE}-{s}-harmonized-view.nii.gz" for s in changed}
    assert found == {path.name for path in tmp_path.glob("*harmonized*")}
    assert {f"{CASE}-{s}-view.nii.gz" for s in TO_NATIVE} <= kinds.keys()


@pytest.mark.parametrize(
    "reported", [{}, {"asked": "histogram", "sequences": {"t1c": {"changed": False, "reason": "no"}}}]
)
def test_the_page_is_told_what_harmonisation_did(reported: dict[str, object]) -> None:
    answer = case_out(
        CaseRecord("id", "session", 1, CaseState.DONE, 0.0, result={"case_id": "x", "harmonization": reported})
    )
    assert (answer.harmonization and answer.harmonization.model_dump(exclude_unset=True)) == (reported or None)
