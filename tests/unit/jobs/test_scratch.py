"""Scratch rooms: private, gone after use, and cleared after a process that was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hope.jobs.scratch import Scratch


def test_a_folder_is_private_and_gone_after_its_block(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "scratch")
    with scratch.folder() as folder:
        (folder / "scan").write_bytes(b"voxels")
        assert folder.stat().st_mode & 0o077 == 0
        assert scratch.room.stat().st_mode & 0o077 == 0
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
        "    print(scratch.room, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout
    room = Path(other.stdout.readline().strip())
    scratch = Scratch(tmp_path)
    assert scratch.sweep() == 0
    assert room.is_dir()
    other.kill()
    other.wait()
    assert scratch.sweep() == 1
    assert not room.exists()
    assert scratch.room.is_dir()
