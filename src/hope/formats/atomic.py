"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from hope.domain.errors import FullError, OutputError
from hope.formats.private_directory import MACHINE, OURS, delete_unlocked, lock, partial_directory

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space or choose another output directory"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or choose another output directory"),
    errno.EFBIG: ("the file would be larger than this system allows", "choose another output directory"),
    errno.EACCES: ("permission denied", "choose an output directory that you may write to"),
    errno.EPERM: ("permission denied", "choose an output directory that you may write to"),
    errno.EROFS: ("the file system is read-only", "choose an output directory that you may write to"),
    errno.ENOENT: ("its directory does not exist", "create the directory first"),
    errno.ENOTDIR: ("a part of its path is a file", "choose another output directory"),
    errno.ENOTEMPTY: ("it holds something", "choose another output directory"),
    errno.EISDIR: ("a directory of that name is in the way", "choose another output name"),
}


FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the operating system says when there is no room."""

_POSIX: Final = os.name == "posix"
"""Elsewhere nothing is locked, and an open file cannot be renamed."""

_PARTIAL: Final = re.compile(rf"\.{OURS}-[0-9a-f]{{8}}\.part")

_INSIDE: Final = "hope"
_PARTIAL_INSIDE: Final = re.compile(rf"\.{_INSIDE}\.{OURS}-[0-9a-f]{{8}}\.part")


def output_error(name: str, error: OSError) -> OutputError:
    """Word the one sentence for an operating system error while writing ``name``; a FullError if there is no room."""
    reason, fix = _REASONS.get(error.errno or 0, (error.strerror or "an input/output error", "check the output disk"))
    kind = FullError if error.errno in FULL else OutputError
    return kind(f"cannot write {name}: {reason}; {fix}")


def holds_something(path: Path) -> bool:
    """Whether a file is there that can be lost; an empty one, as `mktemp` makes, cannot.

    Raises:
        OutputError: if it cannot be looked at.
    """
    try:
        found = path.stat()
        return found.st_size > 0 or not stat.S_ISREG(found.st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise output_error(path.name, error) from error


@contextmanager
def atomic_output(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that takes its place at ``path`` only when the block ends well; else nothing stays behind.

    Raises:
        OutputError: if the operating system refuses (disk full, no permission, no such directory).
    """
    temporary, file = path, None
    try:
        while file is None:
            temporary = path.with_name(f".{MACHINE}-{secrets.token_hex(4)}.part")
            file = _opened(temporary)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if _POSIX:
                    temporary.replace(path)  # still locked: a closed file without its name would be cleared
            if not _POSIX:
                temporary.replace(path)
        finally:
            # After a success the name is gone already; after a failure the half-written file must not stay.
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path.name, error) from error


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together: they take their places, in their order, once all of them are on the disk.

    The one that lists the others comes last. A process that is killed between two of these renames leaves some new and
    some old ones, each of them whole.

    Raises:
        OutputError: if the operating system refuses; before the first of them takes its place none does.
    """
    with ExitStack() as renamed_when_it_ends:
        # The stack ends the last one first.
        for path, content in reversed(list(contents.items())):
            stream = renamed_when_it_ends.enter_context(atomic_output(path))
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())


def _opened(temporary: Path) -> BinaryIO | None:
    """A new file that `clear_partial_files` leaves alone while it is open; None if that deleted it at once."""
    file = temporary.open("xb")
    lock(file.fileno())
    if temporary.exists():
        return file
    file.close()
    return None


def clear_partial_files(folder: Path) -> None:
    """Delete the files that `atomic_output` of this user's killed processes left half-written in a folder.

    Those that a living process on this machine writes stay, and so do those of other machines.
    """
    delete_unlocked(folder, _PARTIAL, directories=False)


def is_free(target: Path) -> bool:
    """Whether `atomic_directory` may make a directory: nothing is there, or an empty one.

    What a process that was killed on this machine left in an empty one is deleted.

    Raises:
        OutputError: if it cannot be looked at.
    """
    try:
        if not target.is_dir():
            return not target.exists()
        delete_unlocked(target, _PARTIAL_INSIDE)
        return not any(target.iterdir())
    except OSError as error:
        raise output_error("the output directory", error) from error


@contextmanager
def atomic_directory(target: Path, mode: int = 0o777, last: str = "") -> Iterator[Path]:
    """A directory that becomes ``target`` only when the block ends well; else nothing stays behind.

    What a process that was killed on this machine left of an earlier one of the same name is deleted. An empty
    directory that is there already stays the same one, since it may be a mount or the current directory: it is filled
    one entry after another.

    Args:
        target: not there yet, or an empty directory (`is_free`), or a link to one; the directories above it are made.
        mode: of a directory that was not there, less what the process masks.
        last: name of the file by which others know that the directory is whole.

    Raises:
        OutputError: if the operating system refuses, also to delete what a failed block left.
    """
    target = Path(os.path.realpath(target))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        there = target.is_dir()
        with partial_directory(target / _INSIDE if there else target, mode) as partial:
            try:
                yield partial
                if there:
                    _fill(target, partial, last)
                else:
                    partial.replace(target)
            finally:
                # After a success the name is gone already.
                if partial.exists():
                    shutil.rmtree(partial)
    except OSError as error:
        raise output_error("the output directory", error) from error


def _fill(target: Path, partial: Path, last: str) -> None:
    """Move all entries of ``partial`` into ``target``, which holds nothing else; if that fails, none stays there."""
    if {path for path in target.iterdir() if not _PARTIAL_INSIDE.fullmatch(path.name)}:
        raise OSError(errno.ENOTEMPTY, "")
    moved: list[Path] = []
    try:
        for path in sorted(partial.iterdir(), key=lambda path: (path.name == last, path.name)):
            path.rename(target / path.name)
            moved.append(target / path.name)
    except BaseException:
        for path in moved:
            with suppress(OSError):  # the first error is the one to be told
                path.rename(partial / path.name)
        raise
    partial.rmdir()
