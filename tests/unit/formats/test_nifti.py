"""Good NIfTI files keep every voxel in place; bad ones are refused in one sentence, cheaply."""

from __future__ import annotations

import errno
import gzip
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hope.domain.errors import InputError, OutputError
from hope.domain.grid import ALL_ORIENTATIONS, Grid
from hope.domain.volume import Volume
from hope.formats import atomic
from hope.formats.nifti import read_labels, read_scan, write_labels, write_scan

AFFINE = np.array([[-0.9, 0, 0.05, 90.0], [0, 0.9, 0.1, -120.0], [0.05, -0.1, 5.4, -40.0], [0, 0, 0, 1.0]])
NIFTI1 = {
    "dim0": 40,
    "datatype": 70,
    "pixdim0": 76,
    "vox_offset": 108,
    "slope": 112,
    "inter": 116,
    "qform": 252,
    "sform": 254,
}


def _oblique() -> np.ndarray:
    c, s = np.cos(0.2), np.sin(0.2)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.9, 0.9, 5.4])
    affine[:3, 3] = [90, -120, -40]
    return affine


def _image(data: Any = None, affine: np.ndarray | None = None, cls: Any = nib.Nifti1Image) -> Any:
    data = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6) if data is None else data
    return cls(data, _oblique() if affine is None else affine)


def _patched(path: Path, offset: int, fmt: str, *values: float) -> Path:
    """Overwrite a header field of an uncompressed NIfTI-1 file."""
    raw = bytearray(path.read_bytes())
    struct.pack_into("<" + fmt, raw, offset, *values)
    path.write_bytes(raw)
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "Givenmark_Surnamemark.nii"
    nib.save(_image(), path)
    return path


def _refusal(path: Path, what: str = "t1c") -> str:
    with pytest.raises(InputError) as caught:
        read_scan(path, what)
    sentence = str(caught.value)
    assert sentence.startswith(what)
    assert "\n" not in sentence
    assert "Givenmark" not in sentence and str(path.parent) not in sentence
    return sentence


@pytest.mark.parametrize("cls", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64", ">i2"])
def test_reads_both_versions_and_all_types(tmp_path: Path, cls: Any, suffix: str, dtype: str) -> None:
    data = np.arange(120).reshape(4, 5, 6).astype(dtype)
    image = cls(data, _oblique(), header=cls.header_class(endianness=">" if dtype[0] == ">" else "<"))
    image.set_data_dtype(data.dtype)
    nib.save(image, tmp_path / f"scan{suffix}")
    volume, facts = read_scan(tmp_path / f"scan{suffix}", "t2w")
    assert volume.data.dtype == np.float32
    assert np.array_equal(volume.data, np.arange(120).reshape(4, 5, 6))
    assert np.allclose(volume.grid.affine_ras_mm, _oblique(), atol=1e-5)
    assert (facts.nan_count, facts.inf_count, facts.integer_valued, facts.distinct_values) == (0, 0, True, 120)


def test_content_decides_and_not_the_suffix(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "b.nii.gz").write_bytes(plain.read_bytes())
    assert read_scan(tmp_path / "a.nii", "t1n")[0].same_as(read_scan(tmp_path / "b.nii.gz", "t1n")[0])


def test_trailing_dimension_of_one_is_dropped_and_many_volumes_are_refused(tmp_path: Path) -> None:
    data = np.arange(120, dtype=np.int16).reshape(4, 5, 6, 1)
    nib.save(_image(data), tmp_path / "one.nii.gz")
    assert read_scan(tmp_path / "one.nii.gz", "t1n")[0].data.shape == (4, 5, 6)
    nib.save(_image(np.concatenate([data, data], axis=3)), tmp_path / "two.nii.gz")
    assert "2 volumes" in _refusal(tmp_path / "two.nii.gz")


def test_scaling_is_applied_once(plain: Path) -> None:
    _patched(plain, NIFTI1["slope"], "ff", 0.5, -3.0)
    volume, facts = read_scan(plain, "t1n")
    assert np.allclose(volume.data, np.arange(120).reshape(4, 5, 6) * 0.5 - 3)
    assert not facts.integer_valued
    _patched(plain, NIFTI1["slope"], "ff", 0.0, 7.0)
    assert read_scan(plain, "t1n")[0].data.max() == 119


def test_nan_and_inf_are_counted_and_set_to_zero(tmp_path: Path) -> None:
    data = np.ones((4, 5, 6), dtype=np.float64)
    data[0, 0, :3], data[1, 1, 1], data[2, 2, 2] = np.nan, np.inf, 1e300
    nib.save(_image(data), tmp_path / "n.nii.gz")
    volume, facts = read_scan(tmp_path / "n.nii.gz", "t1n")
    assert (facts.nan_count, facts.inf_count) == (3, 2)
    assert np.isfinite(volume.data).all()
    assert volume.data[0, 0, 0] == volume.data[1, 1, 1] == 0


def test_disagreeing_forms_are_refused_with_both_named(tmp_path: Path) -> None:
    image = _image()
    image.set_sform(_oblique(), code=1)
    flipped = _oblique()
    flipped[:3, 0] *= -1
    image.set_qform(flipped, code=1)
    nib.save(image, tmp_path / "f.nii.gz")
    sentence = _refusal(tmp_path / "f.nii.gz")
    assert "sform says LAS" in sentence
    assert "qform says RAS" in sentence


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1), (4, 2)])
def test_either_form_will_do(tmp_path: Path, codes: tuple[int, int]) -> None:
    image = _image()
    image.set_sform(_oblique(), code=codes[0])
    image.set_qform(_oblique(), code=codes[1])
    nib.save(image, tmp_path / "f.nii.gz")
    assert np.allclose(read_scan(tmp_path / "f.nii.gz", "t1n")[0].grid.affine_ras_mm, _oblique(), atol=1e-4)


