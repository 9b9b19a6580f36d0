"""``hope.evaluate`` takes results, paths and images, and says what the command says."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

import hope
from hope.contract.report import CaseReport
from hope.contract.result import CaseResult
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.evaluation.evaluate import evaluate
from hope.formats.nifti import write_labels


@pytest.fixture
def masks() -> tuple[Volume, Volume]:
    grid = Grid((20, 18, 16), np.diag([1.0, 1.0, 2.0, 1.0]))
    ours, theirs = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    ours[4:12, 4:12, 4:12], theirs[5:13, 4:12, 4:12] = 1, 1
    ours[6:9, 6:9, 6:9], theirs[6:9, 6:9, 6:9] = 2, 3
    return Volume(ours, grid), Volume(theirs, grid)


def test_every_form_gives_the_same_scores(masks: tuple[Volume, Volume], tmp_path: Path) -> None:
    ours, theirs = masks
    write_labels(ours, tmp_path / "ours.nii.gz")
    write_labels(theirs, tmp_path / "theirs.nii.gz")
    expected = evaluate(ours, theirs)
    result = hope.Result(CaseResult(ours, ours, CaseReport(case_id="case-1")), {})
    truths = (theirs, tmp_path / "theirs.nii.gz", nib.load(tmp_path / "theirs.nii.gz"))
    forms = (ours, result, str(tmp_path / "ours.nii.gz"), sitk.ReadImage(str(tmp_path / "ours.nii.gz")))
    for prediction, truth in zip(forms, (*truths, truths[0]), strict=True):
        assert hope.evaluate(prediction, truth) == expected
    assert 0 < expected["regions"]["ET"]["dice"] < 1


def test_wrong_calls_are_refused(masks: tuple[Volume, Volume]) -> None:
    with pytest.raises(hope.InputError, match="there is no such scheme"):
        hope.evaluate(*masks, scheme="2019")
    with pytest.raises(hope.InputError, match="there is no such prediction_scheme"):
        hope.evaluate(*masks, prediction_scheme="2019")
    with pytest.raises(hope.InputError, match="truth is no image"):
        hope.evaluate(masks[0], masks[1].data)  # type: ignore[arg-type]
    wrong = masks[0].with_data(masks[0].data.astype(np.float32) + 0.5)
    with pytest.raises(hope.InputError, match="prediction is not a label volume"):
        hope.evaluate(wrong, masks[1])
