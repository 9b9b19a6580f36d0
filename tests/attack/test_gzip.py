"""Gzip streams: masks and scans go through one bounded reader."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.attack.conftest import at_most

from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.limits import ReadingLimits
from hope.domain.progress import silent
from hope.domain.volume import Volume
from hope.formats.budget import Budget, reading_within
from hope.formats.nifti import read_labels, read_scan, write_labels
from hope.formats.nifti_clean import clean_nifti
from hope.stages.postprocess.corrected_mask import keep_mask

MIB = 2**20
GRID = Grid((32, 32, 16), np.diag([1.0, 1.0, 1.0, 1.0]))


def _mask(path: Path) -> bytes:
    data = np.zeros(GRID.shape, np.uint8)
    data[4:9, 4:9, 4:9] = 2
    write_labels(Volume(data, GRID), path)
    return gzip.decompress(path.read_bytes())


def _named(raw: bytes, name: int) -> bytes:
    """A gzip member whose header holds a file name of ``name`` bytes."""
    packer = zlib.compressobj(wbits=-15)
    head = b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * name + b"\0"
    tail = zlib.crc32(raw).to_bytes(4, "little") + len(raw).to_bytes(4, "little")
    return head + packer.compress(raw) + packer.flush() + tail


READERS: dict[str, Callable[[Path, Path], object]] = {
    "scan": lambda path, out: read_scan(path, "t1c"),
    "labels": lambda path, out: read_labels(path),
    "clean": lambda path, out: clean_nifti(path, out / "clean.nii", "t1c", 2**33),
    "mask": lambda path, out: keep_mask(out, out / "kept.nii.gz", silent),
}


@pytest.mark.parametrize("reader", sorted(READERS))
def test_400000_empty_members(tmp_path: Path, reader: str) -> None:
    raw = _mask(tmp_path / "reference.nii.gz")
    path = tmp_path / "mask.nii.gz"
    path.write_bytes(gzip.compress(b"", 1, mtime=0) * 400_000 + gzip.compress(raw))
    with at_most(0.5), pytest.raises(InputError, match="very many pieces"):
        READERS[reader](path, tmp_path)


@pytest.mark.parametrize("reader", sorted(READERS))
def test_a_file_name_of_60_megabytes(tmp_path: Path, reader: str) -> None:
    raw = _mask(tmp_path / "reference.nii.gz")
    path = tmp_path / "mask.nii.gz"
    path.write_bytes(_named(raw, 60 * MIB))
    with at_most(0.5):
        READERS[reader](path, tmp_path)


def test_blocked_gzip_is_read(tmp_path: Path) -> None:
    raw = _mask(tmp_path / "a.nii.gz")
    blocks = [gzip.compress(raw[i : i + 4096]) for i in range(0, len(raw), 4096)]
    (tmp_path / "b.nii.gz").write_bytes(b"".join(blocks) + gzip.compress(b""))
    assert read_labels(tmp_path / "b.nii.gz").data.sum() == 250


def test_padded_gzips_share_the_upload_s_budget(tmp_path: Path) -> None:
    """Zeros behind a gzip stream hide its ratio; a zip makes them small again."""
    grid = Grid((160, 160, 160), np.diag([1.0, 1.0, 1.0, 1.0]))
    write_labels(Volume(np.eye(160, dtype=np.uint8)[:, :, None].repeat(160, 2), grid), tmp_path / "a.nii.gz")
    with reading_within(Budget(ReadingLimits(expanded_free_mb=10), upload_bytes=1000)):
        for name in ("one", "two"):
            clean_nifti(tmp_path / "a.nii.gz", tmp_path / name, "t1c", 2**33)
        with pytest.raises(InputError, match="unpacks to far more than it may"):
            clean_nifti(tmp_path / "a.nii.gz", tmp_path / "three", "t1c", 2**33)
