"""Large but legal clinical uploads pass the guarded path under default limits: full size in the long form."""

from __future__ import annotations

import asyncio
import gzip
import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from tests.attack.conftest import LONG

from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.limits import ReadingLimits
from hope.domain.volume import Volume
from hope.jobs.processes import StageProcesses
from hope.testing import hostile_dicom as hostile
from hope.testing.dicom_series import SeriesRecipe, write_series
from hope.testing.enhanced_series import EnhancedRecipe, write_enhanced

SHAPE = (512, 512, 200) if LONG else (128, 128, 32)
NIFTI_SHAPE = (512, 512, 300) if LONG else (128, 128, 48)
PRIVATE_BYTES = 25 * 2**20


def scan(shape: tuple[int, int, int], seed: int = 0, bright: float = 1.0) -> Volume:
    """A head with noise of 12 bits: what a scanner sends compresses by half, not by a hundred."""
    rng = np.random.default_rng(seed)
    axes = np.ogrid[-1.0 : 1.0 : shape[0] * 1j, -1.0 : 1.0 : shape[1] * 1j, -1.0 : 1.0 : shape[2] * 1j]
    inside = sum(axis**2 for axis in axes) < 0.7
    coarse = ndimage.zoom(rng.random((8, 8, 8), dtype=np.float32), np.array(shape) / 8, order=1)
    data = np.where(inside, 300 + 900 * coarse, 5).astype(np.float32)
    if bright != 1.0:
        data = np.where(coarse > 0.8, data * bright, data)
    data += rng.integers(0, 60, shape, dtype=np.int16)
    return Volume(np.round(data), Grid(shape, np.diag([220 / shape[0], 220 / shape[1], 180 / shape[2], 1.0])))


def four_series(folder: Path) -> bytes:
    """A study whose two T1 series are told apart by their images alone."""
    for number, (kind, name) in enumerate((("t1", "t1 a"), ("t1", "t1 b"), ("t2", "t2 tse"), ("flair", "flair")), 1):
        bright = 1.8 if name == "t1 b" else 1.0
        write_series(scan(SHAPE, number // 3, bright), folder / str(number), SeriesRecipe(number, kind, name))
    return zipped(folder)


def compressed_enhanced(folder: Path) -> bytes:
    write_enhanced(scan(SHAPE), folder, EnhancedRecipe(1, "t2", "t2 tse", compressed=True))
    return zipped(folder)


def private_header(folder: Path) -> bytes:
    """One file of the series carries 25 MB of a vendor's data: one value, and very many small ones in a sequence."""
    element = hostile.element
    creator = element(0x00290010, b"LO", "A VENDOR")
    inner = creator + b"".join(element(0x00291000 + n, b"LO", f"{n:056d}") for n in range(0xFF))
    item = hostile.ITEM + struct.pack("<I", len(inner)) + inner
    extra = {
        0x00290010: creator,
        0x00291010: element(0x00291010, b"OB", np.random.default_rng(1).bytes(PRIVATE_BYTES // 2)),
        0x00291020: element(0x00291020, b"SQ", item * (PRIVATE_BYTES // 2 // len(item) + 1)),
    }
    for number in range(1, 25):
        given = extra if number == 1 else {}
        (folder / f"{number:02d}").write_bytes(hostile.file_of(hostile.image(number, extra=given)))
    assert (folder / "01").stat().st_size > PRIVATE_BYTES
    return zipped(folder)


def float_nifti(folder: Path) -> bytes:
    make: Any = nib.Nifti1Image
    volume = scan(NIFTI_SHAPE)
    image = make(volume.data.astype(np.float32), volume.grid.affine_ras_mm)
    (folder / "t2w.nii.gz").write_bytes(gzip.compress(image.to_bytes(), 1))
    return zipped(folder)


def zipped(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder))
    return stream.getvalue()


UPLOADS: dict[str, tuple[Callable[[Path], bytes], tuple[int, int, int], set[str]]] = {
    "four series": (four_series, SHAPE, {"t1n", "t1c", "t2w", "t2f"}),
    "a compressed enhanced file": (compressed_enhanced, SHAPE, {"t2w"}),
    "25 MB of private header": (private_header, (64, 64, 24), {"t2w"}),
    "a NIfTI of float32": (float_nifti, NIFTI_SHAPE, {"t2w"}),
}


Read = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def read() -> Iterator[Read]:
    """A child that reads one upload after another, as the gateway has it."""
    with asyncio.Runner() as runner:
        children = StageProcesses("hope.jobs.bodies")

        async def one(job: dict[str, Any]) -> dict[str, Any]:
            return await children.run(job)

        yield lambda job: runner.run(one(job))
        runner.run(children.close())


@pytest.mark.parametrize("name", UPLOADS)
def test_it_is_read_whole(read: Read, tmp_path: Path, name: str) -> None:
    make, shape, sequences = UPLOADS[name]
    folders = {part: tmp_path / part for part in ("made", "in", "out", "scratch")}
    for folder in folders.values():
        folder.mkdir()
    raw = make(folders["made"])
    (folders["in"] / "upload.zip").write_bytes(raw)
    places = {part: str(folders[part]) for part in ("in", "out", "scratch")}
    job = {"do": "dicom", "max_bytes": 2**33, "limits": asdict(ReadingLimits()), "upload_bytes": len(raw), **places}
    try:
        series = read(job)["result"]["series"]
    except InputError as error:
        raise AssertionError(f"{len(raw) / 2**20:.0f} MiB were refused: {error}") from error
    assert {one["sequence"] for one in series} == sequences, series
    assert {tuple(sorted(one["shape"])) for one in series} == {tuple(sorted(shape))}
