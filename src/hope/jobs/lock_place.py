"""Where a lock counts: a kernel may keep it to itself, also where several machines share the file system."""

from __future__ import annotations

import hashlib
import platform
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final


def _content(path: str) -> str:
    with suppress(OSError, ValueError):
        return Path(path).read_text(encoding="ascii").strip()
    return ""


def _machine() -> str:
    """A hash of who we are; empty where that is not certain, as in a container without an id of its own."""
    known = _content("/etc/machine-id") if sys.platform == "linux" else platform.system()
    return hashlib.sha256(f"{known} {platform.node()}".encode()).hexdigest()[:16] if known else ""


BOOT: Final = _content("/proc/sys/kernel/random/boot_id")
"""Of the running kernel, which all containers of a host share; empty on other systems than Linux."""

MACHINE: Final = _machine()

_UNKNOWN: Final = "-"


@dataclass(frozen=True)
class LockPlace:
    """Where a lock was made, as its file says.

    Attributes:
        machine: hash of its names, empty if they are not certain.
        boot: the running kernel; empty if it does not say.
        device: the mounted file system, by that kernel's number.
    """

    machine: str
    boot: str
    device: str

    @classmethod
    def of(cls, device: int) -> LockPlace:
        """A place on this machine."""
        return cls(MACHINE, BOOT, str(device))

    @classmethod
    def read(cls, text: str) -> LockPlace | None:
        """What `text` gave; None if it is nothing of that kind."""
        parts = text.split()
        return cls(*("" if part == _UNKNOWN else part for part in parts)) if len(parts) == 3 else None

    def text(self) -> str:
        """What the lock's file holds."""
        return " ".join(part or _UNKNOWN for part in (self.machine, self.boot, self.device))

    def shows(self, other: LockPlace) -> bool:
        """Whether here a free lock of another place means that its process has ended.

        So it is on one kernel's mount, and on one machine after it has started again.
        """
        if self.boot and self.boot == other.boot:
            return self.device == other.device
        return bool(self.machine) and self.machine == other.machine
