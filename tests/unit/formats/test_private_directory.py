"""Private directories: gone after the block, and after the next one begins if their process was killed."""

from __future__ import annotations

import hashlib
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import hope.formats.private_directory as module
from hope.formats import machine
from hope.formats.private_directory import (
    MACHINE,
    NAME,
    PREFIX,
    delete_unlocked,
    locked,
    partial_directory,
    private_directory,
)
from hope.jobs import lock_place

HOLD = (
    "import sys; from hope.formats.private_directory import private_directory\n"
    "with private_directory() as folder:\n"
    "    (folder / 'scan.nii').write_bytes(b'1'); print(folder, flush=True); sys.stdin.read()"
)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_what_a_killed_process_left_goes_when_the_next_begins(temporary: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        assert left.parent == temporary and left.name.startswith(PREFIX)
        with private_directory() as own:
            assert own != left and (left / "scan.nii").is_file(), "its process lives"
            with private_directory() as second:
                assert own.is_dir() and second.is_dir(), "this process lives"
        process.kill()
        process.wait(timeout=20)
        assert left.is_dir()
        with private_directory():
            assert not left.exists()
        assert not list(temporary.iterdir())
    finally:
        process.kill()


def test_a_failing_block_leaves_nothing(temporary: Path) -> None:
    with pytest.raises(KeyError), private_directory() as folder:
        (folder / "scan.nii").write_bytes(b"1")
        raise KeyError
    assert not list(temporary.iterdir())


def test_only_own_directories_of_the_name_are_deleted(temporary: Path) -> None:
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (temporary / f"{PREFIX}0000link").symlink_to(elsewhere, target_is_directory=True)
    (temporary / f"{PREFIX}0000file").touch()
    (temporary / f"{PREFIX}0000left").mkdir()
    (temporary / f"{PREFIX}of-somebody").mkdir()
    (temporary / f"{PREFIX.replace(MACHINE, 'another')}0000left").mkdir()
    delete_unlocked(temporary, NAME)
    assert {path.name for path in temporary.iterdir()} == {
        "elsewhere",
        f"{PREFIX}0000link",
        f"{PREFIX}0000file",
        f"{PREFIX}of-somebody",
        f"{PREFIX.replace(MACHINE, 'another')}0000left",
    }
    assert (elsewhere / "kept").is_file()


def test_a_machine_that_shares_the_disk_is_left_alone(tmp_path: Path) -> None:
    """A lock of another machine is not seen here: its living directory looks like one of a killed process."""
    ours, theirs = (tmp_path / f".case.{machine}-0a1b2c3d.part" for machine in (MACHINE, "f" * 6))
    ours.mkdir()
    theirs.mkdir()
    with partial_directory(tmp_path / "case") as own:
        assert own.parent == tmp_path and MACHINE in own.name and own.is_dir()
    assert not ours.exists() and theirs.is_dir()


def test_what_the_version_before_left_by_the_host_name_goes_too(temporary: Path) -> None:
    host = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
    left = [temporary / f"hope-own-{host}-0000left", temporary / f".case.{host}-0a1b2c3d.part"]
    for folder in left:
        folder.mkdir()
    with private_directory(), partial_directory(temporary / "case"):
        assert not any(folder.exists() for folder in left)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("id", "host"), ("id", "host"), True),
        (("id", "host"), ("other", "host"), False),  # a cluster's machines under one host name
        (("id", "host"), ("id", "other"), False),  # copies of one virtual machine
        (("id", "host"), ("", "host"), False),  # a container without an id
    ],
)
def test_a_machine_is_its_id_and_its_host_name(
    one: tuple[str, str], other: tuple[str, str], same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(facts: tuple[str, str]) -> str:
        monkeypatch.setattr(machine, "content_of", lambda path: facts[0])
        monkeypatch.setattr(platform, "node", lambda: facts[1])
        return machine._machine()

    monkeypatch.setattr(sys, "platform", "linux")
    assert (seen(one) == seen(other)) is same


def test_locks_and_names_mean_one_machine() -> None:
    assert lock_place.MACHINE == machine.MACHINE
    assert machine.MACHINE.startswith(MACHINE) or not machine.MACHINE


@pytest.mark.parametrize(
    "make", [private_directory, lambda: partial_directory(Path(tempfile.gettempdir()) / "case")], ids=["own", "partial"]
)
def test_one_that_goes_before_it_is_locked_is_made_again(
    make: Callable[[], AbstractContextManager[Path]], temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs of one case that begin at one time: one may take the other's new directory for a dead process's."""
    taken: list[Path] = []

    def late(directory: Path) -> AbstractContextManager[None]:
        if not taken:
            taken.append(directory)
            delete_unlocked(temporary, re.compile(re.escape(directory.name)))
        return locked(directory)

    monkeypatch.setattr(module, "locked", late)
    with make() as folder:
        assert folder.is_dir() and folder not in taken and not taken[0].exists()
