"""A disk that is full: 507 in words, reading and deleting go on, and so does the work when there is room."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hope.testing.fleet import Fleet, small_scan
from hope.testing.live_files import files_below

pytestmark = pytest.mark.slow

DISK_MB = 48


class Disk:
    """A file system of its own, as large as a few scans."""

    def __init__(self, place: Path) -> None:
        self.place, self._filler = place, place / "filler"

    def fill(self) -> None:
        """Leave not one byte."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def empty(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here: this test needs the right to mount a tmpfs")
    yield Disk(place)
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def fleet(disk: Disk, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path / "logs", {"HOPE_DATA_DIR": str(disk.place / "data"), "HOPE_SHORT_SECONDS": "0.05"})
    yield made
    made.stop()


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 507, (answer.request.url.path, answer.status_code, answer.text)
    assert "disk is full" in answer.json()["detail"], answer.text


def test_a_full_disk_is_said_everywhere_and_reading_and_deleting_go_on(disk: Disk, fleet: Fleet) -> None:
    fleet.start("up")
    fleet.wait_ready()
    client = fleet.client()
    done, waiting = client.new_case({"t1c": small_scan()}), client.new_case({"t1c": small_scan(1)})
    client.run(done)
    assert client.wait(done) == "done"
    files = client.call("GET", f"/api/cases/{done}/files")["files"]
    mask = client.http.get(
        f"/api/cases/{done}/files/{next(f['name'] for f in files if f['name'].endswith('seg.nii.gz'))}"
    )
    disk.fill()
    assert "disk is full" in httpx.get(f"{fleet.url}/readyz").json()["detail"]
    refused(client.http.put(f"/api/cases/{waiting}/series/t2f", content=small_scan(2)))
    refused(client.http.put(f"/api/cases/{waiting}/dicom", content=b"PK\x05\x06" + bytes(18)))
    refused(client.http.post(f"/api/cases/{waiting}/sample"))
    refused(client.http.put(f"/api/cases/{done}/segmentation", content=mask.content))
    for file in files:
        answer = client.http.get(f"/api/cases/{done}/files/{file['name']}")
        assert answer.status_code == 200 and len(answer.content) == file["bytes"]
    assert client.http.get(f"/api/cases/{waiting}/series/t1c").status_code == 200
    assert client.state(waiting) == "new"
    receipt = client.call("DELETE", f"/api/cases/{done}")
    assert receipt["files"] >= len(files)
    disk.empty()
    fleet.wait_ready(20)
    client.run(waiting)
    assert client.wait(waiting) == "done"
    show = [sys.executable, "-m", "hope.cli", "audit", "show"]
    actions = subprocess.run(show, env=fleet.environment, capture_output=True, text=True, check=False)
    assert actions.stdout.count("file.download") == len(files) + 1 + 1, actions.stdout + actions.stderr
    client.call("DELETE", "/api/session")


def test_a_case_whose_stage_meets_a_full_disk_goes_on_when_there_is_room(disk: Disk, fleet: Fleet) -> None:
    fleet.environment["HOPE_SHORT_SECONDS"] = "preprocess:2,0.05"
    fleet.start("up")
    fleet.wait_ready()
    client = fleet.client()
    case = client.new_case({"t1c": small_scan()})
    client.run(case)
    client.wait(case, 30, ("running",))
    disk.fill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = client.call("GET", f"/api/cases/{case}")
        assert found["state"] == "running", found
        time.sleep(0.3)
    disk.empty()
    assert client.wait(case, 30) == "done"
    assert client.call("GET", f"/api/cases/{case}").get("problem") is None
    client.call("DELETE", "/api/session")
    assert files_below(disk.place / "data" / "blobs") == []
