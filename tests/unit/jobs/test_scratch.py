"""Scratch rooms: private, gone after use, and cleared after a process that was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hope.jobs.scratch import Scratch, Sweeper


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
    (tmp_path / "room-dead.lock").touch()
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
