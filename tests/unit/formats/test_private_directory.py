"""Private directories: gone after the block, and after the next one begins if their process was killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hope.formats.private_directory import NAME, PREFIX, delete_unlocked, private_directory

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
    delete_unlocked(temporary, NAME)
    assert {path.name for path in temporary.iterdir()} == {
        "elsewhere",
        f"{PREFIX}0000link",
        f"{PREFIX}0000file",
        f"{PREFIX}of-somebody",
    }
    assert (elsewhere / "kept").is_file()
