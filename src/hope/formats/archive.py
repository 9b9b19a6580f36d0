"""Unpacking an uploaded zip without trusting it."""

from __future__ import annotations

import errno
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from hope.domain.errors import InputError
from hope.formats.atomic import output_error
from hope.formats.reading import input_error

MAX_TOTAL_BYTES = 8 * 2**30
"""Most that one archive may unpack to."""

MAX_FILES = 50_000
"""Most files that one archive may hold."""

MAX_RATIO = 200
"""An archive that unpacks to more than this many times its size (and to more than 64 MiB) is a bomb, not a study."""

_RATIO_FREE_BYTES = 64 * 2**20
_BLOCK = 2**20
# What zipfile and its decompressors raise on bytes that they do not understand.
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, struct.error)


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive, by its content.

    Raises:
        OSError: if it cannot be read, which says nothing about its content.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return zipfile.is_zipfile(file)


def extract_zip(path: Path, into: Path, max_bytes: int = MAX_TOTAL_BYTES) -> Path:
    """Unpack a zip under ``into``, keeping its directories.

    Args:
        path: the archive.
        into: a directory that is made if need be.
        max_bytes: most that it may unpack to.

    Returns:
        ``into``.

    Raises:
        InputError: if it is no zip, unreadable, damaged, encrypted, far too large once unpacked, or reaches outside
            ``into``.
        OutputError: if the scratch disk is full or not writable.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            targets = _checked_targets(entries, path.stat().st_size, into, max_bytes)
            _unpack(archive, targets, max_bytes)
    except _DAMAGED as error:
        raise _damaged() from error
    except NotImplementedError as error:
        raise InputError(
            "the zip archive uses a compression that cannot be read", expected="deflate", fix="make it again"
        ) from error
    except OSError as error:
        raise _unreadable(error) from error
    return into


def _damaged() -> InputError:
    return InputError("the zip archive is damaged or is none", expected="a complete zip", fix="make it again")


def _unreadable(error: OSError) -> InputError:
    # The bz2 decompressor reports damage as an OSError without a number; EINVAL is a seek to where the archive lies.
    return _damaged() if error.errno in (None, errno.EINVAL) else input_error("the zip archive", error)


def _checked_targets(
    entries: list[zipfile.ZipInfo], size: int, into: Path, max_bytes: int
) -> list[tuple[zipfile.ZipInfo, Path]]:
    if len(entries) > MAX_FILES:
        raise InputError("the zip archive holds too many files", expected=f"at most {MAX_FILES}", got=str(len(entries)))
    total = sum(entry.file_size for entry in entries)
    if total > max_bytes or (total > _RATIO_FREE_BYTES and total > MAX_RATIO * size):
        got = f"{total / 2**20:.0f} MiB from {size / 2**20:.1f} MiB"
        limit = f"at most {max_bytes / 2**30:g} GiB and {MAX_RATIO} times its own size"
        raise InputError("the zip archive unpacks to far more than a study", expected=limit, got=got)
    targets = []
    for entry in entries:
        name = entry.filename.replace("\\", "/")
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or any(":" in part or "\0" in part for part in parts):
            raise InputError(
                "the zip archive wants to write outside its directory", fix="make it again from the study directory"
            )
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise InputError(
                "the zip archive holds a symbolic link", expected="plain files", fix="make it again without links"
            )
        if entry.flag_bits & 1:
            raise InputError("the zip archive is encrypted", expected="one without a password", fix="unpack it first")
        targets.append((entry, into.joinpath(*parts)))
    return targets


def _unpack(archive: zipfile.ZipFile, targets: list[tuple[zipfile.ZipInfo, Path]], max_bytes: int) -> None:
    left = max_bytes
    for entry, target in targets:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # Sizes in the directory may lie, so the bytes are counted again as they come.
            with target.open("wb") as file:
                for block in _blocks(archive, entry):
                    left -= len(block)
                    if left < 0:
                        raise InputError("the zip archive unpacks to far more than it says", fix="make it again")
                    file.write(block)
        except OSError as error:
            raise output_error("the unpacked archive", error) from error


def _blocks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a member's bytes. Its reading errors leave as InputError, so that an OSError outside is one of writing."""
    try:
        with archive.open(entry) as source:
            while block := source.read(_BLOCK):
                yield block
    except OSError as error:
        raise _unreadable(error) from error
