"""DICOM headers and pixels that cost far more than their bytes: bounded before anything is parsed or decoded."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.attack.conftest import at_most

from hope.domain.errors import InputError
from hope.domain.limits import ReadingLimits
from hope.domain.progress import silent
from hope.formats.budget import Budget, reading_within
from hope.formats.dicom import convert_series, read_series
from hope.formats.dicom_files import DAMAGED, read_directory
from hope.stages.intake.archive_series import series_in_archive
from hope.testing import hostile_dicom as hostile

MIB = 2**20
GROUPS = 0x52009230
PRIVATE = 0x00291010


def _slices(folder: Path, count: int, make: Callable[[int], bytes]) -> Path:
    folder.mkdir()
    for number in range(1, count + 1):
        (folder / f"{number:04d}").write_bytes(make(number))
    return folder


@pytest.mark.parametrize("tag", [GROUPS, PRIVATE])
def test_five_million_empty_items(tmp_path: Path, tag: int) -> None:
    """In a wanted sequence they are refused, in any other they are gone past; nothing of them is held."""
    items = hostile.empty_items(tag, 5_000_000)
    folder = _slices(tmp_path / "in", 1, lambda n: hostile.file_of(hostile.image(n, extra={tag: items})))
    with at_most(3):
        if tag == GROUPS:
            with pytest.raises(InputError, match="far more elements"):
                read_directory(folder)
        else:
            assert len(read_directory(folder).files) == 1


def test_empty_items_of_undefined_length(tmp_path: Path) -> None:
    raw = hostile.ITEM + b"\xff" * 4 + hostile.END_ITEM
    unwanted = hostile.element(PRIVATE, b"SQ", raw * 400_000 + hostile.END_SEQUENCE, hostile.UNDEFINED)
    folder = _slices(tmp_path / "in", 1, lambda n: hostile.file_of(hostile.image(n, extra={PRIVATE: unwanted})))
    with at_most(3):
        (file,) = read_directory(folder).files
    assert file.header.Rows == 64 and not file.cut
    limits = ReadingLimits(elements=400_000)
    with reading_within(Budget(limits)), pytest.raises(InputError, match="far more elements"):
        read_directory(folder)


@pytest.mark.parametrize("defined", [False, True])
@pytest.mark.parametrize("tag", [GROUPS, PRIVATE])
def test_sequences_nested_900_deep(tmp_path: Path, tag: int, defined: bool) -> None:
    raw = hostile.nested(tag, 900, defined)
    folder = _slices(tmp_path / "in", 1, lambda n: hostile.file_of(hostile.image(n, extra={tag: raw})))
    directory = read_directory(folder)
    if tag == PRIVATE and defined:
        assert len(directory.files) == 1  # skipped by its length
    else:
        assert not directory.files and directory.left_out == {DAMAGED: 1}


def test_a_deflated_header_is_not_unpacked_whole(tmp_path: Path) -> None:
    zeros = hostile.element(PRIVATE, b"OB", bytes(40 * MIB))
    raw = hostile.file_of(hostile.image(extra={PRIVATE: zeros}), hostile.DEFLATED)
    folder = _slices(tmp_path / "in", 1, lambda _: raw)
    tracemalloc.start()
    try:
        with (
            reading_within(Budget(ReadingLimits(expanded_free_mb=16), upload_bytes=len(raw))),
            pytest.raises(InputError, match="far more than it may"),
        ):
            read_directory(folder)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


def test_damaged_deflated_data_is_left_out(tmp_path: Path) -> None:
    raw = bytearray(hostile.file_of(hostile.image(), hostile.DEFLATED))
    start = raw.index(b"DICM") + 4
    raw[start + 130 :] = b"\xff" * (len(raw) - start - 130)
    directory = read_directory(_slices(tmp_path / "in", 1, lambda _: bytes(raw)))
    assert not directory.files and directory.left_out == {DAMAGED: 1}


def test_a_deflated_series_is_converted(tmp_path: Path) -> None:
    folder = _slices(tmp_path / "in", 12, lambda n: hostile.file_of(hostile.image(n), hostile.DEFLATED))
    plain = _slices(tmp_path / "plain", 12, lambda n: hostile.file_of(hostile.image(n)))
    (series,), (same,) = read_series(folder), read_series(plain)
    volume, _ = convert_series(series, tmp_path, "t2w")
    expected, _ = convert_series(same, tmp_path, "t2w")
    assert volume.grid.shape == (64, 64, 12) and (volume.data == expected.data).all()


CLAIMS: dict[str, tuple[tuple[int, int], str, bytes]] = {
    "RLE 8192^2 x 12": ((8192, 8192), hostile.RLE, hostile.encapsulated(hostile.rle_frame(8192**2 // 64))),
    "JPEG 2000 16384^2 x 12": (
        (16384, 16384),
        hostile.JPEG_2000,
        hostile.encapsulated(b"\xff\x4f\xff\x51" + bytes(99)),
    ),
}


@pytest.mark.parametrize("claim", sorted(CLAIMS))
def test_claimed_pixels_are_counted_before_any_is_decoded(
    tmp_path: Path, claim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, syntax, pixels = CLAIMS[claim]
    folder = _slices(tmp_path / "in", 12, lambda n: hostile.file_of(hostile.image(n, size=size, pixels=pixels), syntax))
    monkeypatch.setattr("hope.formats.dicom.run_dcm2niix", None)
    (series,) = read_series(folder)
    with pytest.raises(InputError, match=r"claims 8\.1e\+08|claims 3\.2e\+09"):
        convert_series(series, tmp_path, "t2w")


def test_compressed_pixels_count_towards_the_upload(tmp_path: Path) -> None:
    pixels = hostile.encapsulated(hostile.rle_frame(2048**2))
    folder = _slices(
        tmp_path / "in", 12, lambda n: hostile.file_of(hostile.image(n, size=(2048, 2048), pixels=pixels), hostile.RLE)
    )
    (series,) = read_series(folder)
    with (
        reading_within(Budget(ReadingLimits(expanded_free_mb=64), upload_bytes=100_000)),
        pytest.raises(InputError, match="unpacks to far more than it may"),
    ):
        convert_series(series, tmp_path, "t2w")


def test_the_converter_has_a_memory_limit_of_its_own(tmp_path: Path) -> None:
    """A JPEG 2000 stream that is far larger than the header says cannot take more than the policy gives."""
    pytest.importorskip("dcm2niix")
    folder = _slices(tmp_path / "in", 12, lambda n: hostile.file_of(hostile.image(n, size=(1024, 1024))))
    (series,) = read_series(folder)
    with (
        reading_within(Budget(ReadingLimits(memory_mb=60))),
        pytest.raises(InputError, match="larger than can be converted"),
    ):
        convert_series(series, tmp_path, "t2w")
    program = (
        "import sys; from pathlib import Path; import hope.formats.dicom as d\n"
        "from hope.domain.limits import ReadingLimits; from hope.formats.budget import Budget, reading_within\n"
        "from hope.formats.dicom import convert_series, read_series\n"
        "d.check_pixels = lambda *_: None\n"
        "(series,) = read_series(Path(sys.argv[1]))\n"
        "with reading_within(Budget(ReadingLimits(memory_mb=20))):\n"
        "    convert_series(series, Path(sys.argv[2]), 't2w')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert "could not be converted within" in done.stderr, done.stderr


VALUES: dict[str, tuple[dict[int, tuple[bytes, bytes | str]], str]] = {
    "spacing 1e30": ({0x00280030: (b"DS", "1e30\\1e30")}, "impossible|spacing of 1e\\+30"),
    "spacing nan": ({0x00280030: (b"DS", "nan\\nan")}, "spacing|converted|sizes|scan"),
    "spacing inf": ({0x00280030: (b"DS", "inf\\inf")}, "spacing|converted|scan"),
    "spacing 0": ({0x00280030: (b"DS", "0\\0")}, "spacing of 0 mm"),
    "spacing -1": ({0x00280030: (b"DS", "-1\\1")}, "spacing of -1 mm"),
    "thickness 1e30": ({0x00180050: (b"DS", "1e30"), 0x00180088: (b"DS", "1e30")}, "spacing of 1e\\+30"),
    "frames 1e99": ({0x00280008: (b"IS", "1e99")}, "impossible number of images|no MRI|holds no"),
    "frames 99999999": ({0x00280008: (b"IS", "99999999")}, "impossible number of images"),
}


@pytest.mark.parametrize("name", sorted(VALUES))
def test_values_that_no_scanner_could_mean(tmp_path: Path, name: str) -> None:
    changes, words = VALUES[name]
    raw = hostile.zipped([hostile.file_of(hostile.image(n, changes=changes)) for n in range(1, 13)])
    (tmp_path / "a.zip").write_bytes(raw)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=words):
        series_in_archive(tmp_path / "a.zip", tmp_path / "scratch", tmp_path / "out", 2**33, silent)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("text", ["1e99", "99999999999999999999", "nan", "-inf"])
def test_an_impossible_series_number_counts_as_none(tmp_path: Path, text: str) -> None:
    folder = _slices(
        tmp_path / "in",
        12,
        lambda n: hostile.file_of(hostile.image(n, changes={0x00200011: (b"IS", text)})),
    )
    (series,) = read_series(folder)
    assert series.number is None


def test_thousands_of_copies_and_of_echoes_are_told_apart_at_once(tmp_path: Path) -> None:
    """Every pair was compared: 2,000 files of one UID took minutes."""
    folder = _slices(
        tmp_path / "in",
        2000,
        lambda n: hostile.file_of(
            hostile.image(n, size=(2, 2), changes={0x00080018: (b"UI", "1.2.3"), 0x00180081: (b"DS", f"{n / 10:.1f}")})
        ),
    )
    with at_most(8):
        assert sum(series.slices for series in read_series(folder)) == 2000
