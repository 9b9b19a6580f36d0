"""Files and directories that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hope.formats.atomic as module
from hope.domain.errors import OutputError
from hope.formats.atomic import atomic_directory, atomic_output, clear_partial_files, is_free, write_together
from hope.formats.private_directory import MACHINE


def test_it_appears_when_the_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "above" / "study"
    with atomic_directory(target, mode=0o700) as folder:
        (folder / "a").write_text("x")
        assert not target.exists()
    assert (target / "a").read_text() == "x" and target.stat().st_mode & 0o777 == 0o700
    assert list(target.parent.iterdir()) == [target]


def test_nothing_stays_of_a_block_that_fails_and_its_error_comes_through(tmp_path: Path) -> None:
    with pytest.raises(KeyError), atomic_directory(tmp_path / "study") as folder:
        (folder / "a").write_text("x")
        raise KeyError("a")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_of_the_name(tmp_path: Path) -> None:
    """A study of an archive holds its patient's name."""
    left, other = (tmp_path / f".{name}.{MACHINE}-0a1b2c3d.part" for name in ("study", "study-2"))
    left.mkdir()
    other.mkdir()
    with atomic_directory(tmp_path / "study") as living:
        with pytest.raises(KeyError), atomic_directory(tmp_path / "study"):
            raise KeyError("a")
        assert living.is_dir(), "its process lives"
    assert {path.name for path in tmp_path.iterdir()} == {"study", other.name}


@pytest.mark.parametrize("given", [".", "link", "dead link"])
def test_an_empty_directory_that_is_there_stays_the_same_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    real = tmp_path / "real"
    (tmp_path / "link").symlink_to(real, target_is_directory=True)
    if given != "dead link":
        real.mkdir()
        monkeypatch.chdir(real)
    target = Path() if given == "." else tmp_path / "link"
    before = real.stat().st_ino if real.exists() else 0
    assert is_free(target)
    with pytest.raises(KeyError), atomic_directory(target) as folder:
        (folder / "a").write_text("x")
        raise KeyError
    assert is_free(target)
    with atomic_directory(target, last="a") as folder:
        (folder / "a").write_text("x")
        (folder / "b").mkdir()
        (folder / "b" / "c").write_text("y")
        assert not (real / "a").exists()
    assert sorted(path.name for path in real.iterdir()) == ["a", "b"] and not is_free(target)
    assert before in (0, real.stat().st_ino) and (tmp_path / "link").is_symlink()


def test_what_came_into_the_directory_meanwhile_stays(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it holds something"), atomic_directory(tmp_path) as folder:
        (folder / "a").write_text("ours")
        (tmp_path / "a").write_text("theirs")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "theirs")]


def test_what_a_killed_process_left_in_an_empty_directory_does_not_fill_it(tmp_path: Path) -> None:
    (tmp_path / f".hope.{MACHINE}-0a1b2c3d.part").mkdir()
    assert is_free(tmp_path) and not list(tmp_path.iterdir())
    with atomic_directory(tmp_path):
        assert not is_free(tmp_path), "its process lives"


def test_what_cannot_be_deleted_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(OutputError, match="permission denied"), atomic_directory(tmp_path / "study"):
        raise KeyError("a")


def test_files_that_belong_together_take_their_places_once_all_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {tmp_path / name: name.encode() for name in "abc"}
    for path in files:
        path.write_bytes(b"earlier")
    whole, synced = os.fsync, []

    def full(opened: int) -> None:
        synced.append(opened)
        if len(synced) == 3:
            raise OSError(errno.ENOSPC, "no space")
        whole(opened)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="cannot write a: the disk is full"):
        write_together(files)
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"earlier"} and len(list(tmp_path.iterdir())) == 3
    monkeypatch.undo()
    real, order = Path.replace, []

    def seen(path: Path, target: Path) -> Path:
        order.append(target)
        return real(path, target)

    monkeypatch.setattr(Path, "replace", seen)
    write_together(files)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files
    assert order == list(files), "the one that lists the others comes last"


WRITE = (
    "import sys; from pathlib import Path; from hope.formats.atomic import atomic_output\n"
    "with atomic_output(Path(sys.argv[1]) / 'case.npz') as stream:\n"
    "    stream.write(b'half'); stream.flush(); print('half', flush=True); sys.stdin.read()"
)


def test_a_half_written_file_is_cleared_once_its_process_is_dead(tmp_path: Path) -> None:
    others = {".0a1b2c3d4e5f.part", ".ffffff-0a1b2c3d.part", f".{MACHINE}-0a1b2c3d.part.npz"}
    for name in others:
        (tmp_path / name).write_bytes(b"of another machine, or not ours")
    call = [sys.executable, "-c", WRITE, str(tmp_path)]
    process = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline().strip() == "half"
        with atomic_output(tmp_path / "own.npz") as stream:
            clear_partial_files(tmp_path)
            stream.write(b"whole")
            assert len(list(tmp_path.iterdir())) == len(others) + 2, "both processes live"
        process.kill()
        process.wait(timeout=20)
        assert len(list(tmp_path.iterdir())) == len(others) + 2, "a killed process cleans nothing up"
        clear_partial_files(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {*others, "own.npz"}
    finally:
        process.kill()


def test_a_file_that_is_cleared_before_it_is_locked_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, cleared = module.lock, []

    def late(opened: int) -> None:
        if not cleared:
            cleared.extend(tmp_path.iterdir())
            clear_partial_files(tmp_path)
        real(opened)

    monkeypatch.setattr(module, "lock", late)
    with atomic_output(tmp_path / "case.npz") as stream:
        stream.write(b"whole")
    assert len(cleared) == 1 and [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("case.npz", b"whole")]


def test_a_whole_file_is_not_cleared_just_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run on the same folder may start at any moment."""
    real = Path.replace

    def late(path: Path, target: Path) -> Path:
        clear_partial_files(tmp_path)
        return real(path, target)

    monkeypatch.setattr(Path, "replace", late)
    with atomic_output(tmp_path / "case.npz") as stream:
        stream.write(b"whole")
    assert (tmp_path / "case.npz").read_bytes() == b"whole"


def test_a_folder_that_is_not_there_has_nothing_to_clear(tmp_path: Path) -> None:
    clear_partial_files(tmp_path / "nowhere")
