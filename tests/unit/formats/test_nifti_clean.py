"""A cleaned scan keeps every voxel and its place bit for bit, and nothing that a person could have written into it."""

from __future__ import annotations

import gzip
import hashlib
import struct
import tracemalloc
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hope.domain.errors import InputError
from hope.formats.nifti import read_scan
from hope.formats.nifti_clean import CHUNK, CleanScan, TooLargeError, WrongTypeError, clean_nifti

MIB = 2**20
MARK = b"Surnamemark^Givenmark"
TYPES = ("u1", "i1", "<i2", ">i2", "<u2", "<i4", ">i4", "<f4", ">f4", "<f8", "<i8", ">u8")


def _affine(seed: int, spacing: tuple[float, float, float]) -> np.ndarray:
    """Any orientation: a random rotation, perhaps mirrored, with the spacing."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    affine[:3, 3] = rng.uniform(-100, 100, 3)
    return affine


def _marked(data: np.ndarray, affine: np.ndarray, cls: Any, forms: str, units: str = "mm") -> Any:
    """An image with text wherever a NIfTI header takes some, and numbers wherever nobody needs any."""
    header = cls.header_class(endianness=">" if data.dtype.byteorder == ">" else "<")
    header.set_data_dtype(data.dtype)
    image = cls(data, None, header=header)
    image.header.set_xyzt_units(units, "sec")
    image.header.set_qform(affine if "q" in forms else None, code=2 if "q" in forms else 0, strip_shears=True)
    image.header.set_sform(affine if "s" in forms else None, code=4 if "s" in forms else 0)
    image.header.set_zooms(np.linalg.norm(affine[:3, :3], axis=0))
    for name in ("descrip", "aux_file", "intent_name"):
        image.header[name] = MARK[: image.header[name].dtype.itemsize]
    if cls is nib.Nifti1Image:
        image.header["db_name"], image.header["data_type"] = MARK[:18], MARK[:10]
    image.header["intent_p1"], image.header["toffset"] = 19800101, 12345
    image.header["cal_max"], image.header["slice_duration"] = 4711, 815
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", MARK * 20))
    return image


@st.composite
def images(draw: st.DrawFn) -> tuple[Any, bool]:
    """An image with marks, and whether to gzip it."""
    dtype = np.dtype(draw(st.sampled_from(TYPES)))
    shape = draw(st.tuples(*[st.integers(1, 7)] * 3).filter(lambda s: np.prod(s) > 1))
    seed = draw(st.integers(0, 2**31))
    raw = np.random.default_rng(seed).integers(0, 256, int(np.prod(shape)) * dtype.itemsize, np.uint8)
    data = np.frombuffer(raw.tobytes(), dtype).reshape(shape, order="F")
    spacing = draw(st.tuples(*[st.floats(0.25, 9.0, width=32)] * 3))
    cls = draw(st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]))
    forms = draw(st.sampled_from(["s", "q", "sq"]))
    units, scale = draw(st.sampled_from([("mm", 1.0), ("meter", 1e-3), ("micron", 1e3)]))
    image = _marked(data, np.diag([scale] * 3 + [1]) @ _affine(seed, spacing), cls, forms, units)
    if draw(st.booleans()):
        image.header.set_slope_inter(draw(st.floats(0.125, 5, width=32)), draw(st.floats(-9, 9, width=32)))
    return image, draw(st.booleans())


def _written(image: Any, folder: Path, zipped: bool) -> tuple[Path, bytes]:
    """The upload, and its raw voxels; nibabel would rescale, so header and voxels are written by hand."""
    header, extensions = image.header.copy(), image.header.extensions
    header["vox_offset"] = header.single_vox_offset + extensions.get_sizeondisk()
    header["magic"] = b"n+1" if header.sizeof_hdr == 348 else b"n+2\0\r\n\x1a\n"
    voxels = np.asanyarray(image.dataobj).tobytes(order="F")
    text = b"".join(_extension(extension.get_content()) for extension in extensions)
    start = header.binaryblock + b"\1\0\0\0" + text
    content = start.ljust(int(header["vox_offset"]), b"\0") + voxels
    path = folder / f"{MARK.decode().replace('^', '_')}.nii"
    path.write_bytes(gzip.compress(content, 1) if zipped else content)
    return path, voxels


def _extension(content: Any) -> bytes:
    body = content if isinstance(content, bytes) else str(content).encode()
    size = -(-(len(body) + 8) // 16) * 16
    return struct.pack("<2i", size, 6) + body.ljust(size - 8, b"\0")


@given(images())
def test_voxels_and_place_stay_and_every_text_goes(tmp_path_factory: pytest.TempPathFactory, drawn: Any) -> None:
    image, zipped = drawn
    folder = tmp_path_factory.mktemp("clean")
    source, voxels = _written(image, folder, zipped)
    size = image.get_data_dtype().itemsize
    assume(voxels != voxels[:size] * (len(voxels) // size))  # one value throughout is refused: see below
    scan = clean_nifti(source, folder / "clean.nii", "t1c", MIB)
    clean = (folder / "clean.nii").read_bytes()
    assert clean.endswith(voxels)
    assert len(clean) == scan.bytes == int(image.header["sizeof_hdr"]) + 4 + len(voxels)
    assert scan.sha256 == hashlib.sha256(clean).hexdigest()
    for mark in (b"Surname", b"Givenmark", b"urnamemark"):
        assert mark not in clean
    old, new = image.header, type(image.header).from_fileobj(BytesIO(clean))
    assert new.endianness == old.endianness
    assert new.get_data_dtype() == old.get_data_dtype()
    assert new.get_data_shape() == image.shape
    for form in ("get_sform", "get_qform"):
        before, after = getattr(old, form)(coded=True), getattr(new, form)(coded=True)
        assert before[1] == after[1]
        assert (before[0] is None) == (after[0] is None)
        assert before[0] is None or np.array_equal(before[0], after[0])
    assert new.get_slope_inter() == (old.get_slope_inter() if old.get_slope_inter()[0] else (1.0, 0.0))
    assert not new.extensions
    for name in ("descrip", "aux_file", "intent_name", "intent_p1", "toffset", "cal_max", "slice_duration"):
        assert not new[name].item(), name
    first, second = read_scan(source, "t1c")[0], read_scan(folder / "clean.nii", "t1c")[0]
    assert first.same_as(second)
    assert np.array_equal(first.grid.affine_ras_mm, second.grid.affine_ras_mm)


@given(hnp.arrays(np.uint8, 348))
def test_no_byte_of_a_header_passes_that_nobody_reads(tmp_path_factory: pytest.TempPathFactory, noise: Any) -> None:
    """Two headers that differ only in bytes without a meaning for us give the same clean file."""
    folder = tmp_path_factory.mktemp("noise")
    image = _marked(np.arange(60, dtype="<i2").reshape(3, 4, 5), _affine(3, (1, 2, 3)), nib.Nifti1Image, "s")
    source, _ = _written(image, folder, zipped=False)
    clean_nifti(source, folder / "one.nii", "t1c", MIB)
    raw = bytearray(source.read_bytes())
    # data_type, db_name, extents, session_error, regular, dim_info, intent, slice_start, pixdim 4 to 7,
    # slice_end to slice_code, time units and the rest up to the forms, quaternion, intent_name
    for low, high in ((4, 40), (56, 70), (74, 76), (92, 108), (120, 123), (124, 252), (256, 280), (328, 344)):
        raw[low:high] = noise[low:high].tobytes()
    source.write_bytes(raw)
    clean_nifti(source, folder / "two.nii", "t1c", MIB)
    assert (folder / "one.nii").read_bytes() == (folder / "two.nii").read_bytes()


@given(st.binary(max_size=700), st.booleans())
def test_any_bytes_are_a_scan_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, zipped: bool
) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = folder / "upload"
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(InputError) as caught:
        clean_nifti(path, folder / "clean.nii", "t2w", MIB)
    assert str(caught.value).startswith("t2w") and "\n" not in str(caught.value)


@pytest.fixture
def scan(tmp_path: Path) -> bytes:
    """An honest file of 0.5 MB."""
    data = np.random.default_rng(5).integers(0, 900, (64, 64, 64)).astype("<i2")
    nib.save(nib.Nifti1Image(data, np.diag([3.0, 3, 3, 1])), tmp_path / "scan.nii")
    return (tmp_path / "scan.nii").read_bytes()


def _clean(tmp_path: Path, content: bytes, limit: int = 64 * MIB) -> CleanScan:
    (tmp_path / "upload").write_bytes(content)
    return clean_nifti(tmp_path / "upload", tmp_path / "clean.nii", "t1n", limit)


def _refusal(tmp_path: Path, content: bytes, kind: type[InputError] = InputError, limit: int = 64 * MIB) -> str:
    with pytest.raises(InputError) as caught:
        _clean(tmp_path, content, limit)
    assert type(caught.value) is kind
    assert str(caught.value).startswith("t1n")
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04" + bytes(500), "zip archive"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(500), "JPEG"),
        (bytes(128) + b"DICM" + bytes(500), "DICOM"),
        (b"patient,age\n1,7\n" * 50, "text"),
        (b"%PDF-1.7" + bytes(500), "PDF"),
        (bytes(1000), "other content"),
    ],
)
def test_other_files_are_called_by_their_name(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in _refusal(tmp_path, content, WrongTypeError)
    assert says in _refusal(tmp_path, gzip.compress(content), WrongTypeError)


def test_zip_and_dicom_are_shown_the_dicom_way(tmp_path: Path) -> None:
    for content in (b"PK\x03\x04" + bytes(500), bytes(128) + b"DICM" + bytes(500)):
        assert "as DICOM" in _refusal(tmp_path, content, WrongTypeError)


def test_pieces_and_padding_of_gzip_are_read(tmp_path: Path, scan: bytes) -> None:
    pieces = b"".join(gzip.compress(scan[start : start + 60_000]) for start in range(0, len(scan), 60_000))
    whole = _clean(tmp_path, gzip.compress(scan)).sha256
    assert _clean(tmp_path, pieces).sha256 == whole
    assert _clean(tmp_path, gzip.compress(scan) + bytes(512)).sha256 == whole
    assert _clean(tmp_path, scan + b"behind").sha256 == whole


@pytest.mark.parametrize("keep", [9, 40, 400, 5000, -9, -1])
def test_a_cut_file_is_refused(tmp_path: Path, scan: bytes, keep: int) -> None:
    assert "truncated" in _refusal(tmp_path, gzip.compress(scan)[:keep])
    if keep > 540:
        assert "truncated" in _refusal(tmp_path, scan[:keep])


def test_a_damaged_byte_is_noticed_by_the_check_sum(tmp_path: Path, scan: bytes) -> None:
    packed = bytearray(gzip.compress(scan))
    packed[-6] ^= 1
    assert "damaged" in _refusal(tmp_path, bytes(packed))


def test_a_tail_is_not_written_and_a_long_one_refused(tmp_path: Path, scan: bytes) -> None:
    bomb = gzip.compress(scan + bytes(300 * MIB), 1)
    tracemalloc.start()
    assert "far more than its header says" in _refusal(tmp_path, bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * MIB
    assert (tmp_path / "clean.nii").stat().st_size <= len(scan)
    assert "far more than its header says" in _refusal(tmp_path, scan + bytes(2 * MIB))


def test_a_bomb_with_an_honest_header_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_dtype("<i2")
    header.set_data_shape((512, 512, 512))
    header.set_sform(np.eye(4), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    packer, parts = gzip.compress(header.binaryblock + bytes(4), 1), []
    for _ in range(256):
        parts.append(gzip.compress(bytes(MIB), 9))
    sentence = _refusal(tmp_path, packer + b"".join(parts), limit=1024 * MIB)
    assert "unpacks to far more than a scan would" in sentence
    assert not (tmp_path / "clean.nii").exists()


def test_memory_does_not_grow_with_the_scan(tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(0, 2000, (256, 256, 200)).astype("<i2")
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "large.nii")
    content = gzip.compress((tmp_path / "large.nii").read_bytes(), 1)
    (tmp_path / "upload").write_bytes(content)
    tracemalloc.start()
    clean_nifti(tmp_path / "upload", tmp_path / "clean.nii", "t1c", 64 * MIB)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * CHUNK < data.nbytes / 2


def test_what_would_not_fit_is_too_large(tmp_path: Path, scan: bytes) -> None:
    assert "too large once unpacked" in _refusal(tmp_path, gzip.compress(scan), TooLargeError, limit=1000)


def test_one_value_throughout_is_no_scan(tmp_path: Path) -> None:
    for value in (0, 7):
        nib.save(nib.Nifti1Image(np.full((9, 9, 9), value, "<i2"), np.eye(4)), tmp_path / "flat.nii")
        assert f"every voxel is {value}" in _refusal(tmp_path, (tmp_path / "flat.nii").read_bytes())


def test_odd_scans_are_warned_of(tmp_path: Path) -> None:
    data = np.arange(40 * 40 * 8, dtype="<i2").reshape(40, 40, 8)
    nib.save(nib.Nifti1Image(data, np.diag([1.0, 1, 9, 1])), tmp_path / "odd.nii")
    warnings = _clean(tmp_path, (tmp_path / "odd.nii").read_bytes()).warnings
    assert [w for w in warnings if "9.0 mm" in w] and [w for w in warnings if "8 slices" in w]
    assert [w for w in warnings if "40 x 40 x 72 mm" in w]
    nib.save(
        nib.Nifti1Image(np.arange(60**3, dtype="<i4").reshape(60, 60, 60), np.diag([3.0, 3, 3, 1])), tmp_path / "o.nii"
    )
    assert _clean(tmp_path, (tmp_path / "o.nii").read_bytes()).facts() == {
        "shape": [60, 60, 60],
        "spacing_mm": [3.0, 3.0, 3.0],
        "orientation": "RAS",
        "warnings": [],
    }


def test_a_gzip_whose_name_never_ends_costs_nothing(tmp_path: Path) -> None:
    endless = b"\x1f\x8b\x08\x08" + bytes(6) + b"Surnamemark" * 3_000_000
    assert "truncated" in _refusal(tmp_path, endless)
