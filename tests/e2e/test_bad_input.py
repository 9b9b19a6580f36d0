"""Bad input: exit status 2, one sentence, nothing left behind. One test per line of the promise."""

from __future__ import annotations

import gzip
import os
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hope.domain.case import MRSequence
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.formats.nifti import write_labels, write_scan

Spoil = Callable[[Path], None]


def scan_of(folder: Path, sequence: str) -> Path:
    return folder / f"{folder.name}-{sequence}.nii.gz"


def change_header(path: Path, offset: int, layout: str, *values: float) -> None:
    raw = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into(layout, raw, offset, *values)
    path.write_bytes(gzip.compress(bytes(raw)))


def no_nifti(folder: Path) -> None:
    scan_of(folder, "t2w").write_text("this is not an image")


def truncated(folder: Path) -> None:
    path = scan_of(folder, "t1n")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(folder: Path) -> None:
    scan_of(folder, "t1c").write_bytes(b"")


def same_image_twice(folder: Path) -> None:
    shutil.copy(scan_of(folder, "t1n"), scan_of(folder, "t1c"))


def all_zero(folder: Path) -> None:
    write_scan(Volume(np.zeros((60, 66, 56), np.float32), HEAD), scan_of(folder, "t2f"))


def all_nan(folder: Path) -> None:
    path = scan_of(folder, "t2f")
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[352:] = np.full((len(raw) - 352) // 4, np.nan, dtype="<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))


def two_missing(folder: Path) -> None:
    scan_of(folder, "t2w").unlink()
    scan_of(folder, "t2f").unlink()


def required_missing(folder: Path) -> None:
    scan_of(folder, "t2w").unlink()


def not_one_head(folder: Path) -> None:
    far = np.array(HEAD.affine_ras_mm)
    far[:3, 3] += 900
    rng = np.random.default_rng(0)
    write_scan(Volume(rng.random((60, 66, 56), np.float32), Grid((60, 66, 56), far)), scan_of(folder, "t2w"))


def zero_spacing(folder: Path) -> None:
    change_header(scan_of(folder, "t1n"), 80, "<f", 0.0)


def negative_spacing(folder: Path) -> None:
    change_header(scan_of(folder, "t1n"), 84, "<f", -3.0)


def labels_as_scan(folder: Path) -> None:
    labels = np.zeros((60, 66, 56), np.uint8)
    labels[20:30, 20:30, 20:30] = 1
    labels[22:25, 22:25, 22:25] = 4
    write_labels(Volume(labels, HEAD), scan_of(folder, "t2w"))


def many_volumes(folder: Path) -> None:
    path = scan_of(folder, "t2w")
    raw = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(raw + raw[352:]))
    change_header(path, 40, "<8h", 4, 60, 66, 56, 2, 1, 1, 1)


def gigantic_header(folder: Path) -> None:
    change_header(scan_of(folder, "t1c"), 40, "<8h", 3, 10000, 10000, 10000, 1, 1, 1, 1)


HEAD = Grid((60, 66, 56), np.array([[3.0, 0, 0, -88.5], [0, 3.0, 0, -97.5], [0, 0, 3.0, -82.5], [0, 0, 0, 1.0]]))

CASES: dict[str, tuple[Spoil, str]] = {
    "not a NIfTI": (no_nifti, "t2w"),
    "truncated gz": (truncated, "t1n"),
    "empty file": (empty, "empty"),
    "the same image as two sequences": (same_image_twice, "same image"),
    "all zero": (all_zero, "t2f"),
    "all NaN": (all_nan, "t2f"),
    "two sequences missing": (two_missing, "cannot work without"),
    "a sequence missing that the model needs": (required_missing, "--t2w"),
    "grids that cannot be one head": (not_one_head, "t2w"),
    "zero spacing": (zero_spacing, "spacing"),
    "negative spacing": (negative_spacing, "spacing"),
    "a label volume as a scan": (labels_as_scan, "label"),
    "4D with many volumes": (many_volumes, "volumes"),
    "a header that claims 10^12 voxels": (gigantic_header, "voxels"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_scan(name: str, raw_case_dir: Path, tmp_path: Path, hope: Callable) -> None:
    spoil, says = CASES[name]
    spoil(raw_case_dir)
    out = tmp_path / "out"
    result = hope("segment", raw_case_dir, "-o", out, "--model", "tiny")
    assert result.status == 2, result.err
    sentence = [line for line in result.err.splitlines() if line.startswith("hope: ")]
    assert len(sentence) == 1
    assert says in sentence[0]
    assert "Traceback" not in result.err
    assert not out.exists(), "something was left behind"


def test_no_file(tmp_path: Path, hope: Callable) -> None:
    result = hope("segment", tmp_path / "nowhere", "-o", tmp_path / "out", "--model", "tiny")
    assert result.status == 2
    assert "no such file" in result.err
    assert not (tmp_path / "out").exists()


def test_no_input_at_all(tmp_path: Path, hope: Callable) -> None:
    result = hope("segment", "-o", tmp_path / "out", "--model", "tiny")
    assert result.status == 2
    assert "--t1c" in result.err


def test_unknown_model_lists_those_there_are(raw_case_dir: Path, tmp_path: Path, hope: Callable) -> None:
    result = hope("segment", raw_case_dir, "-o", tmp_path / "out", "--model", "nonsense")
    assert result.status == 2
    assert "tiny" in result.err


def test_output_that_cannot_be_written(preprocessed_case_dir: Path, tmp_path: Path, hope: Callable) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("a file where the directory should be")
    result = hope("segment", preprocessed_case_dir, "-o", in_the_way / "out", "--model", "tiny")
    assert result.status == 2
    assert "Traceback" not in result.err
    assert in_the_way.read_text() == "a file where the directory should be"


def test_disk_full_leaves_nothing(preprocessed_case_dir: Path, tmp_path: Path, models_dir: Path) -> None:
    """The double of a full disk: the kernel refuses to let any file grow beyond 100 kB."""
    out = tmp_path / "out"

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    call = [sys.executable, "-c", "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
            "from hope.cli import main; main()", "segment", str(preprocessed_case_dir), "-o", str(out),
            "--model", "tiny", "--device", "cpu"]  # fmt: skip
    environment = {**os.environ, "HOPE_MODELS_DIR": str(models_dir)}
    done = subprocess.run(call, capture_output=True, text=True, preexec_fn=small_files, env=environment, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_a_header_of_10_to_the_12_voxels_takes_no_memory(raw_case_dir: Path, tmp_path: Path, models_dir: Path) -> None:
    gigantic_header(raw_case_dir)
    program = (
        "import resource, sys; from pathlib import Path; from hope.formats.nifti import read_scan\n"
        "from hope.domain.errors import InputError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_scan(Path(sys.argv[1]), 't1c')\n"
        "except InputError: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    path = str(scan_of(raw_case_dir, MRSequence.T1C))
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20_000, "more than 20 MB were taken for a header"
