"""Blobs in a directory of this machine, private to its user."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from hope.adapters.blob_keys import CHUNK, checked_key, checked_prefix, missing, verified
from hope.formats.atomic import output_error
from hope.ports import BlobInfo

_TRIES = 20


class LocalBlobs:
    """`hope.ports.BlobStore` in a directory: the key is the path below it.

    Args:
        root: made when first needed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def put_file(self, key: str, path: Path, sha256: str) -> None:
        """Store a local file, whole or not at all, by renaming it if it lies on the same file system.

        Raises:
            OutputError: if it cannot be written (disk full, no permission).
        """
        target = self._path(key)
        try:
            with path.open("rb") as file:
                os.fchmod(file.fileno(), 0o600)
                # The name must not reach the disk before the bytes do.
                os.fsync(file.fileno())
            for _ in range(_TRIES):
                # A deletion beside us may take the directory away again before the file is in it.
                with suppress(FileNotFoundError):
                    self._make_folder(target.parent)
                    _move(path, target)
                    _sync_folder(target.parent)
                    return
            raise FileNotFoundError(errno.ENOENT, "the directory vanishes")
        except OSError as error:
            raise output_error("a file of the store", error) from error

    def fetch(self, key: str, to: Path, sha256: str) -> None:
        """Bring a blob to a local file, as a hard link where the file system can (so never write to it).

        Raises:
            DamagedError: if it is missing or its bytes are not those that were stored.
            OutputError: if the local file cannot be written.
        """
        with self._open(key) as source:
            try:
                to.unlink(missing_ok=True)
                if self._linked(key, to):
                    for _ in verified(key, _chunks(source), sha256):
                        pass
                    return
                with to.open("xb") as target:
                    os.fchmod(target.fileno(), 0o600)
                    for chunk in verified(key, _chunks(source), sha256):
                        target.write(chunk)
            except OSError as error:
                raise output_error(to.name, error) from error
            except BaseException:
                to.unlink(missing_ok=True)
                raise

    def read(self, key: str, sha256: str) -> Iterator[bytes]:
        """The bytes in chunks of at most 1 MiB.

        Raises:
            DamagedError: in the last chunk's place if the hash differs, at once if the blob is missing.
        """
        return _closing(self._open(key), key, sha256)

    def keys(self, prefix: str) -> Iterator[BlobInfo]:
        """What lies under a prefix that ends in a slash, in order of the paths."""
        folder = self._root / checked_prefix(prefix)
        for parent, folders, files in os.walk(folder, onerror=_unless_gone):
            folders.sort()
            for name in sorted(files):
                path = Path(parent, name)
                # Deleted meanwhile is as good as never there; half-copied files begin with a dot.
                with suppress(FileNotFoundError):
                    if not name.startswith("."):
                        yield BlobInfo(path.relative_to(self._root).as_posix(), path.stat().st_size)

    def delete_prefix(self, prefix: str) -> tuple[int, int]:
        """Delete all under a prefix that ends in a slash; returns how many blobs and bytes. Missing is fine.

        Raises:
            OSError: if a directory cannot be listed or a file not deleted: it may hold scans.
        """
        folder = self._root / checked_prefix(prefix)
        count = size = 0
        for parent, _, files in os.walk(folder, topdown=False, onerror=_unless_gone):
            for name in files:
                path = Path(parent, name)
                with suppress(FileNotFoundError):
                    bytes_there = path.stat().st_size
                    path.unlink()
                    if not name.startswith("."):
                        count, size = count + 1, size + bytes_there
            _remove_if_empty(Path(parent))
        for parent_folder in folder.relative_to(self._root).parents[:-1]:
            _remove_if_empty(self._root / parent_folder)
        return count, size

    def free_bytes(self) -> int:
        """How many bytes are free on the disk of the directory, which is made if need be.

        Raises:
            OutputError: if it cannot be made.
        """
        try:
            self._make_folder(self._root)
            return shutil.disk_usage(self._root).free
        except OSError as error:
            raise output_error("a file of the store", error) from error

    def check(self) -> None:
        """Write and delete a small file.

        Raises:
            OutputError: if that is refused.
        """
        probe = self._root / f".{secrets.token_hex(6)}.part"
        try:
            self._make_folder(self._root)
            probe.touch(mode=0o600, exist_ok=False)
            probe.unlink()
        except OSError as error:
            raise output_error("a file of the store", error) from error

    def _path(self, key: str) -> Path:
        return self._root / checked_key(key)

    def _open(self, key: str) -> BinaryIO:
        try:
            return self._path(key).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise missing(key) from error

    def _linked(self, key: str, to: Path) -> bool:
        try:
            os.link(self._path(key), to)
        except OSError as error:
            if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES):
                return False
            raise
        return True

    def _make_folder(self, folder: Path) -> None:
        """Private, each of them: ``mkdir`` itself gives the mode to the last one only."""
        if not folder.is_dir():
            if folder != self._root:
                self._make_folder(folder.parent)
            folder.mkdir(mode=0o700, parents=folder == self._root, exist_ok=True)


def _move(path: Path, target: Path) -> None:
    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(path, target)


def _copy(path: Path, target: Path) -> None:
    """From another file system: the copy takes its place only when it is complete and on the disk."""
    temporary = target.with_name(f".{secrets.token_hex(6)}.part")
    try:
        with path.open("rb") as source, temporary.open("xb") as copy:
            os.fchmod(copy.fileno(), 0o600)
            shutil.copyfileobj(source, copy, CHUNK)
            copy.flush()
            os.fsync(copy.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    path.unlink()


def _sync_folder(folder: Path) -> None:
    """So that the name is on the disk too, before a row in the database says that it is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unless_gone(error: OSError) -> None:
    """What to do about a directory that cannot be listed; ``os.walk`` by itself passes over it without a word."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _closing(file: BinaryIO, key: str, sha256: str) -> Iterator[bytes]:
    with file:
        yield from verified(key, _chunks(file), sha256)
