"""A corrected mask has figures of its own, and its picture shows no more of the head than the run's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hope.contract.outputs import CORRECTION_FILES, Role
from hope.contract.report import CaseReport
from hope.domain.grid import Grid
from hope.domain.labels import ET
from hope.domain.volume import Volume
from hope.formats.nifti import write_labels, write_scan
from hope.stages.postprocess.lesions import measure_lesions
from hope.stages.report import preview
from hope.stages.report.correction import write_correction
from hope.stages.report.face_free import BRAIN_ONLY, WHOLE_HEAD, near_labels
from hope.testing.stored_results import labelled, write_stored_result

GRID = Grid((60, 60, 60), np.diag([2.0, 2.0, 2.0, 1.0]))


WARNING = {"code": "different_patients", "severity": "warning", "sequence": "", "reason": "t1n is of another patient"}


def corrected(folder: Path, shows: str, empty: bool = False) -> tuple[CaseReport, Path]:
    """Facts and picture of a correction: a smaller mask on a scan with texture everywhere."""
    mask = labelled(GRID)
    write_stored_result(folder / "run", mask)
    facts = json.loads((folder / "run" / "result.json").read_text())
    facts["measurements"] = measure_lesions(mask).model_dump(mode="json")
    facts["qc"].append(WARNING)
    for file in facts["files"]:
        if file["role"] == Role.PICTURE:
            file["detail"] = shows
    (folder / "facts.json").write_text(json.dumps(facts))
    textured = np.random.default_rng(1).normal(100, 20, GRID.shape).astype(np.float32)
    write_scan(Volume(textured, GRID), folder / "scan.nii.gz")
    smaller = np.zeros(GRID.shape, np.uint8)
    smaller[28:33, 28:36, 30] = 0 if empty else ET
    write_labels(Volume(smaller, GRID), folder / "mask.nii.gz")
    (folder / "out").mkdir()
    volumes = {key: {"ml": 0.0 if empty else 0.32} for key in ("ET", "NET", "CC", "ED", "TC", "WT")}
    write_correction(folder / "facts.json", folder / "scan.nii.gz", folder / "mask.nii.gz", volumes, folder / "out")
    report = CaseReport.stored(json.loads((folder / "out" / CORRECTION_FILES[Role.CORRECTED_FACTS]).read_text()))
    return report, folder / "out" / CORRECTION_FILES[Role.CORRECTED_PICTURE]


def test_diameters_are_those_of_the_corrected_mask(tmp_path: Path) -> None:
    report, _ = corrected(tmp_path, BRAIN_ONLY)
    assert report.corrected and report.measurements is not None
    (lesion,) = report.measurements.lesions
    assert lesion.ml == pytest.approx(0.32)
    assert lesion.axial is not None and lesion.axial.long.mm < 20


def test_the_picture_shows_the_head_only_where_the_runs_picture_did(tmp_path: Path) -> None:
    bright = {}
    for shows in (BRAIN_ONLY, WHOLE_HEAD):
        (tmp_path / shows[:5]).mkdir()
        _, picture = corrected(tmp_path / shows[:5], shows)
        bright[shows] = float((np.asarray(Image.open(picture).convert("L")) > 60).mean())
    assert bright[BRAIN_ONLY] < 0.6 * bright[WHOLE_HEAD]


def test_nothing_is_left_farther_from_a_label_than_stated() -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[30, 30, 30] = ET
    seen = near_labels(Volume(np.ones(GRID.shape, np.float32), GRID), Volume(labels, GRID)).data
    far = np.linalg.norm((np.argwhere(seen) - 30) * 2.0, axis=1).max()
    assert 18 <= far <= 24
    empty = near_labels(Volume(np.ones(GRID.shape, np.float32), GRID), Volume(np.zeros(GRID.shape, np.uint8), GRID))
    assert not empty.data.any()


def test_an_empty_correction_says_that_no_tumour_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(preview, "_draw_header", lambda _canvas, _title, state, notice: said.extend((state, notice)))
    corrected(tmp_path, BRAIN_ONLY, empty=True)
    assert said[1].endswith("1 warning in the report."), "what is wrong with the scans holds for every mask"
    assert "Expected quality" not in said[1]
    assert said[0] == "No tumour found: no voxel was labelled. Nothing of the scan is shown"
    assert said[1].startswith("Corrected by hand. Without a label")
