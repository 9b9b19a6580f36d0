"""Attacks: small inputs and rude clients that must not cost others memory, time, disk or an answer."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hope.testing.fleet import Fleet

LONG = os.environ.get("HOPE_ATTACK") == "long"
"""`make attack` asks for more tries."""

FILES = 1024
"""What most systems let a process open."""

SHORT_TIMES = {
    "header_timeout_seconds": "1",
    "body_timeout_seconds": "2",
    "min_bytes_per_second": "1024",
}


def raise_own_limit(files: int) -> None:
    """Let this process open so many files; skip the test if its user may not."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most < files:
        pytest.skip(f"this attack needs {files} open files, this user may have {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))


@contextmanager
def running(folder: Path, files: int, **settings: str) -> Iterator[Fleet]:
    """`hope up` with stages that last a moment, so many files, and settings named without ``HOPE_``."""
    raise_own_limit(max(4096, files))
    fleet = Fleet(folder, {f"HOPE_{name.upper()}": value for name, value in settings.items()})
    process = fleet.start("up")
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (files, files))
    try:
        fleet.wait_ready()
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A platform with 1,024 files and short time limits."""
    with running(tmp_path_factory.mktemp("platform"), FILES, **SHORT_TIMES) as fleet:
        yield fleet


def open_files(fleet: Fleet) -> int:
    """How many files the platform's main process has open, but for its database: connections are kept for reuse."""
    count = 0
    for entry in Path(f"/proc/{fleet.processes[0].pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            count += ".sqlite" not in entry.readlink().name
    return count


def log_bytes(fleet: Fleet) -> int:
    """What the platform has written to its logs."""
    return sum(path.stat().st_size for path in fleet.folder.glob("*.log"))


HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this directory, so that ``-m attack`` chooses them."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.attack)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer, in processor time of this process, which a busy machine does not change."""
    begun = time.process_time()
    yield
    took = time.process_time() - begun
    assert took <= seconds, f"took {took:.2f} s, at most {seconds} s"
