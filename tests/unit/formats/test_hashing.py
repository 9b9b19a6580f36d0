"""SHA-256 of files, against hashlib on their bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hope.formats.hashing import hash_file, sha256_of


@pytest.mark.parametrize("content", [b"", b"x", bytes(3_000_001)], ids=["empty", "one byte", "several blocks"])
def test_hash_and_size_of_a_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(content)
    assert hash_file(tmp_path / "f") == (hashlib.sha256(content).hexdigest(), len(content))
    assert sha256_of(tmp_path / "f") == hashlib.sha256(content).hexdigest()


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        hash_file(tmp_path / "nothing")
