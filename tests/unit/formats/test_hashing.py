"""SHA-256 of files, against hashlib on their bytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from hope.formats.hashing import hash_file, sha256_of, sha256_of_all


@pytest.mark.parametrize("content", [b"", b"x", bytes(3_000_001)], ids=["empty", "one byte", "several blocks"])
def test_hash_and_size_of_a_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(content)
    assert hash_file(tmp_path / "f") == (hashlib.sha256(content).hexdigest(), len(content))
    assert sha256_of(tmp_path / "f") == hashlib.sha256(content).hexdigest()


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        hash_file(tmp_path / "nothing")


def test_a_directory_of_links_is_what_they_lead_to(tmp_path: Path) -> None:
    cases, site = tmp_path / "cases", tmp_path / "site"
    for name in ("a", "b"):
        (cases / name).mkdir(parents=True)
        (cases / name / "t1c.nii").write_text(name)
    site.mkdir()
    (site / "1").symlink_to(cases / "a", target_is_directory=True)
    one = sha256_of_all([site])
    assert one == sha256_of_all([cases / "a"])
    (site / "2").symlink_to(cases / "b", target_is_directory=True)
    both = sha256_of_all([site])
    assert both == sha256_of_all([cases]) != one
    (cases / "b" / "up").symlink_to(site, target_is_directory=True)
    (site / ".DS_Store").write_text("x")
    if hasattr(os, "mkfifo"):
        os.mkfifo(site / "pipe")
    assert sha256_of_all([site]) == both
    (site / "3").symlink_to("annex/one")
    dead = sha256_of_all([site])
    (site / "3").unlink()
    (site / "3").symlink_to("annex/two")
    assert len({both, dead, sha256_of_all([site])}) == 3
    (cases / "a" / "t1c.nii").write_text("other")
    assert sha256_of_all([site]) != dead
