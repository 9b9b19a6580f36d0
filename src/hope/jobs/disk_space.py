"""Whether the disks have room: what is let in, and when work that met a full disk goes on."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from hope.domain.errors import FullError
from hope.ports import BlobStore

MIB = 2**20

KEPT_SHARE = 0.02
"""Of a small disk no more than this share is kept free."""


BALLAST_BYTES = 8 * MIB
"""What a deletion may write on a disk that was full."""


@dataclass(frozen=True)
class DiskSpace:
    """The disks that a process writes to.

    Attributes:
        scratch: a folder on the disk of the scratch directories.
        blobs: where voxels are kept.
        keep_mb: MiB that stay free, for the database and for what deletions write.
    """

    scratch: Path
    blobs: BlobStore
    keep_mb: int

    def free(self) -> int:
        """Bytes that are free on the fuller disk."""
        here, there = shutil.disk_usage(self.scratch).free, self.blobs.free_bytes()
        return here if there is None else min(here, there)

    def check(self, more_bytes: int = 0) -> None:
        """Whether so many bytes more may be stored. Blocks.

        Raises:
            FullError: if not.
        """
        keep = min(self.keep_mb * MIB, int(KEPT_SHARE * shutil.disk_usage(self.scratch).total))
        if self.free() - more_bytes < keep:
            raise FullError("the disk is full; delete a case, or let whoever runs the server free some space")


class Ballast:
    """A file that only takes up room: given up when a deletion cannot write what it has to write on a full disk.

    Args:
        path: on the disk of the embedded database; shared by the processes of one data directory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self) -> None:
        """Make the file if it is not there and the disk has room for it ten times."""
        disk = shutil.disk_usage(self._path.parent)
        size = min(BALLAST_BYTES, int(KEPT_SHARE * disk.total))
        if self._path.exists() or disk.free < 10 * size:
            return
        made = self._path.with_name(f".{self._path.name}-{os.getpid()}")
        try:
            with made.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(1, size))
            made.rename(self._path)
        except OSError:
            made.unlink(missing_ok=True)  # no room any more: the next round tries again

    def give_up(self) -> None:
        """Delete the file; the room is free then."""
        self._path.unlink(missing_ok=True)
