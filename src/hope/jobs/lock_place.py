"""Where a lock counts: a kernel may keep it to itself, also where several machines share the file system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hope.formats.machine import MACHINE, content_of

BOOT: Final = content_of("/proc/sys/kernel/random/boot_id")
"""Of the running kernel, which all containers of a host share; empty on other systems than Linux."""

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
