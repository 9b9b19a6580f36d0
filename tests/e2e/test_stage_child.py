"""A real child process through all four stages: labels as the command line gives them.

The case is on the atlas already, and the command line's answer is the shared one: `tests/unit/jobs/test_bodies.py` and
`tests/e2e/test_page_whole_way.py` have the stages on raw scans.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.unit.jobs.driving import child, job_in

from hope.domain.case import SEQUENCES
from hope.formats.nifti import read_labels
from hope.formats.nifti_clean import clean_nifti

CASE = "case-0123abcd"


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_child_gives_the_same_labels_as_the_command_line(
    tmp_path: Path, models_dir: Path, preprocessed_case_dir: Path, tiny_result: Path
) -> None:
    stages = tmp_path / "stages"
    (stages / "in").mkdir(parents=True)
    for sequence in SEQUENCES:
        scan = preprocessed_case_dir / f"{preprocessed_case_dir.name}-{sequence}.nii.gz"
        clean_nifti(scan, stages / "in" / f"{sequence}.nii", sequence, 2**40)
    choice = {"model": "tiny"}
    environment = {"HOPE_MODELS_DIR": str(models_dir), "HOPE_DEVICE": "cpu"}
    with child("hope.jobs.bodies", tmp_path / "err", **environment) as driven:
        for stage in ("preprocess", "harmonize", "segment", "postprocess"):
            job = job_in(stages, stage, CASE, choice=choice)
            answer, reported = driven.answer(job, 500)
            assert "done" in answer, (answer, (tmp_path / "err").read_text())
            shares = [line["share"] for line in reported if "share" in line]  # signs of life come in between
            assert stage == "harmonize" or shares[-1] > 0.9
            for artifact in answer["done"]["artifacts"]:
                shutil.copy(Path(job["out"]) / artifact["name"], stages / "in")

    folder, out = tiny_result, stages / "out-postprocess"
    at_once = json.loads((folder / "result.json").read_text())
    one_by_one = json.loads((out / "result.json").read_text())
    for name in ("seg", "seg-atlas"):
        expected = read_labels(folder / f"{folder.name}-{name}.nii.gz")
        assert expected.data.any(), "a test of labels needs some"
        assert read_labels(out / f"{CASE}-{name}.nii.gz").same_as(expected)
    for key in ("volumes_ml", "qc", "tumour_found", "postprocess", "transforms", "brain_mask", "model"):
        assert one_by_one[key] == at_once[key], key
    assert (tmp_path / "err").read_text() == ""
