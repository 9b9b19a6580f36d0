"""The stand-ins must answer as the real stages do, and misbehave as told."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.unit.jobs.driving import child, job_in

from hope.contract.report import CaseReport
from hope.domain.errors import InputError, StageError
from hope.domain.progress import silent
from hope.formats.nifti import read_labels, read_scan
from hope.testing import short_stages

STAGES = short_stages.STAGES


def all_stages(folder: Path, case: str = "case-00000001") -> dict:
    for stage in STAGES:
        job = job_in(folder, stage, case)
        done = short_stages.run(job, silent)
        for artifact in done["artifacts"]:
            shutil.copy(Path(job["out"]) / artifact["name"], folder / "in")
    return done


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOPE_SHORT_SECONDS", "noop")
    monkeypatch.setenv("HOPE_SHORT_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("HOPE_SHORT_DIR", str(tmp_path))


def test_the_last_stage_leaves_the_files_that_the_contract_names(tmp_path: Path) -> None:
    done = all_stages(tmp_path)
    public = {a["name"] for a in done["artifacts"] if a["public"]}
    case = "case-00000001"
    assert public >= {"result.json", "preview.png", "report.html", "volumes.csv"}
    assert public >= {f"{case}-{end}.nii.gz" for end in ("seg", "seg-atlas", "seg-model", "t1n-view", "t2f-atlas")}
    assert public >= {f"{case}-mesh-{label}.mz3" for label in ("ET", "NET", "CC", "ED")}
    assert all(bool(a["kind"]) == a["public"] for a in done["artifacts"])
    out = tmp_path / "out-postprocess"
    mask = read_labels(out / f"{case}-seg.nii.gz")
    assert mask.grid.orientation == "RAS"
    assert 0 < mask.data.max() <= 4
    assert read_scan(out / f"{case}-t1c-view.nii.gz", "t1c")[0].data.std() > 0
    facts = json.loads((out / "result.json").read_text())
    assert CaseReport.stored(facts).for_page() == done["result"]
    listed = {entry["name"] for entry in facts["files"]}
    assert listed == public - {"result.json"}
    assert facts["volumes_ml"]["WT"]["low_ml"] < facts["volumes_ml"]["WT"]["ml"]


def test_equal_cases_give_equal_bytes_and_others_do_not(tmp_path: Path) -> None:
    masks = []
    for name, case in (("a", "case-1"), ("b", "case-1"), ("c", "case-2")):
        all_stages(tmp_path / name, case)
        masks.append((tmp_path / name / "out-postprocess" / f"{case}-seg.nii.gz").read_bytes())
    assert masks[0] == masks[1] != masks[2]


def test_a_stage_that_misses_its_input_fails(tmp_path: Path) -> None:
    all_stages(tmp_path)
    (tmp_path / "in" / "harmonize-harmonized.json").unlink()
    with pytest.raises(StageError, match="harmonize"):
        short_stages.run(job_in(tmp_path, "segment"), silent)
    with pytest.raises(StageError):
        short_stages.run(job_in(tmp_path, "harmonize", "case-00000002"), silent)


def test_it_fails_as_often_as_told_and_for_each_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPE_SHORT_FAIL", "preprocess:2,segment:1:input")
    for case in ("case-1", "case-2"):
        for _ in range(2):
            with pytest.raises(StageError):
                short_stages.run(job_in(tmp_path, "preprocess", case), silent)
        assert short_stages.run(job_in(tmp_path, "preprocess", case), silent)["artifacts"]
    with pytest.raises(InputError):
        short_stages.run(job_in(tmp_path, "segment", "case-1"), silent)


def test_the_log_counts_what_began_and_what_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPE_SHORT_FAIL", "preprocess:1")
    with pytest.raises(StageError):
        short_stages.run(job_in(tmp_path, "preprocess"), silent)
    short_stages.run(job_in(tmp_path, "preprocess"), silent)
    pid = os.getpid()
    start, end = (f"{word} preprocess case-00000001 {pid}" for word in ("start", "end"))
    assert (tmp_path / "log").read_text().splitlines() == [start, start, end]


def test_seconds_may_differ_by_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPE_SHORT_SECONDS", "preprocess:0.2,segment:noop")
    shares: list[float] = []
    begin = time.monotonic()
    short_stages.run(job_in(tmp_path, "preprocess"), lambda message, share: shares.append(share))
    assert 0.2 <= time.monotonic() - begin < 20.0
    assert len(shares) >= 4
    assert shares == sorted(shares)


@pytest.mark.parametrize("task", ["dicom", "sample"])
def test_tasks_answer_with_four_series(tmp_path: Path, task: str) -> None:
    done = short_stages.run(job_in(tmp_path, task), silent)
    assert [s["sequence"] for s in done["result"]["series"]] == ["t1n", "t1c", "t2w", "t2f"]
    for entry in done["result"]["series"]:
        volume, _ = read_scan(tmp_path / f"out-{task}" / entry["file"], entry["key"])
        assert list(volume.grid.shape) == entry["shape"]
        assert volume.grid.orientation == entry["orientation"]


def test_a_corrected_mask_comes_back(tmp_path: Path) -> None:
    all_stages(tmp_path)
    job = job_in(tmp_path, "segmentation")
    shutil.copy(tmp_path / "out-postprocess" / "case-00000001-seg.nii.gz", tmp_path / "in" / "mask.nii.gz")
    done = short_stages.run(job, silent)
    assert read_labels(tmp_path / "out-segmentation" / "mask.nii.gz").data.any()
    assert done["result"]["volumes_ml"]["WT"]["ml"] > 0


def test_a_crash_leaves_no_answer_and_the_next_try_is_well(tmp_path: Path) -> None:
    for expected in (-signal.SIGKILL, 0):
        with child("hope.testing.short_stages", HOPE_SHORT_CRASH="preprocess:1") as driven:
            driven.send(job_in(tmp_path, "preprocess"))
            if expected:
                assert driven.process.wait(10) == expected
            else:
                while "done" not in driven.line():
                    pass


def test_a_stubborn_one_outlives_sigterm_but_not_sigkill(tmp_path: Path) -> None:
    with child("hope.testing.short_stages", HOPE_SHORT_STUBBORN="1", HOPE_SHORT_SECONDS="30") as driven:
        driven.send(job_in(tmp_path, "preprocess"))
        driven.line()
        driven.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            driven.process.wait(0.5)
        driven.process.kill()
        assert driven.process.wait(5) == -signal.SIGKILL


def test_it_starts_at_once_and_without_libraries() -> None:
    heavy = {"numpy", "torch", "nibabel", "scipy", "dbos", "fastapi"}
    program = f"import sys, hope.jobs.child, hope.testing.short_stages\nprint(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
