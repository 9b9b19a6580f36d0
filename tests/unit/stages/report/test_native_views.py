"""Views lie on the reference scan's grid, show the right place, and leave the reference scan as it is."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.grid import ALL_ORIENTATIONS, Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.nifti import read_scan, write_compact
from hope.stages.report.native_views import between_scans, native_view, write_view

T1N, T1C, T2W, T2F = SEQUENCES


def turned(degrees: float, shift: tuple[float, float, float]) -> Transform:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.array([[c, -s, 0, shift[0]], [s, c, 0, shift[1]], [0, 0, 1, shift[2]], [0, 0, 0, 1.0]])
    return Transform(matrix)


def blob(grid: Grid, centre_mm: np.ndarray) -> Volume:
    """A soft ball at a place in the world."""
    places = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return Volume((100 * np.exp(-(((places - centre_mm) / 8) ** 2).sum(-1))).astype(np.float32), grid)


def centre_of_mass_mm(volume: Volume) -> np.ndarray:
    index = np.argwhere(volume.data > 1)
    weights = volume.data[tuple(index.T)].astype(np.float64)
    return volume.grid.to_world((index * weights[:, None]).sum(0) / weights.sum())


@settings(max_examples=25)
@given(st.sampled_from(ALL_ORIENTATIONS), st.sampled_from(ALL_ORIENTATIONS), st.floats(-15, 15))
def test_the_same_tissue_shows_at_the_same_place(one: str, two: str, degrees: float) -> None:
    """A ball at one place of the atlas, put into two scans by their own transforms: the view must show it there."""
    in_atlas = np.array([12.0, -9.0, 5.0])
    to_native = {T1C: turned(degrees, (4, -3, 7)), T2W: turned(-degrees / 2, (-6, 2, 1))}
    reference = Grid((50, 54, 26), np.diag([2.0, 2, 4, 1]) + _at(-50, -54, -52)).reoriented(one)
    other = Grid((60, 30, 58), np.diag([2.0, 4, 2, 1]) + _at(-60, -60, -58)).reoriented(two)
    ball = blob(reference, to_native[T1C].apply(in_atlas))
    view = native_view(blob(other, to_native[T2W].apply(in_atlas)), reference, between_scans(to_native, T1C, T2W))
    assert view.grid == reference
    assert np.linalg.norm(centre_of_mass_mm(view) - centre_of_mass_mm(ball)) < 0.5


def _at(*origin: float) -> np.ndarray:
    matrix = np.zeros((4, 4))
    matrix[:3, 3] = origin
    return matrix


def test_the_reference_itself_is_not_touched() -> None:
    rng = np.random.default_rng(1)
    grid = Grid((9, 8, 7), np.diag([1.0, 1, 5, 1])).reoriented("PIR")
    scan = Volume(rng.normal(size=grid.shape).astype(np.float32), grid)
    to_native = {T1C: turned(3, (1, 2, 3)), T1N: turned(3, (1, 2, 3)), T2F: turned(3, (1, 2, 3.001))}
    for sequence in (T1C, T1N):
        assert native_view(scan, grid, between_scans(to_native, T1C, sequence)).data is scan.data
    assert native_view(scan, grid, between_scans(to_native, T1C, T2F)).data is not scan.data


def test_outside_the_field_of_view_it_is_zero() -> None:
    grid = Grid((10, 10, 10), np.eye(4))
    far = turned(0, (6, 0, 0))
    view = native_view(Volume(np.full(grid.shape, 7, np.float32), grid), grid, far)
    assert (view.data[:4] == 7).all()
    assert (view.data[4:] == 0).all()


def _written(volume: Volume, path: Path, **how: object) -> tuple[np.ndarray, str]:
    write_view(volume, path, **how)  # type: ignore[arg-type]
    back, facts = read_scan(path, "view")
    assert back.grid.same_as(volume.grid)
    return back.data, facts.dtype


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("values", "scale", "dtype"),
    [
        (np.arange(-60, 60), (1.0, 0.0), "int16"),
        (np.array([-32767, 32767]), (1.0, 0.0), "int16"),
        (np.arange(120) * np.float32(0.37) + np.float32(5), (float(np.float32(0.37)), 5.0), "int16"),
    ],
)
def test_whole_numbers_come_back_exactly_as_int16(
    values: np.ndarray, scale: tuple[float, float], dtype: str, exact: bool, tmp_path: Path
) -> None:
    grid = Grid((4, 5, 6), np.diag([1.0, -1, 3, 1]))
    slope, intercept = scale
    steps = np.resize(np.rint((values - intercept) / slope), grid.shape)
    volume = Volume((steps * slope + intercept).astype(np.float32), grid)
    data, stored = _written(volume, tmp_path / "v.nii.gz", scale=scale, exact=exact)
    assert stored == dtype
    assert np.array_equal(data, volume.data)


@pytest.mark.parametrize("values", [[40000.0, 1.0], [0.5, 1.0], [1e30, -3.0], [32768.0, -32768.0]])
def test_an_exact_view_of_other_numbers_is_float32(values: list[float], tmp_path: Path) -> None:
    volume = Volume(np.resize(np.float32(values), (3, 4, 5)), Grid((3, 4, 5), np.eye(4)))
    data, stored = _written(volume, tmp_path / "v.nii.gz", exact=True)
    assert stored == "float32"
    assert np.array_equal(data, volume.data)


def test_an_interpolated_view_takes_half_the_bytes_and_shows_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    volume = Volume(rng.gamma(2, 300, (30, 30, 30)).astype(np.float32), Grid((30, 30, 30), np.eye(4)))
    volume.data[:5] = 0
    data, stored = _written(volume, tmp_path / "v.nii.gz", exact=False)
    span = float(volume.data.max())
    assert stored == "int16"
    assert np.abs(data - volume.data).max() <= span / 130000
    assert (data[:5] == 0).all()
    _written(volume, tmp_path / "e.nii.gz", exact=True)
    assert (tmp_path / "v.nii.gz").stat().st_size < 0.6 * (tmp_path / "e.nii.gz").stat().st_size


@pytest.mark.parametrize("wild", [1e6, 1e-42])
def test_numbers_that_int16_would_spoil_stay_float32(wild: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    data = rng.random((10, 10, 10)).astype(np.float32)
    data = data * np.float32(wild) if wild < 1 else data
    data[5, 5, 5] = wild
    back, stored = _written(Volume(data, Grid(data.shape, np.eye(4))), tmp_path / "v.nii.gz", exact=False)
    assert stored == "float32"
    assert np.array_equal(back, data)


def test_equal_views_give_equal_bytes_without_a_name_or_time(tmp_path: Path) -> None:
    volume = Volume(np.resize(np.float32([1.5, 2]), (4, 4, 4)), Grid((4, 4, 4), np.eye(4)))
    for name in ("a.nii.gz", "b.nii.gz"):
        write_compact(volume, tmp_path / name, lossy=True)
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    assert content[3:8] == b"\0\0\0\0\0", "no file name, no time"
    header = nib.load(tmp_path / "a.nii.gz").header
    assert not any(bytes(header["descrip"]) + bytes(header["aux_file"]))


def test_sequences_without_a_transform_of_their_own_are_an_error() -> None:
    with pytest.raises(KeyError):
        between_scans({T1C: Transform.identity()}, T1C, MRSequence.T2F)
