"""Directories that appear whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hope.domain.errors import OutputError
from hope.formats.atomic import atomic_directory


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


def test_what_cannot_be_deleted_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(OutputError, match="permission denied"), atomic_directory(tmp_path / "study"):
        raise KeyError("a")
