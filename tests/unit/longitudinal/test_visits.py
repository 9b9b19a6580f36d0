"""A date read from a result: only from the files that its result.json lists and describes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.sequence import MRSequence
from hope.domain.volume import Volume
from hope.formats.nifti import read_labels, write_labels, write_scan
from hope.longitudinal.visits import read_visit
from hope.testing.stored_results import labelled, write_stored_result

SMALL = Grid((20, 20, 20), np.eye(4))


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what result.json says."""
    path = folder / "result.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    change(facts)
    path.write_text(json.dumps(facts), encoding="utf-8")


def at_the_atlas(facts: dict[str, Any]) -> None:
    facts["transforms"] = {"t1c": {"atlas_to_native_ras_mm": np.eye(4).tolist()}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "result"
    write_stored_result(folder, labelled(SMALL), atlas=True)
    rewritten(folder, at_the_atlas)
    return folder


@pytest.fixture
def result(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "result"))


def test_a_whole_result_is_read(result: Path) -> None:
    visit = read_visit(result, "EARLIER")
    assert set(visit.images) == {MRSequence.T1C, MRSequence.T2F}
    assert visit.volumes_ml["WT"].ml == pytest.approx(np.count_nonzero(visit.labels.data) / 1000)


@pytest.mark.parametrize(("name", "what"), [("seg", "segmentation"), ("t1c-atlas", "t1c on the atlas grid")])
def test_a_file_of_another_result_is_refused_in_a_sentence(result: Path, name: str, what: str) -> None:
    path = result / f"case-0a1b-{name}.nii.gz"
    mask = read_labels(result / "case-0a1b-seg.nii.gz", "mask")
    write_labels(mask.with_data(np.roll(mask.data, 3, axis=0) * (mask.data > 2)), path)
    with pytest.raises(InputError, match=f"LATER: the {what}.* was changed since it was measured") as refused:
        read_visit(result, "LATER")
    assert str(result.parent) not in str(refused.value)


def test_a_correction_beside_the_run_that_is_compared_is_a_warning(result: Path) -> None:
    (result / "result-v1.json").write_text("{}")
    assert read_visit(result, "LATER").warnings == (
        "case-0a1b was corrected by hand (result-v*.json), but the run (result.json) is taken",
    )


def test_warnings_of_a_result_are_warnings_of_its_date(result: Path) -> None:
    remarks = [("saturated", "caution"), ("unlike_training", "warning"), ("different_patients", "warning")]
    facts = [{"code": code, "severity": grade, "sequence": "", "reason": f"of {code}"} for code, grade in remarks]
    rewritten(result, lambda stored: stored.update(qc=facts))
    assert read_visit(result, "LATER").warnings == ("of different_patients", "of unlike_training")


def of_scans(folder: Path, labels: Volume, *scans: str) -> Path:
    folder.mkdir()
    write_labels(labels, folder / "x-seg.nii.gz")
    for name in scans:
        write_scan(labels.with_data(labels.data.astype(np.float32)), folder / name)
    return folder


def test_a_mask_in_the_numbers_of_adults_is_told(tmp_path: Path) -> None:
    grid = Grid((40, 40, 40), np.eye(4))
    distance = np.linalg.norm(np.indices(grid.shape) - 20, axis=0)
    adult = np.select([distance < 6, distance < 9, distance < 15], [1, 3, 2], 0).astype(np.uint8)
    child = np.select([distance < 6, distance < 9, distance < 15], [2, 1, 4], 0).astype(np.uint8)
    (said,) = read_visit(of_scans(tmp_path / "a", Volume(adult, grid), "x-t1c.nii.gz"), "EARLIER").warnings
    assert "brats2023" in said
    assert not read_visit(of_scans(tmp_path / "b", Volume(child, grid), "x-t1c.nii.gz"), "EARLIER").warnings


def test_two_scans_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = of_scans(tmp_path / "a", labelled(SMALL), "a-t1c.nii.gz", "b-t1c.nii.gz", "b-t2f.nii.gz")
    with pytest.raises(InputError, match="LATER has 2 scans that are named as t1c"):
        read_visit(folder, "LATER")


def test_no_name_in_a_result_leads_out_of_its_directory(result: Path) -> None:
    shutil.copy(result / "case-0a1b-seg.nii.gz", result.parent / "other-seg.nii.gz")
    rewritten(result, lambda facts: facts.update(case_id="../other"))
    with pytest.raises(InputError, match=r"EARLIER: case_id in result\.json is no name of a case"):
        read_visit(result, "EARLIER")
    rewritten(result, lambda facts: facts.update(case_id="case-0a1b"))

    def reach_out(facts: dict[str, Any]) -> None:
        facts["files"][0]["name"] = "../other-seg.nii.gz"

    rewritten(result, reach_out)
    with pytest.raises(InputError, match=r"EARLIER: result\.json names a file outside of its directory"):
        read_visit(result, "EARLIER")


def test_a_mask_without_a_stated_hash_is_refused(result: Path) -> None:
    rewritten(result, lambda facts: facts["files"][0].pop("sha256"))
    with pytest.raises(InputError, match="without their hashes"):
        read_visit(result, "EARLIER")


def test_a_name_to_the_letter_goes_before_a_freer_one(tmp_path: Path) -> None:
    folder = of_scans(tmp_path / "a", labelled(SMALL), "a-t1c.nii.gz", "a_t1c_brain.nii.gz")
    assert read_visit(folder, "LATER").images == {MRSequence.T1C: folder / "a-t1c.nii.gz"}
    (folder / "a-t1c.nii.gz").rename(folder / "a_t1c_bias.nii.gz")
    with pytest.raises(InputError, match="2 scans that are named as t1c"):
        read_visit(folder, "LATER")
