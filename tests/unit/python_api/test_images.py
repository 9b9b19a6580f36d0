"""Images in memory become the same voxels and places as their files, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

import hope
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.formats.nifti import read_labels, read_scan, write_scan
from hope.python_api.images import as_file

OBLIQUE = np.array([[0.9, 0.1, 0.0, -40.0], [-0.1, 0.88, 0.05, 20.5], [0.0, -0.06, 3.0, -7.25], [0, 0, 0, 1.0]])


@pytest.fixture
def volume() -> Volume:
    data = np.random.default_rng(1).normal(300, 50, (14, 11, 9)).astype(np.float32)
    return Volume(data, Grid(data.shape, OBLIQUE))


def stored(path: Path, slope: float, inter: float, dtype: str, data: Any) -> nib.Nifti1Image:
    """A file with whole numbers and a scale, as a scanner's converter writes it."""
    image = nib.Nifti1Image(data.astype(dtype), OBLIQUE)
    image.set_sform(OBLIQUE, 1)
    nib.save(image, path)
    with path.open("r+b") as file:
        file.seek(112)
        file.write(np.array([slope, inter], "<f4").tobytes())
    return nib.load(path)


def test_a_volume_survives_both_libraries(volume: Volume) -> None:
    for back in (
        hope.from_nibabel(hope.to_nibabel(volume)),
        hope.from_simpleitk(hope.to_simpleitk(Volume(volume.data, right_angled(volume.grid)))),
    ):
        assert np.array_equal(back.data, volume.data) and back.data.dtype == np.float32
    assert hope.from_nibabel(hope.to_nibabel(volume)).grid.same_as(volume.grid)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(("unit", "per_mm"), [("meter", 1e-3), ("micron", 1e3), ("mm", 1.0), ("unknown", 1.0)])
def test_the_unit_of_the_header_counts(volume: Volume, kind: Any, unit: str, per_mm: float) -> None:
    image = kind(volume.data, np.diag([per_mm, per_mm, per_mm, 1.0]) @ volume.grid.affine_ras_mm)
    image.header.set_xyzt_units(unit)
    assert hope.from_nibabel(image).grid.same_as(volume.grid)


def right_angled(grid: Grid) -> Grid:
    turn, _ = np.linalg.qr(grid.affine_ras_mm[:3, :3])
    affine = np.array(grid.affine_ras_mm)
    affine[:3, :3] = turn * np.array(grid.spacing_mm)
    return Grid(grid.shape, affine)


def test_simpleitk_sees_the_same_world(volume: Volume, tmp_path: Path) -> None:
    """ITK reads the file that we wrote: its image and ours agree in voxels and places."""
    upright = Volume(volume.data, right_angled(volume.grid))
    write_scan(upright, tmp_path / "a.nii")
    read = sitk.ReadImage(str(tmp_path / "a.nii"))
    made = hope.to_simpleitk(upright)
    assert np.allclose(made.GetOrigin(), read.GetOrigin(), atol=1e-3)
    assert np.allclose(made.GetDirection(), read.GetDirection(), atol=1e-4)
    assert np.allclose(made.GetSpacing(), read.GetSpacing(), atol=1e-4)
    point = (3, 4, 5)
    assert made.GetPixel(*point) == pytest.approx(read.GetPixel(*point)) == pytest.approx(upright.data[point])
    assert hope.from_simpleitk(read).grid.same_as(upright.grid)


def test_labels_keep_their_type() -> None:
    labels = Volume(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), Grid((2, 3, 4), np.eye(4)))
    assert hope.to_nibabel(labels).get_data_dtype() == np.uint8
    assert hope.from_nibabel(hope.to_nibabel(labels)).data.dtype == np.uint8
    assert hope.from_simpleitk(hope.to_simpleitk(labels)).data.dtype == np.uint8


def test_a_sheared_grid_fits_no_itk_image(volume: Volume) -> None:
    with pytest.raises(hope.InputError, match="right angles"):
        hope.to_simpleitk(volume)


@pytest.mark.parametrize(
    ("slope", "inter", "dtype"), [(1, 0, "int16"), (0.37, -12.5, "int16"), (2.5, 0, "uint8"), (1, 0, "float32")]
)
def test_an_image_of_a_file_gives_the_voxels_of_the_file(
    tmp_path: Path, slope: float, inter: float, dtype: str
) -> None:
    numbers = np.random.default_rng(2).integers(0, 200, (6, 7, 8))
    image = stored(tmp_path / "given.nii", slope, inter, dtype, numbers)
    expected, facts = read_scan(tmp_path / "given.nii", "t1c")
    got, seen = read_scan(as_file(image, tmp_path, "t1c"), "t1c")
    assert np.array_equal(got.data, expected.data)
    assert np.array_equal(got.grid.affine_ras_mm, expected.grid.affine_ras_mm)
    assert seen == facts


@pytest.mark.parametrize("dtype", ["bool", "int64", "uint64", "float16", "float64", "uint16"])
def test_arrays_of_every_type_are_taken(tmp_path: Path, dtype: str) -> None:
    numbers = np.random.default_rng(3).integers(0, 2, (5, 6, 7)).astype(dtype)
    affine = np.diag([1, 1, 2, 1.0])
    known = dtype not in ("bool", "float16")
    image = nib.Nifti1Image(numbers, affine, dtype=dtype) if known else Volume(numbers, Grid((5, 6, 7), affine))
    got = read_labels(as_file(image, tmp_path, "mask"))
    assert np.array_equal(got.data, numbers.astype(np.uint8))


@pytest.mark.parametrize("kind", [nib.Nifti2Image, nib.MGHImage, nib.Spm99AnalyzeImage])
def test_other_image_classes_are_taken(tmp_path: Path, kind: Any) -> None:
    numbers = np.random.default_rng(4).integers(0, 99, (5, 6, 7)).astype(np.int16)
    got, _ = read_scan(as_file(kind(numbers, np.diag([1, 1, 2, 1.0])), tmp_path, "t1n"), "t1n")
    assert np.array_equal(got.data, numbers.astype(np.float32))


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6, 3)])
def test_what_is_no_3d_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(hope.InputError, match="t2w is not one 3D grey-scale image"):
        hope.from_nibabel(nib.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)), "t2w")
    with pytest.raises(hope.InputError, match="t2w is not one 3D grey-scale image"):
        hope.from_simpleitk(sitk.Image([4] * len(shape), sitk.sitkFloat32) if len(shape) == 2 else vector(), "t2w")


def vector() -> sitk.Image:
    return sitk.Image([4, 5, 6], sitk.sitkVectorFloat32, 3)


@pytest.mark.parametrize("given", [np.zeros((4, 4, 4)), [1, 2], 7, object()])
def test_what_is_no_image_is_refused_with_the_way_on(tmp_path: Path, given: Any) -> None:
    with pytest.raises(hope.InputError, match=r"t1c is no image \(expected a path, a nibabel image") as caught:
        as_file(given, tmp_path, "t1c")
    assert ("hope.Volume with a hope.Grid" in str(caught.value)) == isinstance(given, np.ndarray)
    assert not list(tmp_path.iterdir())


def test_a_file_that_ends_early_is_named(tmp_path: Path) -> None:
    image = stored(tmp_path / "cut.nii", 1, 0, "int16", np.zeros((9, 9, 9)))
    (tmp_path / "cut.nii").write_bytes((tmp_path / "cut.nii").read_bytes()[:500])
    with pytest.raises(hope.InputError, match="t2f cannot be read"):
        as_file(image, tmp_path, "t2f")
