"""A worker that is killed leaves nothing of a scan behind, or the receipt says so."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.attack.littering_stages import LITTER

from hope.testing.fleet import Fleet, SessionClient, small_scan
from hope.testing.live_files import files_below

pytestmark = pytest.mark.slow


class Volumes:
    """A gateway, and workers that keep their scratch directories on a volume of their own."""

    def __init__(self, folder: Path, deletion_wait: float = 40.0) -> None:
        self.gateway, self.workers, self.elsewhere = folder / "data", folder / "worker-volume", folder / "tmp"
        self.elsewhere.mkdir()
        self.fleet = Fleet(
            folder,
            {
                "HOPE_SHORT_SECONDS": "60",
                "HOPE_LEASE_SECONDS": "2",
                "HOPE_DELETION_WAIT_SECONDS": str(deletion_wait),
                "HOPE_DATABASE_URL": f"sqlite:///{self.gateway / 'hope.sqlite'}",
                "HOPE_BLOBS_URL": (self.gateway / "blobs").as_uri(),
                "PYTHONPATH": f"{Path(__file__).parents[2]}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
                "TMPDIR": str(self.elsewhere),
            },
            bodies="tests.attack.littering_stages",
        )
        self.fleet.start("gateway")
        self.fleet.wait_ready()

    def worker(self) -> subprocess.Popen[bytes]:
        return self.fleet.start("worker", environment={"HOPE_DATA_DIR": str(self.workers)})

    def left(self) -> list[Path]:
        """Files with voxels that lie on the workers' volume or among the system's temporary files."""
        files = [p for folder in (self.workers / "scratch", self.elsewhere) for p in files_below(folder)]
        return [path for path in files if path.suffix == ".nii" and _size(path)]

    def running(self, client: SessionClient) -> str:
        """A case whose first stage has its scan and has littered."""
        case = client.new_case({"t1c": small_scan()})
        client.run(case)
        deadline = time.monotonic() + 60
        while sum(_is_litter(path) for path in self.left()) < 2 or len(self.left()) < 3:
            assert time.monotonic() < deadline, self.fleet.logs()
            time.sleep(0.05)
        return case


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _is_litter(path: Path) -> bool:
    try:
        return path.read_bytes() == LITTER
    except FileNotFoundError:
        return False


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[Volumes]:
    made = Volumes(tmp_path)
    yield made
    made.fleet.stop()


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Volumes]:
    """A gateway that waits a second for dead workers' scratch directories."""
    made = Volumes(tmp_path, 1.0)
    yield made
    made.fleet.stop()


def test_the_only_worker_is_killed_and_the_receipt_says_what_is_left_until_it_starts(impatient: Volumes) -> None:
    volumes = impatient
    worker, client = volumes.worker(), volumes.fleet.client()
    volumes.running(client)
    volumes.fleet.kill(worker)
    assert volumes.left()
    receipt = client.call("DELETE", "/api/session")
    assert len(receipt["unconfirmed"]) == 1
    assert "scratch" in receipt["unconfirmed"][0]
    volumes.worker()
    _gone(volumes, 60)


def test_a_worker_that_starts_while_the_receipt_is_written_lets_it_confirm(volumes: Volumes) -> None:
    worker, client = volumes.worker(), volumes.fleet.client()
    volumes.running(client)
    volumes.fleet.kill(worker)
    volumes.worker()
    receipt = client.call("DELETE", "/api/session")
    assert receipt["unconfirmed"] == []
    assert volumes.left() == []


def test_a_peer_on_the_same_volume_clears_what_a_killed_worker_left(volumes: Volumes) -> None:
    worker, client = volumes.worker(), volumes.fleet.client()
    volumes.running(client)
    peer = volumes.worker()
    volumes.fleet.kill(worker)
    receipt = client.call("DELETE", "/api/session")
    assert receipt["unconfirmed"] == []
    assert volumes.left() == []
    assert peer.poll() is None


def test_a_peer_clears_it_without_any_deletion(volumes: Volumes) -> None:
    worker, client = volumes.worker(), volumes.fleet.client()
    case = volumes.running(client)
    directories = set((volumes.workers / "scratch").glob("room-*"))
    volumes.worker()
    volumes.fleet.kill(worker)
    deadline = time.monotonic() + 60
    while any(directory.exists() for directory in directories):
        assert time.monotonic() < deadline, volumes.fleet.logs()
        time.sleep(0.05)
    assert client.state(case) == "running"


def _gone(volumes: Volumes, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while volumes.left():
        assert time.monotonic() < deadline, volumes.left()
        time.sleep(0.05)
