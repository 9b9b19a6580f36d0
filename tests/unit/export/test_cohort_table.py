"""A table of results: one row a case, every column explained."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hope.cli import main
from hope.domain.case import SEQUENCES
from hope.domain.feature_names import FEATURE_NAMES
from hope.domain.grid import Grid
from hope.formats.nifti import read_labels, read_scan, write_labels
from hope.stages.postprocess.radiomics import tumour_features
from hope.testing.stored_results import MODEL_SHA256, labelled, write_stored_result

GRID = Grid((14, 16, 13), np.diag([1.0, 2.0, 5.0, 1.0]))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_what_is_passed_over_is_said_and_a_changed_mask_is_refused(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for case in ("case-a", "case-b", "case-c"):
        write_stored_result(results / case, labelled(GRID), case_id=case)
    (results / "case-b" / "result.json").rename(results / "case-b" / "result-v1.json")
    (results / "case-c" / "result.json").unlink()
    shutil.copy(results / "case-a" / "result.json", results / "case-a" / "result-v2.json")
    call = ["cohort", "table", str(results), "-o", str(tmp_path / "all.csv")]

    done = CliRunner().invoke(main, call)

    assert done.exit_code == 0, done.stderr
    assert [row["case_id"] for row in rows_of(tmp_path / "all.csv")] == ["case-a"]
    assert "1 directory that holds a correction without its run (result-v*.json" in done.stderr
    assert "1 directory without a result.json" in done.stderr
    assert "1 correction by hand (result-v*.json): the figures are those of the runs" in done.stderr
    write_labels(labelled(GRID, (1, 2)), results / "case-a" / "case-a-seg.nii.gz")
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 2 and "case-a: the" in done.stderr and "changed since it was measured" in done.stderr
    (results / "case-a" / "case-a-seg.nii.gz").unlink()
    assert CliRunner().invoke(main, call).exit_code == 0


def test_one_row_a_case_and_every_column_in_the_dictionary(tmp_path: Path) -> None:
    found = write_stored_result(tmp_path / "results" / "b", labelled(GRID), case_id="case-b")
    write_stored_result(tmp_path / "results" / "a", labelled(GRID, ()), case_id="case-a")
    (tmp_path / "results" / ".case-c.part").mkdir()

    done = CliRunner().invoke(main, ["cohort", "table", str(tmp_path / "results"), "-o", str(tmp_path / "all.csv")])

    assert done.exit_code == 0, done.stderr
    none, some = rows_of(tmp_path / "all.csv")
    assert (none["case_id"], none["tumour_found"], none["WT_ml"]) == ("case-a", "false", "0")
    assert (some["case_id"], some["tumour_found"], some["missing"]) == ("case-b", "true", "t1n")
    for key in ("ET", "NET", "CC", "ED", "TC", "WT"):
        assert float(some[f"{key}_ml"]) == pytest.approx(found.volumes_ml[key].ml, rel=1e-5)
        assert float(some[f"{key}_high_ml"]) == pytest.approx(1.2 * found.volumes_ml[key].ml, rel=1e-5)
    assert (some["expected_quality"], some["expected_dice_WT"], some["expected_dice_ET"]) == ("check", "0.81", "")
    assert (some["cautions"], some["warnings"]) == ("thick_slices", "")
    assert (some["model"], some["model_version"], some["model_sha256"]) == ("starter", "3", MODEL_SHA256)
    explained = json.loads((tmp_path / "all-dictionary.json").read_text())
    assert ["case_id", *explained] == list(some)
    assert all(entry["description"] for entry in explained.values())
    assert (explained["WT_ml"]["unit"], explained["WT_ml"]["kind"]) == ("ml", "number")
    assert explained["model"]["kind"] == "category"


def test_two_results_of_one_case_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_stored_result(tmp_path / "results" / name, labelled(GRID))

    done = CliRunner().invoke(main, ["cohort", "table", str(tmp_path / "results"), "-o", str(tmp_path / "all.csv")])

    assert done.exit_code == 2
    assert "holds case case-0a1b twice" in done.stderr
    assert not (tmp_path / "all.csv").exists()


@pytest.mark.parametrize("content", ["{", "[1]", '{"case_id": 3}'])
def test_a_damaged_result_is_said_in_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "result.json").write_text(content)

    done = CliRunner().invoke(main, ["cohort", "table", str(tmp_path / "results"), "-o", str(tmp_path / "all.csv")])

    assert done.exit_code == 2
    assert done.stderr == "hope: result.json cannot be read (expected a file that hope segment wrote)\n"


def test_radiomics_are_those_of_the_atlas_files_and_who_has_none_is_named(tmp_path: Path) -> None:
    write_stored_result(tmp_path / "results" / "a", labelled(GRID), case_id="case-a", textured=True)
    write_stored_result(tmp_path / "results" / "b", labelled(GRID), case_id="case-b", atlas=True)

    command = ["cohort", "table", str(tmp_path / "results"), "--radiomics", "-o", str(tmp_path / "all.csv")]
    done = CliRunner().invoke(main, command)

    assert done.exit_code == 0, done.stderr
    assert "case-b has no radiomics: radiomics needs all four sequences" in done.stderr
    with_all, without = rows_of(tmp_path / "all.csv")
    explained = json.loads((tmp_path / "all-dictionary.json").read_text())
    assert ["case_id", *explained] == list(with_all)
    assert all(without[name] == "" for name in FEATURE_NAMES)
    assert float(with_all["wt_shape_VoxelVolume"]) == 10 * 12 * 8
    folder = tmp_path / "results" / "a"
    labels = read_labels(folder / "case-a-seg-atlas.nii.gz")
    images = {s: read_scan(folder / f"case-a-{s}-atlas.nii.gz", s)[0] for s in SEQUENCES}
    for name, value in tumour_features(images, labels).items():
        assert float(with_all[name]) == pytest.approx(value, rel=1e-4, abs=1e-9), name
    alone = CliRunner().invoke(main, ["cohort", "table", str(tmp_path / "results" / "b"), *command[3:], "--replace"])
    assert alone.exit_code == 2 and "no result has radiomics" in alone.stderr