def test_no_orientation_is_refused(plain: Path) -> None:
    _patched(plain, NIFTI1["qform"], "hh", 0, 0)
    assert "does not say how it lies" in _refusal(plain)


def test_qfac_zero_reads_as_one(tmp_path: Path) -> None:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    image = _image(affine=affine)
    image.set_sform(affine, code=0)
    image.set_qform(affine, code=1)
    nib.save(image, tmp_path / "q.nii")
    _patched(tmp_path / "q.nii", NIFTI1["pixdim0"], "f", 0.0)
    assert np.allclose(read_scan(tmp_path / "q.nii", "t1n")[0].grid.affine_ras_mm, affine)


@pytest.mark.parametrize("spacing", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_spacing(plain: Path, spacing: float) -> None:
    assert "impossible voxel spacing" in _refusal(_patched(plain, NIFTI1["pixdim0"] + 8, "f", spacing))


def test_a_lone_sform_of_another_voxel_size_than_pixdim_is_refused(plain: Path) -> None:
    _patched(plain, NIFTI1["qform"], "hh", 0, 1)
    assert read_scan(plain, "t1c")[0].grid.spacing_mm == pytest.approx((0.9, 0.9, 5.4))
    assert read_scan(_patched(plain, 80, "3f", 0.9, 0.9, 5.1), "t1c")[0].grid.spacing_mm[2] == pytest.approx(5.4)
    sentence = _refusal(_patched(plain, 80, "3f", 1.8, 1.8, 5.4))
    assert "pixdim says 1.80 x 1.80 x 5.40 mm, sform 0.90 x 0.90 x 5.40 mm" in sentence
    # With a qform, which pixdim belongs to, both forms are compared as they are.
    assert "qform says" in _refusal(_patched(plain, NIFTI1["qform"], "h", 1))


def test_flat_or_infinite_sform(plain: Path) -> None:
    assert "impossible sform" in _refusal(_patched(plain, 280, "12f", *[0.0] * 12))
    assert "impossible sform" in _refusal(_patched(plain, 280, "f", float("nan")))


@pytest.mark.parametrize(
    ("code", "name"), [(128, "RGB"), (2304, "RGBA"), (32, "complex"), (1792, "complex"), (1, "type 1")]
)
def test_colour_complex_and_bit_images_are_refused_by_name(plain: Path, code: int, name: str) -> None:
    assert name in _refusal(_patched(plain, NIFTI1["datatype"], "h", code))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty file"),
        (b"this is a letter and no image\n" * 40, "not a NIfTI"),
        (gzip.compress(b"this is a letter and no image\n" * 40, mtime=0), "not a NIfTI"),
        (b"\x1f\x8b\x08\x00broken", "truncated or damaged"),
        (struct.pack("<i", 348) + bytes(344), "not a NIfTI"),
        (struct.pack("<i", 348) + bytes(340) + b"ni1\0", "two-file NIfTI"),
        (struct.pack("<i", 540) + b"n+2\0\r\n\x1a\n" + bytes(400), "within its header"),
    ],
    # Named here: an id made of the bytes would hold whatever gzip writes, which each worker must find the same.
    ids=["empty", "text", "packed text", "broken gzip", "no magic", "two files", "NIfTI-2"],
)
def test_what_is_no_nifti(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "Givenmark_Surnamemark.nii.gz"
    path.write_bytes(content)
    assert says in _refusal(path)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    assert "no such file" in _refusal(tmp_path / "Givenmark.nii.gz")
    assert "is a directory" in _refusal(tmp_path)


def test_a_file_that_cannot_be_read_is_one_sentence(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "t1c cannot be read (got File name too long)" in _refusal(plain.with_name("x" * 300))

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    for step in ("stat", "open"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, step, refuse)
            assert "t1c cannot be read (got Permission denied); check its permissions" in _refusal(plain)


def test_every_truncation_is_refused(plain: Path, tmp_path: Path) -> None:
    raw = plain.read_bytes()
    packed = gzip.compress(raw)
    for share in (0.02, 0.3, 0.7, 0.95):
        for name, whole in (("cut.nii", raw), ("cut.nii.gz", packed)):
            path = tmp_path / name
            path.write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(InputError):
                read_scan(path, "t1c")
    # All voxels there, only gzip's own check sum missing.
    (tmp_path / "tail.nii.gz").write_bytes(packed[:-4])
    assert "truncated or damaged" in _refusal(tmp_path / "tail.nii.gz")


def test_a_flipped_bit_in_gzip_is_seen(plain: Path, tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(plain.read_bytes(), 0))
    packed[-60] ^= 0x10
    (tmp_path / "bit.nii.gz").write_bytes(packed)
    assert "damaged" in _refusal(tmp_path / "bit.nii.gz")


def _huge(dims: tuple[int, int, int]) -> bytes:
    raw = bytearray(nib.Nifti1Header().binaryblock + bytes(4))
    struct.pack_into("<4h", raw, NIFTI1["dim0"], 3, *dims)
    struct.pack_into("<2h", raw, NIFTI1["datatype"], 16, 32)
    struct.pack_into("<f", raw, NIFTI1["vox_offset"], 352)
    struct.pack_into("<2h", raw, NIFTI1["qform"], 0, 1)
    struct.pack_into("<12f", raw, 280, *np.eye(4)[:3].ravel())
    return bytes(raw)


@pytest.mark.parametrize("dims", [(10_000, 10_000, 10_000), (600, 600, 600)])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_lying_header_costs_no_memory(tmp_path: Path, dims: tuple[int, int, int], zipped: bool) -> None:
    path = tmp_path / "huge.nii.gz"
    content = _huge(dims) + bytes(4000)
    path.write_bytes(gzip.compress(content) if zipped else content)
    tracemalloc.start()
    sentence = _refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "far larger" in sentence or "truncated" in sentence
    assert peak < 20e6


def test_no_more_is_decompressed_than_the_header_promises(tmp_path: Path) -> None:
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(_huge((10, 10, 10)) + bytes(60_000_000)))
    tracemalloc.start()
    volume, _ = read_scan(path, "t1c")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert volume.data.shape == (10, 10, 10)
    assert peak < 20e6


def test_dimensions_that_make_no_volume(plain: Path) -> None:
    assert "not a 3D image" in _refusal(_patched(plain, NIFTI1["dim0"], "h", 2))
    assert "not a 3D image" in _refusal(_patched(plain, NIFTI1["dim0"], "2h", 3, -4))
    assert "not a 3D image" in _refusal(_patched(plain, NIFTI1["dim0"], "h", 0))


@given(st.binary(max_size=700), st.booleans())
def test_any_bytes_end_in_one_sentence(tmp_path_factory: pytest.TempPathFactory, noise: bytes, header: bool) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "x.nii"
    raw = bytearray(_huge((4, 4, 4)) + bytes(256)) if header else bytearray()
    raw[40 : 40 + len(noise)] = noise
    path.write_bytes(raw)
    try:
        volume, _ = read_scan(path, "t1n")
        assert np.isfinite(volume.data).all()
    except InputError:
        pass


@given(st.sampled_from(ALL_ORIENTATIONS), st.booleans(), st.sampled_from([".nii", ".nii.gz"]))
def test_write_then_read_in_every_orientation(
    tmp_path_factory: pytest.TempPathFactory, orientation: str, sheared: bool, suffix: str
) -> None:
    grid = Grid((3, 4, 5), AFFINE if sheared else _oblique()).reoriented(orientation)
    volume = Volume(np.arange(60, dtype=np.float32).reshape(grid.shape) + 0.25, grid)
    path = tmp_path_factory.mktemp("w") / f"out{suffix}"
    write_scan(volume, path)
    back, _ = read_scan(path, "t1n")
    assert back.same_as(volume)
    assert back.grid.orientation == orientation
    loaded = nib.load(path)
    assert np.allclose(loaded.affine, grid.affine_ras_mm, atol=1e-4)
    assert np.array_equal(np.asarray(loaded.dataobj), volume.data)


def test_a_small_shear_over_many_voxels_is_read_back(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[0, 1] = 9e-4  # half of it fits no rotation: 0.23 mm at the far corners
    grid = Grid((2, 512, 2), affine)
    write_labels(Volume(np.ones(grid.shape, dtype=np.uint8), grid), tmp_path / "l.nii.gz")
    assert read_labels(tmp_path / "l.nii.gz").grid.same_as(grid)
    assert nib.load(tmp_path / "l.nii.gz").header["qform_code"] == 0


def test_written_files_are_equal_nameless_and_whole(tmp_path: Path) -> None:
    grid = Grid((4, 5, 6), _oblique())
    volume = Volume(np.random.default_rng(1).integers(0, 5, (4, 5, 6)).astype(np.uint8), grid)
    write_labels(volume, tmp_path / "Givenmark_Surnamemark.nii.gz")
    os.utime(tmp_path / "Givenmark_Surnamemark.nii.gz", (1, 1))
    write_labels(volume, tmp_path / "other.nii.gz")
    raw = (tmp_path / "other.nii.gz").read_bytes()
    assert raw == (tmp_path / "Givenmark_Surnamemark.nii.gz").read_bytes()
    assert raw[3] == 0 and raw[4:8] == bytes(4)  # no file name and no time in the gzip header
    header = nib.load(tmp_path / "other.nii.gz").header
    assert header["sform_code"] == header["qform_code"] == 1
    assert header.get_xyzt_units()[0] == "mm"
    assert header.get_data_dtype() == np.uint8
    assert all(header[field].item() == b"" for field in ("descrip", "aux_file", "intent_name", "db_name"))
    assert not header.extensions
    assert read_labels(tmp_path / "other.nii.gz").same_as(volume)


@pytest.mark.parametrize(
    ("value", "says"), [(1.5, "not all whole"), (300.0, "300"), (-1.0, "-1"), (np.nan, "label volume")]
)
def test_labels_must_be_small_whole_numbers(tmp_path: Path, value: float, says: str) -> None:
    data = np.zeros((3, 3, 3), dtype=np.float32)
    data[1, 1, 1] = value
    nib.save(_image(data), tmp_path / "l.nii.gz")
    with pytest.raises(InputError, match=says):
        read_labels(tmp_path / "l.nii.gz")


@pytest.mark.parametrize(
    ("code", "says"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "permission denied"), (errno.EIO, "error")]
)
def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, says: str) -> None:
    path = tmp_path / "out.nii.gz"
    path.write_bytes(b"the older result")

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.os, "fsync", fail)
    with pytest.raises(OutputError, match=says):
        write_scan(Volume(np.zeros((2, 2, 2), dtype=np.float32), Grid((2, 2, 2), np.eye(4))), path)
    assert [p.name for p in tmp_path.iterdir()] == ["out.nii.gz"]
    assert path.read_bytes() == b"the older result"


