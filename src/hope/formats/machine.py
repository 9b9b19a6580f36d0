"""Which machine this is, for those who take a free lock for the death of its process: such a lock counts here alone."""

from __future__ import annotations

import hashlib
import platform
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final


def content_of(path: str) -> str:
    """The text of a system's file without white space at its ends; empty if there is none."""
    with suppress(OSError, ValueError):
        return Path(path).read_text(encoding="ascii").strip()
    return ""


def _machine() -> str:
    # Machines of a cluster may have one host name, and copies of a virtual machine one id: both have to agree.
    known = content_of("/etc/machine-id") if sys.platform == "linux" else platform.system()
    return hashlib.sha256(f"{known} {platform.node()}".encode()).hexdigest()[:16] if known else ""


MACHINE: Final = _machine()
"""A hash of id and host name, equal after a restart; empty where it is not certain: in a container without an id."""
