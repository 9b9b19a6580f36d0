"""Synthetic series through grouping, geometry checks and dcm2niix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hope.domain.errors import InputError
from hope.domain.grid import ALL_ORIENTATIONS, Grid
from hope.domain.volume import Volume
from hope.formats.dicom import convert_series, is_dicom, read_series
from hope.testing.dicom_series import SeriesRecipe, write_series


def _volume(slices: int = 10, orientation: str = "LPS", oblique: bool = True) -> Volume:
    affine = np.diag([2.0, 2.5, 5.0, 1.0])
    if oblique:
        c, s = np.cos(0.15), np.sin(0.15)
        affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ affine[:3, :3]
    affine[:3, 3] = [-20, 30, -10]
    grid = Grid((16, 14, slices), affine).reoriented(orientation)
    return Volume(np.random.default_rng(3).integers(0, 900, grid.shape).astype(np.float32), grid)


@pytest.mark.parametrize("orientation", [*[o for o in ALL_ORIENTATIONS if o[2] in "SI"][::3], "PSR", "LSA"])
def test_every_voxel_lands_where_it_was(tmp_path: Path, orientation: str) -> None:
    volume = _volume(orientation=orientation)
    write_series(volume, tmp_path / "in", SeriesRecipe(5, "t1"))
    (series,) = read_series(tmp_path / "in")
    assert series.fault == ""
    assert series.slices == volume.data.shape[2]
    converted, facts = convert_series(series, tmp_path, "t1c")
    assert facts.nan_count == 0
    one, two = volume.reoriented("RAS"), converted.reoriented("RAS")
    assert one.grid.same_as(two.grid)
    assert np.array_equal(one.data, two.data)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_nested_mixed_directories_are_grouped(tmp_path: Path) -> None:
    write_series(_volume(), tmp_path / "a" / "b", SeriesRecipe(7, "t2", "ax T2"))
    write_series(_volume(), tmp_path / "a", SeriesRecipe(3, "t1"))
    (tmp_path / "a" / "readme.txt").write_text("not an image")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "broken").write_bytes(bytes(128) + b"DICM" + b"\x00\x01garbage")
    (tmp_path / "image.nii.gz").write_bytes(b"\x1f\x8b")
    found = read_series(tmp_path)
    assert [s.number for s in found] == [3, 7]
    assert [s.te_ms for s in found] == [12, 95]
    assert found[0].voxel_mm == pytest.approx((2.5, 2.0, 5.0))
    assert found[0].study_uid == found[1].study_uid != ""
    assert not is_dicom(tmp_path / "a" / "readme.txt")


def test_echoes_of_one_series_are_two_stacks(tmp_path: Path) -> None:
    write_series(_volume(), tmp_path / "e1", SeriesRecipe(4, "t2", tags={"EchoTime": 15, "EchoNumbers": 1}))
    write_series(_volume(), tmp_path / "e2", SeriesRecipe(4, "t2", tags={"EchoTime": 90, "EchoNumbers": 2}))
    assert sorted(s.te_ms or 0 for s in read_series(tmp_path)) == [15, 90]


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (SeriesRecipe(1, "t1", skip=(4,)), "missing or uneven: 5.0 to 10.0 mm"),
        (SeriesRecipe(1, "t1", repeat=(4, 5)), "2 slices lie where another one lies"),
        (SeriesRecipe(1, "t1", shear_mm=0.8), "gantry tilt"),
    ],
)
def test_bad_stacks_are_refused_with_the_reason(tmp_path: Path, recipe: SeriesRecipe, says: str) -> None:
    write_series(_volume(), tmp_path / "in", recipe)
    (series,) = read_series(tmp_path / "in")
    with pytest.raises(InputError, match=says):
        convert_series(series, tmp_path, "t1c")


def test_mixed_orientations_are_refused(tmp_path: Path) -> None:
    write_series(_volume(), tmp_path / "in", SeriesRecipe(1, "t1"))
    for file in write_series(_volume(oblique=False), tmp_path / "other", SeriesRecipe(1, "t1")):
        file.rename(tmp_path / "in" / f"x{file.name}")
    (series,) = read_series(tmp_path / "in")
    assert "several orientations" in series.fault


def test_pixels_that_cannot_be_read_are_one_sentence(tmp_path: Path) -> None:
    for file in write_series(_volume(), tmp_path / "in", SeriesRecipe(1, "t1")):
        file.write_bytes(file.read_bytes()[:-300])
    (series,) = read_series(tmp_path / "in")
    with pytest.raises(InputError, match="t1c"):
        convert_series(series, tmp_path, "t1c")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_values_that_break_the_standard_do_not_break_the_reading(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    files = write_series(_volume(), tmp_path / "in", SeriesRecipe(12, "t1", "ax T1"))
    for file in files:
        raw = file.read_bytes()
        file.write_bytes(raw.replace(b"IS\x02\x0012", b"IS\x02\x00Jo"))
    (series,) = read_series(tmp_path / "in")
    assert series.number is None
    assert "Jo" not in "".join(str(w.message) for w in recwarn) + "".join(capfd.readouterr())


def test_no_dicom_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="no DICOM images"):
        read_series(tmp_path)
