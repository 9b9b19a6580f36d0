"""Unpacking an uploaded zip without trusting it."""

from __future__ import annotations

import errno
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from hope.domain.errors import InputError
from hope.domain.limits import DEFAULT_LIMITS
from hope.formats.atomic import output_error
from hope.formats.budget import current_budget
from hope.formats.reading import input_error
from hope.formats.zip_directory import check_entry_count

MAX_TOTAL_BYTES = 8 * 2**30
"""Most that one archive may unpack to."""

MAX_FILES = DEFAULT_LIMITS.files
"""Most entries that one archive may hold."""

MAX_NAME_BYTES = 255
"""Longest part of a path in an archive: what every usual file system can hold."""

MAX_PATH_BYTES = 1024
"""Longest path in an archive."""

MAX_RATIO = 200
"""An archive that unpacks to more than this many times its size (and to more than 64 MiB) is a bomb, not a study."""

_RATIO_FREE_BYTES = 64 * 2**20
_BLOCK = 2**20
# What zipfile and its decompressors raise on bytes that they do not understand.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, struct.error, IndexError, OverflowError)
# bzip2 and LZMA give out all that a block holds at once, which may be gigabytes.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What a file system says of a name that it cannot hold.
_BAD_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ)


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
        InputError: if it is no zip, unreadable, damaged, encrypted, far too large once unpacked, reaches outside
            ``into``, or holds names that no directory can hold.
        OutputError: if the scratch disk is full or not writable.
    """
    with open_zip(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
        targets = _checked_targets(entries, path.stat().st_size, into, max_bytes)
        try:
            into.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error("the unpacked archive", error) from error
        _unpack(archive, targets, max_bytes)
    return into


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip after its entries are counted; what goes wrong with the archive in the block is an InputError.

    Raises:
        InputError: if it is no zip, unreadable or damaged, or holds too many entries.
    """
    try:
        with path.open("rb") as file:
            check_entry_count(file, MAX_FILES)
            file.seek(0)
            with zipfile.ZipFile(file) as archive:
                yield archive
    except _DAMAGED as error:
        raise _damaged() from error
    except NotImplementedError as error:
        raise _compression() from error
    except OSError as error:
        raise _unreadable(error) from error


def _compression() -> InputError:
    return InputError("the zip archive uses a compression that cannot be read", expected="deflate", fix="make it again")


def _damaged() -> InputError:
    return InputError("the zip archive is damaged or is none", expected="a complete zip", fix="make it again")


def _unreadable(error: OSError) -> InputError:
    # EINVAL is a seek to where the archive does not lie.
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
    targets = [(entry, into.joinpath(*_parts(entry))) for entry in entries]
    _refuse_conflicts([target for _, target in targets], into)
    return targets


def _parts(entry: zipfile.ZipInfo) -> tuple[str, ...]:
    """The path of an entry below the directory that it is unpacked to."""
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
    if entry.compress_type not in _COMPRESSIONS:
        raise _compression()
    if not parts:
        raise InputError("the zip archive holds a file without a name", fix="make it again from the study directory")
    sizes = [len(part.encode("utf-8", "surrogatepass")) for part in parts]
    if max(sizes) > MAX_NAME_BYTES or sum(sizes) + len(sizes) > MAX_PATH_BYTES:
        expected = f"at most {MAX_NAME_BYTES} bytes each and {MAX_PATH_BYTES} with their directories"
        raise InputError("the zip archive holds names that are too long", expected=expected, fix="shorten the names")
    return parts


def _refuse_conflicts(targets: Sequence[Path], into: Path) -> None:
    """Refuse a name that stands for a file and for the directory of another file."""
    files, directories = set(targets), set()
    for target in targets:
        for parent in target.parents:
            if parent == into or parent in directories:
                break
            directories.add(parent)
    if files & directories:
        raise InputError(
            "the zip archive uses one name for a file and for a directory",
            fix="make it again from the study directory",
        )


def _unpack(archive: zipfile.ZipFile, targets: list[tuple[zipfile.ZipInfo, Path]], max_bytes: int) -> None:
    left, budget = max_bytes, current_budget()
    for entry, target in targets:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # Sizes in the directory may lie, so the bytes are counted again as they come.
            with target.open("wb") as file:
                for block in _blocks(archive, entry):
                    left -= len(block)
                    if left < 0:
                        raise InputError("the zip archive unpacks to far more than it says", fix="make it again")
                    budget.expand(len(block), "the zip archive")
                    file.write(block)
        except OSError as error:
            if error.errno in _BAD_NAME:
                raise InputError(
                    "the zip archive holds a name that cannot be written here", fix="make it again with plain names"
                ) from error
            raise output_error("the unpacked archive", error) from error


def _blocks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a member's bytes. Its reading errors leave as InputError, so that an OSError outside is one of writing."""
    try:
        with archive.open(entry) as source:
            while block := source.read(_BLOCK):
                yield block
    except OSError as error:
        raise _unreadable(error) from error
