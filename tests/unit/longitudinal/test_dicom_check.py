"""A DICOM directory that gives a date its day has to hold the scan of that date: no growth reads as shrinkage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner

import hope
from hope.cli import main
from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.dicom import convert_series, read_series
from hope.formats.nifti import write_labels, write_scan
from hope.longitudinal import compare as compare_module
from hope.longitudinal.dicom_check import check_directories
from hope.longitudinal.visits import read_visit
from hope.stages.intake.intake import hash_volume
from hope.stages.preprocess.align_check import Agreement
from hope.stages.preprocess.register import RigidFit
from hope.testing.dicom_series import SeriesRecipe, write_series
from hope.testing.stored_results import labelled, write_stored_result

GRID = Grid((24, 20, 12), np.array([[1.0, 0, 0, -11], [0, 1.0, 0, -23], [0, 0, 3.0, -17], [0, 0, 0, 1]]))
DAYS = ("20191231", "20200401")


class Date(NamedTuple):
    """A date of a patient: its scans in DICOM, and a result or a mask with its t1c."""

    dicom: Path
    visit: Path


def made_date(folder: Path, seed: int, kind: str, grid: Grid = GRID) -> Date:
    """A date; ``kind`` is ``dicom`` or ``nifti``, what the result was made from, or ``scans``, a mask and its t1c."""
    data = np.random.default_rng(seed).integers(0, 900, grid.shape).astype(np.float32)
    recipe = SeriesRecipe(4, "t1", study=folder.name, tags={"StudyDate": DAYS[seed]})
    write_series(Volume(data, grid), folder / "dicom", recipe)
    # Another series of the same date on the same grid: its voxels are those of no result.
    recipe = SeriesRecipe(2, "t2", study=folder.name, tags={"StudyDate": DAYS[seed]})
    write_series(Volume(data[::-1].copy(), grid), folder / "dicom" / "t2", recipe)
    t2, t1 = read_series(folder / "dicom")
    assert (t2.number, t1.number) == (2, 4)
    volume, _ = convert_series(t1, folder, "t1c")
    visit = folder / "visit"
    if kind == "scans":
        visit.mkdir()
        write_scan(volume, visit / "x-t1c.nii.gz")
        write_labels(labelled(volume.grid), visit / "x-seg.nii.gz")
        return Date(folder / "dicom", visit)
    sha256 = hash_volume(volume) if kind == "dicom" else "0" * 64
    write_stored_result(visit, labelled(volume.grid), scan_sha256=sha256, from_dicom=kind == "dicom")
    transform = {"atlas_to_native_ras_mm": np.eye(4).tolist()}
    rewrite(visit, lambda facts: facts.update(transforms={"t1c": transform}))
    return Date(folder / "dicom", visit)


def rewrite(visit: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what result.json says."""
    path = visit / "result.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    change(facts)
    path.write_text(json.dumps(facts), encoding="utf-8")


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heads of both dates lie in one place."""
    fit = RigidFit(Transform.identity(), "as they are", Agreement(1.5, 1.0), Agreement(1.5, 1.0))
    monkeypatch.setattr(compare_module, "register_rigid", lambda *_: fit)


def by_command(visits: list[Path], dicom: list[Path]) -> str:
    options = [text for folder in dicom for text in ("--dicom", str(folder))]
    run = CliRunner().invoke(main, ["compare", *map(str, visits), *options])
    assert run.exit_code == 2, run.output
    return run.stderr


def by_python(visits: list[Path], dicom: list[Path]) -> str:
    with pytest.raises(InputError) as refused:
        hope.compare(*visits, dicom=dicom)
    return str(refused.value)


@pytest.mark.parametrize("refused", [by_command, by_python])
@pytest.mark.parametrize("kinds", [("dicom", "dicom"), ("nifti", "dicom"), ("dicom", "scans"), ("scans", "scans")])
def test_directories_in_the_wrong_order_are_refused(
    tmp_path: Path, kinds: tuple[str, str], refused: Callable[[list[Path], list[Path]], str]
) -> None:
    a, b = (made_date(tmp_path / name, seed, kinds[seed]) for seed, name in enumerate("ab"))
    said = refused([a.visit, b.visit], [b.dicom, a.dicom])
    assert "is the DICOM directory of another date (expected the scan that result " in said
    assert "give the DICOM directories in the order of the results" in said
    assert str(tmp_path) not in said and "2020" not in said and "compared in time" not in said


def test_a_directory_without_the_scan_of_a_result_is_refused(tmp_path: Path) -> None:
    a, b = (made_date(tmp_path / name, seed, "dicom") for seed, name in enumerate("ab"))
    other = Grid(GRID.shape, GRID.affine_ras_mm + np.diag([0.1, 0, 0, 0]))
    moved = made_date(tmp_path / "moved", 1, "dicom", other)
    for stranger in (moved.dicom, b.dicom / "t2"):
        said = by_python([a.visit, b.visit], [a.dicom, stranger])
        assert "--dicom 2 lacks the scan that result 2 was made on" in said and "--days instead" in said


def test_right_directories_pass_without_a_word(tmp_path: Path) -> None:
    a, b = (made_date(tmp_path / name, seed, "dicom") for seed, name in enumerate("ab"))
    in_time = [read_visit(a.visit, "EARLIER"), read_visit(b.visit, "LATER")]
    assert check_directories(in_time, [a.dicom, b.dicom], [0, 1]) == []
    assert check_directories(in_time, [b.dicom, a.dicom], [1, 0]) == []


def test_a_result_that_was_not_made_from_dicom_is_said_not_to_be_checked(tmp_path: Path) -> None:
    a, b = (
        made_date(tmp_path / name, seed, kind) for seed, (name, kind) in enumerate([("a", "dicom"), ("b", "nifti")])
    )
    in_time = [read_visit(a.visit, "EARLIER"), read_visit(b.visit, "LATER")]
    # A study in DICOM whose t1c was given as NIfTI says nothing else.
    rewrite(b.visit, lambda facts: facts.update(series_selection={"series": [{"series": 3, "taken_as": "t2w"}]}))
    mixed = [in_time[0], read_visit(b.visit, "LATER")]
    assert [visit.from_dicom for visit in mixed] == [True, False]
    (caution,) = {
        *check_directories(in_time, [a.dicom, b.dicom], [0, 1]),
        *check_directories(mixed, [a.dicom, b.dicom], [0, 1]),
    }
    assert "of date 2 could not be checked, since its result was not made from DICOM" in caution


@pytest.mark.usefixtures("still")
def test_the_caution_stands_in_the_comparison(tmp_path: Path) -> None:
    a, b = (made_date(tmp_path / name, seed, "scans") for seed, name in enumerate("ab"))
    c = made_date(tmp_path / "c", 1, "scans", Grid((20, 20, 12), GRID.affine_ras_mm))
    # The masks' own directories are known by their voxels; a foreign one is not, and was made from no DICOM.
    found = hope.compare(b.visit, a.visit, dicom=[c.dicom, a.dicom], out=tmp_path / "out")
    assert [visit.days for visit in found.visits] == [0, 92]
    assert "DICOM directory of date 2 could not be checked" in found.cautions[0]
    for name in ("comparison.json", "report.html"):
        assert "could not be checked" in (tmp_path / "out" / name).read_text(encoding="utf-8")
    assert not any(
        "could not be checked" in text for text in hope.compare(b.visit, a.visit, dicom=[b.dicom, a.dicom]).cautions
    )
    options = ["--dicom", str(c.dicom), "--dicom", str(a.dicom)]
    run = CliRunner().invoke(main, ["compare", str(b.visit), str(a.visit), *options])
    assert run.exit_code == 0, run.output
    assert "could not be checked" in run.stdout and "they are compared in time" in run.stderr
