"""SHA-256 of files, read in blocks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
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

    Links are followed, each directory once. A link to nothing counts by where it leads. Names that begin with a dot,
    and what is neither a file nor a directory, count for nothing in a directory.

    Raises:
        OSError: if one cannot be read.
    """
    files: set[Path] = set()
    seen: set[tuple[int, int]] = set()
    for path in sorted(set(paths)):
        files.update(_files_in(path, seen) if path.is_dir() else (path,))
    hashes = sorted(_sha256_of_link(file) if _leads_nowhere(file) else sha256_of(file) for file in files)
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _files_in(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Files and dead links below a folder, but for directories that were seen before."""
    for root, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        facts = Path(root).stat()
        if (facts.st_dev, facts.st_ino) in seen:
            folders.clear()
            continue
        seen.add((facts.st_dev, facts.st_ino))
        folders[:] = [name for name in folders if not name.startswith(".")]
        found = (Path(root, name) for name in names if not name.startswith("."))
        yield from (path for path in found if path.is_file() or _leads_nowhere(path))


def _raise(error: OSError) -> None:
    raise error


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _sha256_of_link(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
