"""BIDS derivatives: names, sidecars and voxels. `make interop` asks the standard's own validator."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hope.cli import main
from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.export.bids import place_of
from hope.formats.nifti import read_labels
from hope.testing.stored_results import labelled, write_stored_result

GRID = Grid((14, 16, 13), np.diag([-1.0, 2.0, 5.0, 1.0]))
NAME = re.compile(
    r"(sub-[A-Za-z0-9]+)(_ses-[A-Za-z0-9]+)?(_ce-gadolinium)?_space-(orig|SRI24)(_label-WT|_desc-preproc)?"
    r"_(dseg|mask|T1w|T2w|FLAIR)\.(nii\.gz|json|tsv)"
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_stored_result(folder / "a", labelled(GRID), case_id="case-0a1b", atlas=True)
    write_stored_result(folder / "b", labelled(GRID, ()), case_id="sub-01_ses-02", atlas=True)
    return folder


def test_the_data_set_holds_every_case_under_names_of_the_standard(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "derivatives"
    done = CliRunner().invoke(main, ["bids", "export", str(results), "-o", str(out)])

    assert done.exit_code == 0, done.stderr
    description = json.loads((out / "dataset_description.json").read_text())
    assert (description["DatasetType"], description["GeneratedBy"][0]["Name"]) == ("derivative", "HOPE")
    ignored = (out / ".bidsignore").read_text().splitlines()
    assert "/hope" in ignored
    images = 0
    for path in (p for p in out.rglob("*") if p.is_file() and p.relative_to(out).parts[0].startswith("sub-")):
        name = NAME.fullmatch(path.name)
        assert name, path.name
        folder = [name[1], *([name[2][1:]] if name[2] else []), "anat"]
        assert list(path.relative_to(out).parts[:-1]) == folder
        if path.name.endswith(".nii.gz"):
            images += 1
            sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
            assert sidecar["SpatialReference"]
            for source in sidecar.get("Sources", []):
                assert (out / source.removeprefix("bids::")).is_file()
    assert images == 10
    assert (out / "hope" / "sub-case0a1b" / "result.json").is_file()


def test_masks_and_table_say_what_the_result_says(results: Path, tmp_path: Path) -> None:
    CliRunner().invoke(main, ["bids", "export", str(results / "a"), "-o", str(tmp_path / "out")])

    anat = tmp_path / "out" / "sub-case0a1b" / "anat"
    mask = labelled(GRID)
    assert read_labels(anat / "sub-case0a1b_space-orig_dseg.nii.gz", "mask").same_as(mask)
    whole = read_labels(anat / "sub-case0a1b_space-orig_label-WT_mask.nii.gz", "mask")
    assert np.array_equal(whole.data, (mask.data > 0).astype(np.uint8))
    rows = [line.split("\t") for line in (anat / "sub-case0a1b_space-orig_dseg.tsv").read_text().splitlines()]
    assert rows[0] == ["index", "name", "abbreviation", "color"]
    assert [row[0::2] for row in rows[1:]] == [["1", "ET"], ["2", "NET"], ["3", "CC"], ["4", "ED"]]


def test_a_directory_with_files_is_left_alone(results: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")

    done = CliRunner().invoke(main, ["bids", "export", str(results), "-o", str(tmp_path / "out")])

    assert done.exit_code == 2
    assert "not empty" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]


def test_two_cases_under_one_label_are_refused(tmp_path: Path) -> None:
    for name in ("case-12", "case1-2"):
        write_stored_result(tmp_path / "results" / name, labelled(GRID), case_id=name, atlas=True)

    done = CliRunner().invoke(main, ["bids", "export", str(tmp_path / "results"), "-o", str(tmp_path / "out")])

    assert done.exit_code == 2
    assert "case-12 and case1-2" in done.stderr
    assert not (tmp_path / "out").exists()


def test_labels_hold_letters_and_digits() -> None:
    assert place_of("BraTS-PED-00001-000").stem == "sub-BraTSPED00001000"
    assert place_of("sub-01_ses-pre2").stem == "sub-01_ses-pre2"
    with pytest.raises(InputError, match="no letter or digit"):
        place_of("--")
