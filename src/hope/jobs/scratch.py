"""Private temporary folders that a later process clears away if this one dies.

A free lock is a death only where the lock would be seen (`lock_place`): machines may share the folder, and each kernel
may know its own locks alone. A process elsewhere is judged by the time of its lock's file, which it touches.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from hope.domain.errors import HopeError, InputError
from hope.jobs.lock_place import LockPlace

LOOK_SECONDS = 0.25
"""How often every process looks whether one of the others on this machine has died; it tries a lock of each."""

SWEEP_SECONDS = 1.0
"""How often it looks for directories that dead ones left, besides when it has just seen one die."""

CLOSE_SECONDS = 2.0
"""How long the removal of a folder is tried again while a process that was just killed still writes into it."""

TOUCH_SECONDS = 30.0
"""How often a process touches its lock's file, for peers on other machines."""

SILENT_SECONDS = 600.0
"""What a process elsewhere has is deleted when it has not touched its lock for so long, and we looked all the time."""

_GAP_SECONDS = 60.0
"""A pause between two looks after which they begin anew: we were stopped, or the file system was away for all."""

_PREFIX = "room-"
_MOST_TEXT = 1000
_now = time.monotonic

log = logging.getLogger(__name__)


class Scratch:
    """Folders below ``root``, one locked directory per process. The lock falls with the process, however it ends.

    Args:
        root: shared by processes, of several machines too; made if need be, readable by its owner only.
        name: of this process, unique for every start; random if not given.

    Raises:
        InputError: if files cannot be locked there.
        OSError: if nothing can be written there.
    """

    def __init__(self, root: Path, name: str = "") -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._root = root
        self.directory = root / f"{_PREFIX}{name or secrets.token_hex(8)}"
        # The lock is held before it has its name, and the directory is made after that: so nobody takes a new one for a
        # dead process's, and a directory without a lock is always one that nobody has any more.
        unnamed = root / f".{self.directory.name}.lock"
        self._lock = unnamed.open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            unnamed.unlink(missing_ok=True)
            raise InputError(
                f"files cannot be locked in the folder for work in progress: {error.strerror}",
                fix="choose a folder on a local disk: HOPE_DATA_DIR, of an endpoint HOPE_ENDPOINT_SCRATCH",
            ) from error
        self._place = LockPlace.of(os.fstat(self._lock.fileno()).st_dev)
        self._lock.write(self._place.text())
        self._lock.flush()
        self._lock_path = unnamed.rename(root / f"{self.directory.name}.lock")
        self.directory.mkdir(mode=0o700)
        self._sweeping = threading.Lock()
        self._left: set[Path] = set()
        self._silent: dict[Path, tuple[float, float, float]] = {}
        self._closed = threading.Event()
        threading.Thread(target=self._touch, name="hope-scratch", daemon=True).start()

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A new empty folder that is gone when the block ends.

        Raises:
            OSError: if it cannot be made.
        """
        path = self.directory / secrets.token_hex(8)
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            if not removed(path, CLOSE_SECONDS):
                self._left.add(path)

    def dead(self) -> list[str]:
        """Names of the processes that are dead by their lock, and whose directory or lock is still there.

        The kernel lets go of a lock when its process has ended and not before, however busy the machine is. Nobody is
        named whose lock cannot be seen from here.
        """
        return [
            path.stem.removeprefix(_PREFIX)
            for path in self._root.iterdir()
            if path.suffix == ".lock"
            and path.name.startswith(_PREFIX)
            and path != self._lock_path
            and self._is_free(path)
        ]

    def sweep(self) -> list[str]:
        """Delete what dead processes left.

        Returns:
            the names of the processes whose directory is gone now. One whose directory could not be deleted is not
            among them; the next sweep tries again.
        """
        swept = []
        with self._sweeping:
            self._left = {path for path in self._left if not removed(path)}
            locks = [path for path in self._root.glob(f"{_PREFIX}*.lock") if path != self._lock_path]
            self._silent = {path: seen for path, seen in self._silent.items() if path in locks}
            for lock_path in locks:
                directory = lock_path.with_suffix("")
                if self._taken(lock_path, directory):
                    swept.append(directory.name.removeprefix(_PREFIX))
            for directory in self._root.glob(f"{_PREFIX}*"):
                if directory.suffix != ".lock" and not directory.with_suffix(".lock").exists() and removed(directory):
                    swept.append(directory.name.removeprefix(_PREFIX))
        return swept

    def close(self) -> None:
        """Delete this process's directory. If that is not possible yet, the next process's sweep finds it."""
        self._closed.set()
        removed(self.directory, CLOSE_SECONDS)
        if not self._lock.closed:
            self._lock_path.unlink(missing_ok=True)
            self._lock.close()

    def _is_free(self, lock_path: Path) -> bool:
        """Whether nobody holds a lock that is seen here. Several may look at once; who sweeps has been told as well."""
        try:
            with lock_path.open("r+", encoding="ascii", errors="replace") as lock:
                if not self._sees(lock):
                    return False
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False  # its process lives, or somebody else has just swept
        return True

    def _taken(self, lock_path: Path, directory: Path) -> bool:
        """Delete a directory whose process has ended; whether it is gone."""
        try:
            with lock_path.open("r+", encoding="ascii", errors="replace") as lock:
                if not self._sees(lock) and not self._has_been_silent(lock_path, lock):
                    return False
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not removed(directory):
                    return False
                lock_path.unlink(missing_ok=True)
                return True
        except OSError:
            return False  # its process lives, or somebody else was here at the same time

    def _sees(self, lock: IO[str]) -> bool:
        """Whether the lock of an open file would be seen here if its process lived."""
        place = LockPlace.read(lock.read(_MOST_TEXT))
        return place is not None and self._place.shows(place)

    def _has_been_silent(self, lock_path: Path, lock: IO[str]) -> bool:
        """Whether a process elsewhere has not touched its lock for long, by our clock and by looks without a gap."""
        touched, now = os.fstat(lock.fileno()).st_mtime, _now()
        before, since, last = self._silent.get(lock_path, (None, now, now))
        if before != touched or now - last > _GAP_SECONDS:
            since = now
        self._silent[lock_path] = (touched, since, now)
        return now - since >= SILENT_SECONDS

    def _touch(self) -> None:
        while not self._closed.wait(TOUCH_SECONDS):
            with suppress(OSError, ValueError):  # the file system is away, or the lock has just been closed
                os.utime(self._lock.fileno())


class Sweeper:
    """Notices in a thread of its own which processes of this machine have died, and deletes their directories.

    Args:
        scratch: this process's directory among them.
        tell: called for each process whose directory is gone; again later if the store does not answer or is full.
        on_death: called once for each dead process, before its directory is deleted.
    """

    def __init__(
        self, scratch: Scratch, tell: Callable[[str], None], on_death: Callable[[str], None] = lambda _: None
    ) -> None:
        self._scratch, self._tell, self._on_death = scratch, tell, on_death
        self._untold: set[str] = set()
        self._noticed: set[str] = set()

    def start(self) -> None:
        """Sweep once before this returns, then again and again."""
        self.sweep()
        threading.Thread(target=self._run, name="hope-sweeper", daemon=True).start()

    def sweep(self) -> None:
        """Say who has died, and delete what they left."""
        try:
            self._notice()
            swept = self._scratch.sweep()
        except OSError as error:
            log.warning("scratch directories of dead processes could not be looked for: %s", type(error).__name__)
            return
        if swept:
            log.warning("the scratch directories of %d dead process(es) were deleted", len(swept))
        self._untold.update(swept)
        for name in sorted(self._untold):
            try:
                self._tell(name)
            except (HopeError, OSError) as error:
                log.info("the store could not be told of a deleted scratch directory yet: %s", type(error).__name__)
                return
            self._untold.discard(name)

    def _notice(self) -> bool:
        """Say who has died since the last look; whether anybody has."""
        dead = set(self._scratch.dead())
        new, self._noticed = dead - self._noticed, dead
        for name in sorted(new):
            self._on_death(name)
        return bool(new)

    def _run(self) -> None:
        sweep_at = time.monotonic() + SWEEP_SECONDS
        while True:
            time.sleep(LOOK_SECONDS)
            try:
                died = self._notice()
            except OSError as error:
                log.warning("dead processes could not be looked for: %s", type(error).__name__)
                died = False
            if died or time.monotonic() >= sweep_at:
                self.sweep()
                sweep_at = time.monotonic() + SWEEP_SECONDS


def removed(folder: Path, seconds: float = 0.0) -> bool:
    """Delete a folder; whether it is gone. For so many seconds it is tried again."""
    deadline = time.monotonic() + seconds
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
