"""SHA-256 of files, read in blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def hash_file(path: Path) -> tuple[str, int]:
    """SHA-256 (lower-case hex) of a file, and its size in bytes.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return digest, stream.tell()


def sha256_of(path: Path) -> str:
    """SHA-256 (lower-case hex) of a file.

    Raises:
        OSError: if it cannot be read.
    """
    return hash_file(path)[0]


def sha256_of_all(paths: Iterable[Path]) -> str:
    """SHA-256 (lower-case hex) of the contents of files and of all files in directories, whatever they are called.

    Raises:
        OSError: if one cannot be read.
    """
    files = {file for path in set(paths) for file in (path.rglob("*") if path.is_dir() else (path,))}
    hashes = sorted(sha256_of(file) for file in files if not file.is_dir())
    return hashlib.sha256("".join(hashes).encode()).hexdigest()
