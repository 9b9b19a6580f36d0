"""What is odd about a DICOM series is said however it came: named, found in a directory, or uploaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from hope.domain.case import MRSequence
from hope.domain.progress import silent
from hope.formats.dicom import read_series
from hope.stages.intake.archive_series import series_in_study
from hope.stages.intake.case_finding import find_cases
from hope.stages.intake.intake import load_case
from hope.testing.dicom_series import SeriesRecipe, write_series
from hope.testing.head import HEAD_GRID, head_scan

LACKS = "it holds 24 images, while it speaks of 30"


@pytest.fixture
def short(tmp_path: Path) -> Path:
    scan = head_scan(2, grid=HEAD_GRID.with_spacing((3.0, 3.0, 7.0)))
    write_series(scan, tmp_path / "t2", SeriesRecipe(3, "t2", "t2", tags={"ImagesInAcquisition": 30}))
    return tmp_path / "t2"


@pytest.mark.parametrize("named", [False, True])
def test_a_case_has_the_warning(short: Path, tmp_path: Path, named: bool) -> None:
    (tmp_path / "scratch").mkdir()
    (source,) = find_cases([], {MRSequence.T2W: short}) if named else find_cases([short], {})
    case = load_case(source, preprocessed=None, scratch=tmp_path / "scratch")
    (flag,) = (flag for flag in case.flags if flag.code == "series_note")
    assert (flag.severity, flag.sequence, flag.reason) == ("warning", "t2w", f"t2w: {LACKS}")


@pytest.mark.parametrize(
    ("every", "stated_mm", "says"),
    [
        (2, 7.0, "its slices lie 14.0 mm apart, while it states 7.0 mm: of every 2 slices only one seems to be there"),
        (1, 7.0, ""),
        (1, 1.0, ""),  # the gap, of slices of 6 mm
    ],
)
def test_a_series_with_every_second_slice_is_told(tmp_path: Path, every: int, stated_mm: float, says: str) -> None:
    scan = head_scan(2, grid=HEAD_GRID.with_spacing((3.0, 3.0, 7.0)))
    missing = tuple(k for k in range(scan.grid.shape[2]) if k % every)
    tags = {"SpacingBetweenSlices": stated_mm, "SliceThickness": 6.0}
    write_series(scan, tmp_path / "t2", SeriesRecipe(3, "t2", "t2", tags=tags, skip=missing))
    (series,) = read_series(tmp_path / "t2")
    assert series.notes == ((says,) if says else ()) and not series.fault


def test_an_upload_has_the_warning(short: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (scan,), _ = series_in_study(short, tmp_path / "scratch", tmp_path / "out", 2**33, silent)
    assert f"t2w: {LACKS}." in scan["warnings"]
