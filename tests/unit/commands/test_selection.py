"""hope segment --dry-run: the table of scans, without running anything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from hope.commands.segment import segment
from hope.domain.errors import AmbiguousInputError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.formats.nifti import write_scan
from hope.testing.dicom_series import SeriesRecipe, write_series


def _volume() -> Volume:
    grid = Grid((24, 24, 12), np.diag([8.0, 8.0, 12.0, 1.0]))
    return Volume(np.random.default_rng(1).integers(0, 900, grid.shape).astype(np.float32), grid)


def _run(*words: object) -> Result:
    return CliRunner().invoke(segment, [str(word) for word in words])


def test_a_dicom_study_is_listed_series_by_series(tmp_path: Path) -> None:
    for number, (kind, text) in enumerate((("t1", "t1 pre"), ("t2", "t2"), ("t2", "SWI"), ("flair", "")), start=2):
        write_series(_volume(), tmp_path / "in" / str(number), SeriesRecipe(number, kind, text))
    result = _run(tmp_path / "in", "--dry-run")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert any(line.startswith("  t1n  0.95  series 2") for line in lines)
    assert any("t1c  not given" in line for line in lines)
    assert any(line.lstrip().startswith("4 ") and "another kind of image" in line for line in lines)
    assert [p.name for p in tmp_path.iterdir()] == ["in"], "nothing is written"


def test_an_unclear_study_is_listed_and_asked(tmp_path: Path) -> None:
    for number, kind in enumerate(("t1", "t2"), start=2):
        write_series(_volume(), tmp_path / "in" / str(number), SeriesRecipe(number, kind, ""))
    result = _run(tmp_path / "in", "--dry-run")
    assert isinstance(result.exception, AmbiguousInputError)
    assert "contrast is not stated" in result.stdout and "T2-weighted" in result.stdout


def test_nifti_scans_are_listed_with_what_was_left_out(tmp_path: Path) -> None:
    (tmp_path / "sub-01").mkdir()
    for name in ("T1w", "T2w", "ADC"):
        write_scan(_volume(), tmp_path / "sub-01" / f"sub-01_{name}.nii.gz")
    (tmp_path / "sub-02").mkdir()
    result = _run(tmp_path, "--dry-run")
    assert result.exit_code == 0
    assert "left out: 1 scan that is none of the four sequences (adc)" in result.stdout
    assert "left out beside the cases: 1 empty directory" in result.stderr


def test_only_a_dry_run_does_without_an_output(tmp_path: Path) -> None:
    write_scan(_volume(), tmp_path / "x_t2w.nii.gz")
    result = _run(tmp_path)
    assert result.exit_code == 2 and "Missing option '-o' / '--output'" in result.stderr


@pytest.mark.parametrize("name", ["Givenmark_t1c", "Surnamemark_t2w"])
def test_no_name_is_printed(tmp_path: Path, name: str) -> None:
    (tmp_path / "Surnamemark").mkdir()
    write_scan(_volume(), tmp_path / "Surnamemark" / f"{name}.nii.gz")
    result = _run(tmp_path / "Surnamemark", "--dry-run")
    assert result.exit_code == 0 and "mark" not in json.dumps(result.output)
