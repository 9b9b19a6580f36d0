"""Real platforms that attacks are made on."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from hope.testing.fleet import Fleet

FILES = 1024
"""What most systems let a process open."""

SHORT_TIMES = {
    "HOPE_HEADER_TIMEOUT_SECONDS": "1",
    "HOPE_BODY_TIMEOUT_SECONDS": "2",
    "HOPE_MIN_BYTES_PER_SECOND": "1024",
}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """`hope up` with stages that last a moment, 1,024 files and short time limits."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most < 4 * FILES:
        pytest.skip(f"an attack needs {4 * FILES} files, this user may open {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4 * FILES, most))
    fleet = Fleet(tmp_path_factory.mktemp("platform"), SHORT_TIMES)
    process = fleet.start("up")
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
    try:
        fleet.wait_ready()
        yield fleet
    finally:
        fleet.stop()


def open_files(fleet: Fleet) -> int:
    """How many files the platform's main process has open."""
    return len(list(Path(f"/proc/{fleet.processes[0].pid}/fd").iterdir()))


def log_bytes(fleet: Fleet) -> int:
    """What the platform has written to its logs."""
    return sum(path.stat().st_size for path in fleet.folder.glob("*.log"))
