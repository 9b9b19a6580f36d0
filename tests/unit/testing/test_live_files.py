"""Listing a folder while others change it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from hope.testing.live_files import files_below, paths_below


def test_directories_and_files_at_any_depth_are_named(tmp_path: Path) -> None:
    (tmp_path / "a" / ".b").mkdir(parents=True)
    (tmp_path / "a" / ".b" / "c").write_bytes(b"c")
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    assert paths_below(tmp_path) == [
        tmp_path / "a",
        tmp_path / "a" / ".b",
        tmp_path / "a" / ".b" / "c",
        tmp_path / "gone",
    ]
    assert files_below(tmp_path) == [tmp_path / "a" / ".b" / "c"]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert paths_below(tmp_path / "nothing") == files_below(tmp_path / "nothing") == []


def test_directories_that_vanish_meanwhile_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "stays").write_bytes(b"1")
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            for name in "abcdefgh":
                (tmp_path / name / "deep").mkdir(parents=True)
                (tmp_path / name / "deep" / "file").write_bytes(b"2")
            for name in "abcdefgh":
                shutil.rmtree(tmp_path / name)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            assert tmp_path / "stays" in files_below(tmp_path)
    finally:
        done.set()
        thread.join()
