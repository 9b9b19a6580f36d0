from __future__ import annotations

import errno
import os
import stat
import zipfile
from pathlib import Path

import pytest

from hope.domain.errors import InputError, OutputError
from hope.formats import archive
from hope.formats.archive import extract_zip, is_zip


def _zip(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, content in entries.items():
            target.writestr(name, content)
    return path


def test_unpacks_with_directories(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", {"study/one": b"1", "study/deep/two.dcm": b"22"})
    out = extract_zip(path, tmp_path / "out")
    assert (out / "study/deep/two.dcm").read_bytes() == b"22"
    assert is_zip(path) and not is_zip(out)


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "C:/evil"])
def test_never_writes_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="outside"):
        extract_zip(_zip(tmp_path / "a.zip", {"good": b"1", name: b"x"}), tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("evil")) and not list(tmp_path.rglob("good"))


def test_refuses_links(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as target:
        target.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="symbolic link"):
        extract_zip(tmp_path / "a.zip", tmp_path / "out")


def test_refuses_bombs_before_unpacking(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", {"zeros": bytes(80 * 2**20)})
    with pytest.raises(InputError, match="far more than a study"):
        extract_zip(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_refuses_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_FILES", 3)
    with pytest.raises(InputError, match="too many files"):
        extract_zip(_zip(tmp_path / "a.zip", {str(i): b"" for i in range(4)}), tmp_path / "out")


def test_refuses_what_is_encrypted_damaged_or_no_zip(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", {"one": b"1" * 1000}, zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    raw[60] ^= 0xFF
    (tmp_path / "damaged.zip").write_bytes(raw)
    with pytest.raises(InputError, match="damaged"):
        extract_zip(tmp_path / "damaged.zip", tmp_path / "out")
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "secret.zip").write_bytes(raw)
    with pytest.raises(InputError, match="encrypted"):
        extract_zip(tmp_path / "secret.zip", tmp_path / "out")
    (tmp_path / "no.zip").write_bytes(b"PK but nothing more")
    with pytest.raises(InputError, match="damaged"):
        extract_zip(tmp_path / "no.zip", tmp_path / "out")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_is_the_archives_fault_whatever_its_compression(tmp_path: Path, compression: int) -> None:
    path = _zip(tmp_path / "a.zip", {"one": bytes(range(256)) * 40}, compression)
    raw = path.read_bytes()
    refused = 0
    for position in range(33, 73):  # the member's first compressed bytes, after its header
        (tmp_path / "b.zip").write_bytes(raw[:position] + bytes([raw[position] ^ 0xFF]) + raw[position + 1 :])
        try:
            extract_zip(tmp_path / "b.zip", tmp_path / "out")
        except InputError:
            refused += 1
    assert refused > 30  # LZMA keeps a version number there that nobody reads


def test_reading_and_writing_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _zip(tmp_path / "a.zip", {"one": b"1"})
    with pytest.raises(InputError, match="the zip archive cannot be read") as caught:
        extract_zip(tmp_path / ("x" * 300), tmp_path / "out")
    assert "xxx" not in str(caught.value)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write the unpacked archive"):
        extract_zip(path, tmp_path / "file" / "out")

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(zipfile.ZipExtFile, "read", fail)
    with pytest.raises(InputError, match="the zip archive cannot be read") as caught:
        extract_zip(path, tmp_path / "out")
    assert str(tmp_path) not in str(caught.value)


def test_a_file_that_cannot_be_read_is_not_said_to_be_no_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _zip(tmp_path / "a.zip", {"one": b"1"})

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError):
        is_zip(path)
