"""Zips: every bad one is the sender's fault, said in words, whatever its names, its directory or its entry count."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest
from tests.attack.conftest import at_most

from hope.domain.errors import InputError
from hope.domain.limits import ReadingLimits
from hope.formats.archive import extract_zip
from hope.formats.budget import Budget, reading_within

MIB = 2**20
_ENTRY = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"


def _zip(path: Path, *names: str, content: bytes = b"x", compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=compression)
    return path


def _directory(path: Path, entries: int, claimed: int | None = None, zip64: bool = False) -> Path:
    """A zip that is nothing but a directory."""
    listing = _ENTRY * entries
    count = entries if claimed is None else claimed
    tail = b""
    if zip64:
        tail = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(listing), 0)
        tail += struct.pack("<4sIQI", b"PK\x06\x07", 0, len(listing), 1)
        tail += struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    else:
        tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count & 0xFFFF, count & 0xFFFF, len(listing), 0, 0)
    path.write_bytes(listing + tail)
    return path


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("",), "without a name"),
        ((".",), "without a name"),
        (("n" * 256,), "too long"),
        (("\u00e9" * 200,), "too long"),
        (("/".join(["directory"] * 200),), "too long"),
        (("a", "a/b"), "for a file and for a directory"),
        (("a/b", "a"), "for a file and for a directory"),
        (("x/a", "y", "x/a/b/c"), "for a file and for a directory"),
    ],
)
def test_names_that_no_directory_can_hold(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        extract_zip(_zip(tmp_path / "a.zip", *names), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize(("entries", "claimed"), [(300_000, None), (300_000, 1), (0, 10_000_000)])
def test_entries_are_counted_before_they_are_listed(
    tmp_path: Path, entries: int, claimed: int | None, zip64: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if claimed and claimed > 0xFFFF and not zip64:
        claimed = 0xFFFF
    path = _directory(tmp_path / "a.zip", entries, claimed, zip64)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # it would list every entry
    with at_most(0.5), pytest.raises(InputError, match="too many files"):
        extract_zip(path, tmp_path / "out")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_without_a_bound_are_refused(tmp_path: Path, compression: int) -> None:
    path = _zip(tmp_path / "a.zip", "a", content=bytes(MIB), compression=compression)
    with pytest.raises(InputError, match="compression"):
        extract_zip(path, tmp_path / "out")


def test_damaged_deflated_data(tmp_path: Path) -> None:
    raw = bytearray(_zip(tmp_path / "a.zip", "a", content=bytes(range(256)) * 100).read_bytes())
    for place in range(31, 200):
        raw[place] = 0xFF
    (tmp_path / "b.zip").write_bytes(raw)
    with pytest.raises(InputError, match="damaged"):
        extract_zip(tmp_path / "b.zip", tmp_path / "out")


def test_all_archives_of_one_upload_share_a_budget(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(30 * MIB))
    (tmp_path / "a.zip").write_bytes(stream.getvalue())
    limits = ReadingLimits(expanded_free_mb=50)
    with reading_within(Budget(limits, upload_bytes=len(stream.getvalue()))):
        extract_zip(tmp_path / "a.zip", tmp_path / "one")
        with pytest.raises(InputError, match="unpacks to far more than it may"):
            extract_zip(tmp_path / "a.zip", tmp_path / "two")
