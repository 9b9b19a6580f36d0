"""SHA-256 of files, read in blocks."""

from __future__ import annotations

import hashlib
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
