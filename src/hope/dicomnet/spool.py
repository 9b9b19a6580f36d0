"""The spool: studies on their way in, and objects on their way out. It is the one place that holds names.

Only the account that runs HOPE can read it (mode 0700). Below it lie ``arriving``, ``whole``, ``working``, ``outgoing``
and ``failed``, with a directory for each study in them, so that a process that was killed goes on where it was.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from hope.dicomnet.arrivals import REFUSED, RESTARTED, Arrival, Sent
from hope.dicomnet.instance import Instance, instance_of
from hope.domain.errors import FullError, InputError, OutputError
from hope.domain.limits import MIB
from hope.formats.atomic import FULL, output_error

ARRIVING, WHOLE, WORKING, OUTGOING, FAILED = _PARTS = ("arriving", "whole", "working", "outgoing", "failed")

_KEPT_SHARE: Final = 0.02


class Spool:
    """Studies on disk, and what is known of those that come in. All methods may be called by any thread.

    Args:
        root: its directory; it is made, and closed to other accounts.
        quiet_seconds: a study is closed when nothing of it came for so long and no association that sent it is open.
        hours: what lies here is deleted after so long.
        keep_free_mb: MiB of the disk that stay free; 2 % of a smaller disk.
        clock: seconds that only grow.

    Raises:
        OutputError: if the directory cannot be made, holds other files, or is used by another process.
    """

    def __init__(
        self,
        root: Path,
        quiet_seconds: float,
        hours: float,
        keep_free_mb: int = 512,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.root, self._quiet, self._hours = root, quiet_seconds, hours
        self._keep, self._clock = keep_free_mb * MIB, clock
        self._lock = threading.RLock()
        self._studies: dict[str, Arrival] = {}
        self._refused: set[int] = set()
        try:
            # Its mode is changed and its content is deleted in time: it must not be anything else.
            if root.is_dir() and not (root / ".lock").exists() and any(root.iterdir()):
                raise OutputError("the spool directory holds other files; name an empty one, or one that is not there")
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            root.chmod(0o700)
            for part in _PARTS:
                (root / part).mkdir(exist_ok=True, mode=0o700)
            self._lock_file = (root / ".lock").open("w")
        except OSError as error:
            raise output_error("the spool directory", error) from error
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock_file.close()
            raise OutputError("another `hope dicom receive` uses this spool directory; choose another one") from error
        self._recover()

    def close(self) -> None:
        """Let another process use the directory."""
        self._lock_file.close()

    def _recover(self) -> None:
        """Take up what an earlier process left: work is done again, and what was coming in is held."""
        for folder in sorted((self.root / WORKING).iterdir()):
            _delete(self.root / OUTGOING / folder.name)
            self._move(folder, self.root / WHOLE / folder.name)
        for folder in sorted((self.root / ARRIVING).iterdir()):
            study = self._studies[folder.name] = Arrival(self._clock())
            for file in sorted(folder.iterdir()):
                if file.suffix != ".dcm":
                    file.unlink()
                    continue
                series = instance_of(file.read_bytes()).series
                study.series.setdefault(series, set()).add(file.name)
                study.held[series] = RESTARTED

    def store(self, association: int, instance: Instance, content: bytes) -> None:
        """Store one image; it is on the disk when this returns.

        Raises:
            FullError: if the disk is full; nothing of the image is left then, and its study is held.
            OutputError: if it cannot be written for another reason; the same holds.
        """
        with self._lock:
            study = self._study(instance.study_key)
            sent = study.open.setdefault(association, Sent())
            folder = self.root / ARRIVING / instance.study_key
            try:
                self._write(folder, instance.file_name, content)
            except Exception as error:
                sent.refused.add(instance.series)
                study.held[instance.series] = REFUSED
                study.last = self._clock()
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
                if not isinstance(error, OSError):
                    raise
                if error.errno in FULL:
                    raise FullError(
                        "the disk of the spool is full; free some space, and send the study again"
                    ) from None
                raise output_error("the spool directory", error) from None
            sent.stored.add(instance.series)
            study.series.setdefault(instance.series, set()).add(instance.file_name)
            study.expected[instance.series] = max(instance.expected, study.expected.get(instance.series, 0))
            study.last = self._clock()

    def _study(self, key: str) -> Arrival:
        if key not in self._studies:
            self._studies[key] = Arrival(self._clock())
            waiting = self.root / WHOLE / key
            if waiting.is_dir():
                # More of it comes before it was begun: it is open again.
                waiting.rename(self.root / ARRIVING / key)
                for file in (self.root / ARRIVING / key).iterdir():
                    self._studies[key].series.setdefault(instance_of(file.read_bytes()).series, set()).add(file.name)
        return self._studies[key]

    def _write(self, folder: Path, name: str, content: bytes) -> None:
        disk = shutil.disk_usage(self.root)
        if disk.free - len(content) < min(self._keep, int(_KEPT_SHARE * disk.total)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        folder.mkdir(exist_ok=True, mode=0o700)
        partial = folder / f"{name}.{secrets.token_hex(4)}.part"
        try:
            with partial.open("xb") as file:
                partial.chmod(0o600)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(folder / name)
        finally:
            partial.unlink(missing_ok=True)

    def refuse(self, association: int) -> None:
        """Note that an association sent something that could not be taken: what it sent is not whole."""
        with self._lock:
            self._refused.add(association)

    def ended(self, association: int, *, released: bool) -> None:
        """Note the end of an association. One that was not released holds what it sent.

        A series that is held goes on once a later association that sent images of it ends well.
        """
        with self._lock:
            well = released and association not in self._refused
            self._refused.discard(association)
            for study in self._studies.values():
                if study.ended(association, released=released, well=well):
                    study.last = self._clock()

    def close_quiet(self) -> list[str]:
        """Close the studies that are whole and quiet: they wait for work from here on.

        Returns:
            their keys.
        """
        closed = []
        with self._lock:
            for key, study in list(self._studies.items()):
                quiet = not study.open and self._clock() - study.last >= self._quiet
                if quiet and study.series and not study.fault():
                    del self._studies[key]
                    self._move(self.root / ARRIVING / key, self.root / WHOLE / key)
                    closed.append(key)
        return closed

    def held(self) -> Mapping[str, str]:
        """Studies that nothing more came of and that are not whole: key -> why."""
        with self._lock:
            return {
                key: study.fault()
                for key, study in self._studies.items()
                if not study.open and study.fault() and self._clock() - study.last >= self._quiet
            }

    def waiting(self) -> list[str]:
        """Keys of the studies that wait for work, the oldest first."""
        return _oldest_first(self.root / WHOLE)

    def unsent(self) -> list[str]:
        """Keys of the studies whose objects wait to be sent, the oldest first."""
        busy = {path.name for path in (self.root / WORKING).iterdir()}
        return [key for key in _oldest_first(self.root / OUTGOING) if key not in busy]

    def take(self, key: str) -> Path:
        """Begin work on a study that waits.

        Returns:
            the directory of its images.

        Raises:
            InputError: if more of it comes in again, so that it does not wait any more.
        """
        with self._lock:
            if not (self.root / WHOLE / key).is_dir():
                raise InputError("the study does not wait any more", fix="wait until it is whole again")
            return self._move(self.root / WHOLE / key, self.root / WORKING / key)

    def outgoing(self, key: str) -> Path:
        """Directory of a study's objects that go out."""
        folder = self.root / OUTGOING / key
        folder.mkdir(exist_ok=True, mode=0o700)
        return folder

    def done(self, key: str) -> None:
        """Delete the images of a study.

        Raises:
            OutputError: if they cannot be deleted.
        """
        _delete(self.root / WORKING / key)

    def sent(self, key: str) -> None:
        """Delete the objects of a study.

        Raises:
            OutputError: if they cannot be deleted.
        """
        _delete(self.root / OUTGOING / key)

    def fail(self, key: str) -> None:
        """Keep a study that could not be worked on until its time is up, and drop its objects."""
        self.sent(key)
        self._move(self.root / WORKING / key, self.root / FAILED / key)

    def hand_out(self, key: str, out: Path) -> Path:
        """Move a study that waits into ``out``, which lies on the same disk; images that came late join it.

        Raises:
            OutputError: if it cannot be written there.
        """
        with self._lock:
            try:
                return self._move(self.root / WHOLE / key, out / key)
            except OSError as error:
                raise output_error("the output directory", error) from error

    def clean(self, now: float | None = None) -> int:
        """Delete what lay here longer than it may, but for what is in work.

        Args:
            now: seconds since 1970, the time of the system if not given.

        Returns:
            how many studies were deleted.

        Raises:
            OutputError: if one could not be deleted; the others are.
        """
        before = (time.time() if now is None else now) - 3600 * self._hours
        count, failed = 0, None
        with self._lock:
            for part in (ARRIVING, WHOLE, OUTGOING, FAILED):
                for folder in (self.root / part).iterdir():
                    known = self._studies.get(folder.name) if part == ARRIVING else None
                    if folder.stat().st_mtime < before and not (known and known.open):
                        try:
                            _delete(folder)
                        except OutputError as error:
                            failed = error
                            continue
                        if part == ARRIVING:
                            self._studies.pop(folder.name, None)
                        count += 1
        if failed:
            raise failed
        return count

    def _move(self, source: Path, target: Path) -> Path:
        """Move a study's directory; files join those that are there."""
        if not target.exists():
            source.rename(target)
        else:
            for file in source.iterdir():
                file.replace(target / file.name)
            source.rmdir()
        return target


def _delete(folder: Path) -> None:
    """Delete a directory that may be gone already."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise OutputError(
            f"a study in the spool could not be deleted ({type(error).__name__}); "
            f"delete {folder.parent.name}/{folder.name} in the spool directory by hand"
        ) from None


def _oldest_first(folder: Path) -> list[str]:
    return [path.name for path in sorted(folder.iterdir(), key=lambda path: (path.stat().st_mtime, path.name))]
