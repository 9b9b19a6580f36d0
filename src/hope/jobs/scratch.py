"""Private temporary folders that a later process clears away if this one dies."""

from __future__ import annotations

import fcntl
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Scratch:
    """Folders below ``root``, one locked room per process. The lock falls with the process, however it ends.

    Args:
        root: shared by the processes of one machine; made if need be, readable by its owner only.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._root = root
        self.room = root / f"room-{secrets.token_hex(8)}"
        # The lock exists before the room does, so that nobody takes a new room for a dead process's.
        self._lock = (root / f"{self.room.name}.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.room.mkdir(mode=0o700)
        self._sweeping = threading.Lock()

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A new empty folder that is gone when the block ends."""
        path = self.room / secrets.token_hex(8)
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def sweep(self) -> int:
        """Delete what dead processes left; returns how many rooms."""
        swept = 0
        with self._sweeping:
            for lock_path in list(self._root.glob("room-*.lock")):
                room = lock_path.with_suffix("")
                if room == self.room:
                    continue
                with lock_path.open("w") as lock:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except OSError:
                        continue  # its process lives
                    shutil.rmtree(room, ignore_errors=True)
                    if not room.exists():
                        lock_path.unlink(missing_ok=True)
                        swept += 1
        return swept

    def close(self) -> None:
        """Delete this process's room."""
        shutil.rmtree(self.room, ignore_errors=True)
        if not self._lock.closed:
            Path(self._lock.name).unlink(missing_ok=True)
            self._lock.close()
