"""Scratch rooms: private, gone after use, and cleared after a process that was killed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hope.domain.errors import InputError
from hope.jobs import lock_place
from hope.jobs import scratch as module
from hope.jobs.lock_place import LockPlace
from hope.jobs.scratch import Scratch, Sweeper

HERE = "as here"


def a_lock(root: Path, place: str) -> Path:
    """A lock that nobody here holds, of the process ``dead``."""
    path = root / "room-dead.lock"
    path.touch()
    text = LockPlace.of(path.stat().st_dev).text() if place == HERE else place
    path.write_text(text, encoding="latin-1")
    return path


def test_a_folder_is_private_and_gone_after_its_block(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "scratch")
    with scratch.folder() as folder:
        (folder / "scan").write_bytes(b"voxels")
        assert folder.stat().st_mode & 0o077 == 0
        assert scratch.directory.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    scratch.close()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_folder_is_gone_after_an_error(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    with pytest.raises(ValueError, match="inside"), scratch.folder() as folder:
        raise ValueError("inside")
    assert not folder.exists()


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from hope.jobs.scratch import Scratch\n"
        f"scratch = Scratch(Path({str(tmp_path)!r}))\n"
        "with scratch.folder() as folder:\n"
        "    (folder / 'scan').write_bytes(b'voxels')\n"
        "    print(scratch.directory, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout
    directory = Path(other.stdout.readline().strip())
    scratch = Scratch(tmp_path)
    assert scratch.sweep() == []
    assert directory.is_dir()
    other.kill()
    other.wait()
    assert scratch.sweep() == [directory.name.removeprefix("room-")]
    assert not directory.exists()
    assert scratch.directory.is_dir()


def test_a_room_without_a_lock_belongs_to_nobody(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    directory = tmp_path / "room-of-a-process-that-could-not-delete-all"
    directory.mkdir()
    (directory / "scan").write_bytes(b"voxels")
    assert scratch.sweep() == ["of-a-process-that-could-not-delete-all"]
    assert not directory.exists()


def test_a_room_that_cannot_be_deleted_is_not_called_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch, dead = Scratch(tmp_path), tmp_path / "room-dead"
    dead.mkdir()
    (dead / "scan").write_bytes(b"voxels")
    a_lock(tmp_path, HERE)
    with monkeypatch.context() as patch:
        patch.setattr("hope.jobs.scratch.shutil.rmtree", lambda folder, ignore_errors: None)
        assert scratch.sweep() == []
    assert scratch.sweep() == ["dead"]
    assert sorted(tmp_path.glob("room-dead*")) == []


def test_a_folder_that_could_not_be_deleted_at_its_end_is_deleted_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = Scratch(tmp_path)
    monkeypatch.setattr("hope.jobs.scratch.CLOSE_SECONDS", 0.0)
    with monkeypatch.context() as patch, scratch.folder() as folder:
        patch.setattr("hope.jobs.scratch.shutil.rmtree", lambda folder, ignore_errors: None)
    assert folder.exists()
    scratch.sweep()
    assert not folder.exists()


def test_whose_room_is_gone_is_told_again_until_the_store_has_heard_it(tmp_path: Path) -> None:
    reported: list[str] = []

    def tell(name: str) -> None:
        reported.append(name)
        if len(reported) == 1:
            raise ConnectionError("the database does not answer")

    (tmp_path / "room-dead").mkdir()
    sweeper = Sweeper(Scratch(tmp_path), tell)
    for _ in range(3):
        sweeper.sweep()
    assert reported == ["dead", "dead"]


@pytest.mark.parametrize(
    "place", ["other-machine other-boot 99", "- other-boot 99", "", "\n", "a b c d", "\xff \xe4 1"]
)
def test_a_free_lock_of_another_machine_or_container_host_makes_nobody_dead(tmp_path: Path, place: str) -> None:
    """On a file system that machines share, each kernel may know its own locks alone."""
    a_lock(tmp_path, place)
    directory = tmp_path / "room-dead"
    directory.mkdir()
    (directory / "scan").write_bytes(b"voxels of somebody who works")
    noticed: list[str] = []
    sweeper = Sweeper(Scratch(tmp_path), noticed.append, noticed.append)
    sweeper.sweep()
    assert noticed == []
    assert (directory / "scan").exists()


def test_a_lock_of_this_kernel_on_another_mount_is_not_seen_here(tmp_path: Path) -> None:
    here = LockPlace.of(tmp_path.stat().st_dev)
    a_lock(tmp_path, LockPlace("other-container", here.boot, here.device + "1").text())
    assert Scratch(tmp_path).dead() == []
    a_lock(tmp_path, LockPlace("other-container", here.boot, here.device).text())
    assert Scratch(tmp_path).dead() == ["dead"]


def test_what_was_left_before_this_machine_started_again_is_deleted_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_place, "MACHINE", "this-machine")
    a_lock(tmp_path, LockPlace("this-machine", "earlier-boot", "99").text())
    (tmp_path / "room-dead").mkdir()
    scratch = Scratch(tmp_path)
    assert scratch.dead() == ["dead"]
    assert scratch.sweep() == ["dead"]


def test_a_machine_that_is_not_known_is_nobodys_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_place, "MACHINE", "")
    a_lock(tmp_path, LockPlace("", "earlier-boot", "99").text())
    assert Scratch(tmp_path).dead() == []


def test_what_another_machine_left_is_deleted_once_it_has_been_silent_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(module, "_now", lambda: now)
    monkeypatch.setattr(module, "SILENT_SECONDS", 20.0)
    monkeypatch.setattr(module, "_GAP_SECONDS", 5.0)
    scratch, lock = Scratch(tmp_path), a_lock(tmp_path, "other-machine other-boot 99")
    (tmp_path / "room-dead").mkdir()
    for _ in range(2):  # it lives: each touch begins the time anew
        os.utime(lock, (now, now))
        for _ in range(int(module.SILENT_SECONDS) - 1):
            assert scratch.sweep() == []
            now += 1.0
    now += module.SILENT_SECONDS  # nobody looked for long, as while the file system is away: so it counts for nothing
    assert scratch.sweep() == []
    assert scratch.dead() == []
    swept = []
    for _ in range(int(module.SILENT_SECONDS) + 2):
        now += 1.0
        swept += scratch.sweep()
    assert swept == ["dead"]
    assert not lock.exists()


def test_a_living_process_touches_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOUCH_SECONDS", 0.02)
    scratch = Scratch(tmp_path)
    lock = next(tmp_path.glob("room-*.lock"))
    os.utime(lock, (0, 0))
    deadline = time.monotonic() + 10
    while lock.stat().st_mtime == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    scratch.close()


def test_a_file_system_without_locks_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(module.fcntl, "flock", refuse)
    with pytest.raises(InputError, match="files cannot be locked"):
        Scratch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_child_holds_the_lock_of_its_dead_parent(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    assert not os.get_inheritable(scratch._lock.fileno())
