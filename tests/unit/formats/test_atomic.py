"""Directories that appear whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hope.domain.errors import OutputError
from hope.formats.atomic import atomic_directory
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


def test_what_cannot_be_deleted_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(OutputError, match="permission denied"), atomic_directory(tmp_path / "study"):
        raise KeyError("a")