def test_a_missing_output_directory_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="directory does not exist"):
        write_labels(
            Volume(np.zeros((2, 2, 2), dtype=np.uint8), Grid((2, 2, 2), np.eye(4))), tmp_path / "no" / "x.nii.gz"
        )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x.img", "its .hdr is missing"),
        ("pair.img", "is the .img half of a two-file image"),
        ("pair.hdr", "nib-convert scan.hdr scan.nii"),
    ],
)
def test_halves_of_a_pair_say_how_to_go_on(tmp_path: Path, name: str, says: str) -> None:
    nib.save(nib.Nifti1Pair(np.ones((9, 9, 9), dtype=np.int16), np.eye(4)), tmp_path / "pair.img")
    (tmp_path / "x.img").write_bytes(bytes(2000))
    with pytest.raises(InputError, match=says):
        read_scan(tmp_path / name, "t1c")


@pytest.mark.parametrize("inter", [np.nan, np.inf, -np.inf])
def test_an_intercept_that_is_no_number_is_called_so(tmp_path: Path, inter: float) -> None:
    nib.save(nib.Nifti1Image(np.ones((9, 9, 9), dtype=np.int16), np.eye(4)), tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[112:120] = np.array([1.0, inter], dtype="<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(InputError, match="scl_inter that is no number") as caught:
        read_scan(tmp_path / "a.nii", "t1c")
    assert "truncated" not in str(caught.value) and "set the field to 0" in str(caught.value)
