"""DICOM series with overlays: the scan is read as if it had none, and nothing of them is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.progress import silent
from hope.domain.volume import Volume
from hope.formats.dicom import convert_series, read_series
from hope.formats.dicom_overlay import without_overlay
from hope.stages.intake.archive_series import series_in_archive
from hope.stages.intake.case_finding import CaseSource
from hope.stages.intake.scan_reading import overlay_flags, resolve_all
from hope.testing import hostile_dicom as hostile
from hope.testing.dicom_series import SeriesRecipe, write_series
from hope.testing.enhanced_series import EnhancedRecipe, write_enhanced

TEXT = "SURNAMEINANOVERLAY"
_OVERLAY = {
    0x0010: ("US", 40),
    0x0011: ("US", 40),
    0x0022: ("LO", TEXT),
    0x0040: ("CS", "G"),
    0x0050: ("SS", [1, 1]),
    0x0100: ("US", 1),
    0x0102: ("US", 0),
    0x1500: ("LO", TEXT),
    0x3000: ("OW", (TEXT * 20).encode()[:200]),
}


def head(low: int = 0, high: int = 4000) -> Volume:
    grid = Grid((40, 40, 12), np.diag([5.0, 5.0, 9.0, 1.0]))
    return Volume(np.random.default_rng(3).integers(low, high, grid.shape).astype(np.float32), grid)


def draw(files: list[Path], group: int = 0x6000, **changes: tuple[str, object]) -> None:
    """Give files an overlay in a plane of its own."""
    for path in files:
        image = pydicom.dcmread(path)
        for element, (vr, value) in _OVERLAY.items():
            image.add_new((group, element), vr, value)
        image.save_as(path)


def hide(files: list[Path], stored: int, high_bit: int, *, signed: bool = False, syntax: str = "") -> None:
    """Put values of so many bits into words of 16, and an overlay into the bits that are left."""
    drawing = np.random.default_rng(5).integers(0, 2, 40 * 40, dtype=np.uint16)
    low = high_bit + 1 - stored
    free = (2**16 - 1) & ~((2**stored - 1) << low)
    for path in files:
        image = pydicom.dcmread(path)
        values = np.frombuffer(image.PixelData, "<u2") & (2**stored - 1)
        words = (values << low | drawing * free).astype("<u2")
        image.BitsStored, image.HighBit, image.PixelRepresentation = stored, high_bit, int(signed)
        image.add_new((0x6000, 0x0010), "US", 40)
        image.add_new((0x6000, 0x0011), "US", 40)
        image.add_new((0x6000, 0x0022), "LO", TEXT)
        image.add_new((0x6000, 0x0100), "US", 16)
        image.add_new((0x6000, 0x0102), "US", 15 if low == 0 else 0)
        image.PixelData = words.tobytes()
        if syntax == RLELossless:
            image.compress(RLELossless, generate_instance_uid=False)
        elif syntax:
            little = syntax != ExplicitVRBigEndian
            image.PixelData = words.astype("<u2" if little else ">u2").tobytes()
            image.file_meta.TransferSyntaxUID = syntax
            pydicom.dcmwrite(path, image, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=little)
            continue
        image.save_as(path)


def same_as(directory: Path, volume: Volume, scratch: Path) -> None:
    (series,) = read_series(directory)
    converted, _ = convert_series(series, scratch, "t2w")
    one, two = volume.reoriented("RAS"), converted.reoriented("RAS")
    assert one.grid.same_as(two.grid)
    assert np.array_equal(one.data, two.data)


@pytest.mark.parametrize("group", [0x6000, 0x601E])
@pytest.mark.parametrize("syntax", ["", hostile.DEFLATED, RLELossless])
def test_the_pixels_are_read_and_the_overlay_is_not(tmp_path: Path, syntax: str, group: int) -> None:
    volume = head()
    files = write_series(volume, tmp_path / "in", SeriesRecipe(1, "t2"))
    draw(files[:7], group)
    for path in files if syntax else ():
        image = pydicom.dcmread(path)
        if syntax == RLELossless:
            image.compress(RLELossless, generate_instance_uid=False)
        image.file_meta.TransferSyntaxUID = syntax
        image.save_as(path)
    same_as(tmp_path / "in", volume, tmp_path)
    (series,) = read_series(tmp_path / "in")
    assert series.overlay_note == "the overlay (drawings or text) on 7 of 12 images was left out"


def test_nothing_of_the_overlay_reaches_the_converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_series(head(), tmp_path / "in", SeriesRecipe(1, "t2"))
    draw(files[:1])
    (series,) = read_series(tmp_path / "in")
    seen = []

    def look(_series: object, source: Path, *_: object) -> None:
        seen.extend(path.read_bytes() for path in source.iterdir())

    monkeypatch.setattr("hope.formats.dicom.run_dcm2niix", look)
    with pytest.raises(InputError, match="could not be converted"):
        convert_series(series, tmp_path, "t2w")
    assert len(seen) == 12 and not any(TEXT.encode() in raw for raw in seen)
    assert any(TEXT.encode() in path.read_bytes() for path in files)


def test_an_enhanced_file_with_an_overlay(tmp_path: Path) -> None:
    volume = head()
    draw(write_enhanced(volume, tmp_path / "in", EnhancedRecipe(1, "t2")))
    same_as(tmp_path / "in", volume, tmp_path)


@pytest.mark.parametrize("syntax", ["", ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_an_overlay_in_the_high_bits_is_masked_off(tmp_path: Path, syntax: str) -> None:
    volume = head()
    hide(write_series(volume, tmp_path / "in", SeriesRecipe(1, "t2")), 12, 11, syntax=syntax)
    same_as(tmp_path / "in", volume, tmp_path)


def test_an_overlay_above_signed_values_is_masked_off(tmp_path: Path) -> None:
    volume = head(-2000, 2000)
    hide(write_series(volume, tmp_path / "in", SeriesRecipe(1, "t2")), 12, 11, signed=True)
    same_as(tmp_path / "in", volume, tmp_path)


def test_an_overlay_among_compressed_bits_is_refused_in_one_sentence(tmp_path: Path) -> None:
    hide(write_series(head(), tmp_path / "in", SeriesRecipe(1, "t2")), 12, 11, syntax=RLELossless)
    (series,) = read_series(tmp_path / "in")
    with pytest.raises(InputError, match="an overlay lies among the bits of its compressed pixels"):
        convert_series(series, tmp_path, "t2w")


def test_words_without_a_free_bit_hold_no_overlay(tmp_path: Path) -> None:
    volume = head()
    files = write_series(volume, tmp_path / "in", SeriesRecipe(1, "t2"))
    for path in files:
        image = pydicom.dcmread(path)
        image.add_new((0x6000, 0x0100), "US", 16)
        image.save_as(path)
    (series,) = read_series(tmp_path / "in")
    assert series.overlay_note == ""
    same_as(tmp_path / "in", volume, tmp_path)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("allocated", "stored", "high"), [(8, 7, 6), (16, 12, 11), (16, 12, 15), (32, 20, 19)])
@pytest.mark.parametrize("little", [False, True])
def test_every_value_survives_the_mask(allocated: int, stored: int, high: int, signed: bool, little: bool) -> None:
    order = "<" if little else ">"
    low = high + 1 - stored
    rng = np.random.default_rng(allocated + stored)
    values = rng.integers(0, 2**stored, 500, dtype=np.uint64)
    noise = rng.integers(0, 2**allocated, 500, dtype=np.uint64) & np.uint64(~((2**stored - 1) << low) & 2**64 - 1)
    words = (values << np.uint64(low) | noise).astype(f"{order}u{allocated // 8}").tobytes()
    cleaned = without_overlay(words, allocated, stored, high, signed=signed, little=little)
    found = np.frombuffer(cleaned, f"{order}{'i' if signed else 'u'}{allocated // 8}").astype(np.int64) >> low
    expected = values.astype(np.int64)
    if signed:
        expected = np.where(expected >= 2 ** (stored - 1), expected - 2**stored, expected)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(("stored", "high"), [(0, 3), (16, 15), (12, 16), (12, 5)])
def test_bits_that_do_not_fit_are_damage(stored: int, high: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        without_overlay(bytes(8), 16, stored, high, signed=False, little=True)


def test_it_is_said(tmp_path: Path) -> None:
    draw(write_series(head(), tmp_path / "in" / "t2", SeriesRecipe(1, "t2", "t2")))
    write_series(head(1, 3000), tmp_path / "in" / "flair", SeriesRecipe(2, "flair", "flair"))
    (flag,) = overlay_flags(resolve_all(CaseSource("a", {}, tmp_path / "in"), tmp_path).found)
    assert (flag.code, flag.severity, flag.sequence) == ("overlay_left_out", "info", "t2w")
    assert "12 of 12 images" in flag.reason
    (tmp_path / "out").mkdir()
    files = [path for path in sorted((tmp_path / "in").rglob("*")) if path.is_file()]
    (tmp_path / "a.zip").write_bytes(hostile.zipped([path.read_bytes() for path in files]))
    series, _ = series_in_archive(tmp_path / "a.zip", tmp_path / "scratch", tmp_path / "out", 2**33, silent)
    warned = {one["key"]: [text for text in one["warnings"] if "overlay" in text] for one in series}
    assert warned["t2w"] == ["t2w: the overlay (drawings or text) on 12 of 12 images was left out."]
    assert not warned["t2f"]
    assert not any(TEXT.encode() in path.read_bytes() for path in (tmp_path / "out").iterdir())
