"""Private directories for working files, which hold scans: they go with the block, or with a later one if it is killed.

Each is locked as long as its process lives, however that ends. Whoever makes one deletes those that nobody locks. Such
a lock is seen on its own machine alone, also where several share the disk, so the names say which machine it is.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from hope.formats import machine

_fcntl: Any = None
with suppress(ImportError):  # Windows lacks it
    import fcntl

    _fcntl = fcntl

_HOST: Final = hashlib.sha256(platform.node().encode()).hexdigest()[:6]

MACHINE: Final = machine.MACHINE[:6] or _HOST
"""Part of the names: which machine locks them.

A name has no room for a kernel and a mount, which `hope.jobs.lock_place` adds. So where the machine is not certain,
in a container without an id, the host name stands alone: containers draw theirs.
"""

OURS: Final = f"(?:{MACHINE}|{_HOST})"
"""Of a pattern: names that are made here, or were made here by version 0.2, which took the host name everywhere."""

PREFIX: Final = f"hope-own-{MACHINE}-"
NAME: Final = re.compile(f"hope-own-{OURS}-[a-z0-9_]{{8}}")


@contextmanager
def private_directory() -> Iterator[Path]:
    """A new directory among the system's temporary files, readable by its owner only, that is gone after the block.

    Directories of this user whose process was killed on this machine are deleted first.

    Raises:
        OSError: if it cannot be made.
    """
    delete_unlocked(Path(tempfile.gettempdir()), NAME)
    while True:
        with tempfile.TemporaryDirectory(prefix=PREFIX) as name, locked(Path(name)):
            # Somebody who looked between making and locking has taken it for a dead process's.
            if not Path(name).is_dir():
                continue
            yield Path(name)
            return


@contextmanager
def partial_directory(target: Path, mode: int = 0o777) -> Iterator[Path]:
    """A new directory beside ``target``, where it is made under a hidden name; the caller renames or deletes it.

    Those for the same target that this user's killed processes left on this machine are deleted first.

    Args:
        target: whose parent is there.
        mode: of the directory, less what the process masks.

    Raises:
        OSError: if it cannot be made.
    """
    delete_unlocked(target.parent, re.compile(rf"\.{re.escape(target.name)}\.{OURS}-[0-9a-f]{{8}}\.part"))
    while True:
        partial = target.with_name(f".{target.name}.{MACHINE}-{secrets.token_hex(4)}.part")
        partial.mkdir(mode=mode)
        with locked(partial):
            # As in `private_directory`.
            if partial.is_dir():
                yield partial
                return


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep `delete_unlocked` away from a directory during the block; without effect where nothing can be locked."""
    held = None
    with suppress(OSError):
        held = os.open(directory, os.O_RDONLY)
        lock(held)
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def lock(opened: int) -> None:
    """Keep `delete_unlocked` away from what is open until it is closed; without effect where there are no locks."""
    with suppress(OSError):
        if _fcntl is not None:
            _fcntl.flock(opened, _fcntl.LOCK_EX)


def delete_unlocked(folder: Path, named: re.Pattern[str], *, directories: bool = True) -> None:
    """Delete directories (else files) of this user, whose whole name has a form, that no living process has locked.

    A folder that cannot be listed, and what cannot be deleted, stays as it is.
    """
    found: list[Path] = []
    with suppress(OSError):
        found = [path for path in folder.iterdir() if named.fullmatch(path.name)]
    for path in found if _fcntl is not None else ():
        with suppress(OSError):
            facts = path.lstat()
            right_kind = stat.S_ISDIR(facts.st_mode) if directories else stat.S_ISREG(facts.st_mode)
            if right_kind and facts.st_uid == os.getuid():
                _delete_if_unlocked(path, os.O_DIRECTORY if directories else 0)


@contextmanager
def unlocked(directory: Path) -> Iterator[bool]:
    """Whether a directory is there that no living process has locked; nobody else deletes it during the block.

    False where there are no locks.
    """
    found = None
    with suppress(OSError):
        found = _lock_at_once(directory, os.O_DIRECTORY) if _fcntl is not None else None
    try:
        yield found is not None
    finally:
        if found is not None:
            os.close(found)


def _delete_if_unlocked(path: Path, kind: int) -> None:
    """Delete a directory or a file unless it is locked.

    Raises:
        OSError: if it is, or cannot be.
    """
    found = _lock_at_once(path, kind)
    try:
        if kind:
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    finally:
        os.close(found)


def _lock_at_once(path: Path, kind: int) -> int:
    """Open and lock a directory or a file.

    Raises:
        OSError: if a living process has locked it, or it cannot be opened.
    """
    found = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | kind)
    try:
        _fcntl.flock(found, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    except OSError:
        os.close(found)
        raise
    return found
