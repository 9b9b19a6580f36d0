"""A child that is killed with -9 takes its converter with it, and what the converter wrote is deleted."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from tests.attack.stalled_converter import LITTER

from hope.jobs.scratch import Scratch
from hope.testing import hostile_dicom as hostile
from hope.testing.fleet import Fleet
from hope.testing.live_files import files_below

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")]


class Stalling:
    """A gateway whose conversions hang."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.converters = folder / "platform", folder / "converters"
        self.temporary = folder / "tmp"
        for place in (self.folder, self.converters, self.temporary):
            place.mkdir()
        environment = {
            "HOPE_TEST_CONVERTERS": str(self.converters),
            "PYTHONPATH": f"{Path(__file__).parents[2]}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "TMPDIR": str(self.temporary),
        }
        self.fleet = Fleet(self.folder, environment, bodies="tests.attack.stalled_converter")
        self.gateway = self.fleet.start("gateway")
        self.fleet.wait_ready()

    def left(self) -> list[Path]:
        """Files that the converter wrote."""
        found = []
        for path in (*files_below(self.folder), *files_below(self.temporary)):
            with contextlib.suppress(FileNotFoundError):
                if LITTER.encode() in path.read_bytes():
                    found.append(path)
        return found

    @contextlib.contextmanager
    def converting(self) -> Iterator[psutil.Process]:
        """An upload whose converter has begun; gives the converter."""
        known = {path.name for path in self.converters.iterdir()}
        client = self.fleet.client(120)
        case_id = client.call("POST", "/api/cases")["id"]
        raw = hostile.zipped([hostile.file_of(hostile.image(n)) for n in range(1, 9)])

        def send() -> None:
            with contextlib.suppress(httpx.TransportError):
                client.http.put(f"/api/cases/{case_id}/dicom", content=raw)

        sender = threading.Thread(target=send)
        begun: list[psutil.Process] = []
        sender.start()
        try:
            names: set[str] = set()
            _until(lambda: bool(names.update(_pids(self.converters)) or names - known), self.fleet.logs)
            (name,) = names - known
            begun.append(psutil.Process(int(name)))
            assert len(self.left()) == 2, "nothing was written: the test shows nothing"
            yield begun[0]
        finally:
            for process in begun:  # of a test that failed before it ended them
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            sender.join(30)
            assert not sender.is_alive()


def _pids(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name.isdigit()}


def _until(true: Callable[[], bool], words: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, words()
        time.sleep(0.05)


def test_nobody_survives_a_killed_reader_or_gateway(tmp_path: Path) -> None:
    stalling = Stalling(tmp_path)
    fleet = stalling.fleet
    try:
        with stalling.converting() as converter:
            reader = converter.parent()
            assert reader is not None and reader.pid != stalling.gateway.pid
            os.kill(reader.pid, signal.SIGKILL)
            _, alive = psutil.wait_procs([reader, converter], timeout=30)
            assert not alive
        _until(lambda: not stalling.left(), stalling.left, 5)
        with stalling.converting() as converter:
            reader = converter.parent()
            fleet.kill(stalling.gateway)
            _, alive = psutil.wait_procs([reader, converter], timeout=30)
            assert not alive
        assert fleet.survivors() == []
        assert stalling.left(), "nothing was left: the sweep shows nothing"
        room = Scratch(stalling.folder / "data" / "scratch")  # what the next process does at its start
        room.sweep()
        room.close()
        assert stalling.left() == []
    finally:
        fleet.stop()
