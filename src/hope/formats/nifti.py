"""NIfTI files to volumes and back. What is odd about a file is refused in one sentence, before it costs memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
import numpy.typing as npt
from zlib_ng import gzip_ng

from hope.domain.errors import InputError
from hope.domain.grid import CORNER_TOLERANCE_MM, Grid
from hope.domain.volume import Volume
from hope.formats.atomic import atomic_output
from hope.formats.gunzip import MAGIC, open_scan
from hope.formats.nifti_comment import sealed_comment
from hope.formats.nifti_header import EXPECTED_FILE, Layout, read_layout, truncated
from hope.formats.reading import input_error
from hope.formats.voxel_order import in_file_order

DISTINCT_LIMIT = 256
"""Distinct voxel values are counted up to here; more is reported as None."""

_MAX_GZIP_RATIO = 1100  # deflate cannot compress more than 1032:1, so a larger promise is a lie
_CHUNK_VOXELS = 2**21
_SOME_VOXELS = 2**14
_GZIP_LEVEL = 2
"""Of zlib-ng: as small as level 4 of zlib, four times as fast."""

_WILD = 64  # times the span of the usual values
_INT16 = 32767


@dataclass(frozen=True)
class NiftiFacts:
    """What reading a file's voxels showed.

    Attributes:
        nan_count: voxels that were NaN and are 0 now.
        inf_count: voxels that were infinite and are 0 now.
        dtype: the type stored in the file, such as int16.
        integer_valued: all finite voxels are whole numbers after scaling.
        distinct_values: number of different finite values, None above ``DISTINCT_LIMIT``.
    """

    nan_count: int
    inf_count: int
    dtype: str
    integer_valued: bool
    distinct_values: int | None


def read_scan(path: Path, what: str, check: Callable[[Grid], None] | None = None) -> tuple[Volume, NiftiFacts]:
    """Read one 3D image, NIfTI-1 or -2, gzipped or not, whatever its file name ends in.

    Memory is the float32 result and a few MiB; no more bytes are decompressed than the header promises.

    Args:
        path: the file.
        what: its role, such as ``t1c``; only this, never the file's name, is used in error sentences.
        check: called with the grid before a voxel is read; what it raises ends the reading.

    Returns:
        float32 volume in file order with NaN and Inf replaced by 0 (scaling applied), and what was seen.

    Raises:
        InputError: if the file is missing, unreadable, damaged, or not one 3D grey-scale image with a trustworthy
            orientation.
    """
    try:
        _check_file(path, what)
        with open_scan(path, what) as file:
            _refuse_pair(path, what)
            layout = read_layout(file, what)
            if check:
                check(layout.grid)
            _check_size(path, layout, what)
            _skip(file, layout.offset - file.tell(), what)
            return _read_voxels(file, layout, what)
    except OSError as error:
        raise input_error(what, error) from error


def read_labels(path: Path, what: str = "segmentation", check: Callable[[Grid], None] | None = None) -> Volume:
    """Read a label volume.

    Args:
        path: the file.
        what: its role, for error sentences.
        check: as in `read_scan`.

    Returns:
        uint8 volume in file order.

    Raises:
        InputError: as `read_scan`, and if a voxel is not a whole number from 0 to 255.
    """
    volume, facts = read_scan(path, what, check)
    low, high = float(volume.data.min()), float(volume.data.max())
    if facts.nan_count or facts.inf_count or not facts.integer_valued or low < 0 or high > 255:
        got = f"values from {low:g} to {high:g}" + ("" if facts.integer_valued else ", not all whole")
        raise InputError(f"{what} is not a label volume", expected="whole numbers from 0 to 255", got=got)
    return volume.with_data(volume.data.astype(np.uint8))


def write_scan(volume: Volume, path: Path) -> None:
    """Write an image as float32 NIfTI-1 (gzipped when the name ends in .gz), without a trace of identity.

    Raises:
        OutputError: if the file cannot be written; nothing stays behind.
    """
    _write(volume, np.dtype("<f4"), path)


def write_labels(volume: Volume, path: Path, comment: str = "") -> None:
    """Write labels as uint8 NIfTI-1 (gzipped when the name ends in .gz), without a trace of identity.

    Args:
        volume: peds labels.
        path: the file.
        comment: without identity; the header holds it, and `hope.formats.nifti_comment.read_comment` reads it back.

    Raises:
        OutputError: if the file cannot be written; nothing stays behind.
    """
    _write(volume, np.dtype("u1"), path, comment=comment)


def write_compact(volume: Volume, path: Path, *, scale: tuple[float, float] = (1.0, 0.0), lossy: bool = False) -> None:
    """Write an image in few bytes and fast (gzip level 1 when the name ends in .gz), without a trace of identity.

    Args:
        volume: finite voxels.
        path: the file.
        scale: slope and intercept under which the voxels may be whole numbers within int16, such as those of the file
            they come from; they are then written so, and come back exactly.
        lossy: other voxels may be written as int16 too, off by at most 1/130000 of the image's range; else as float32.

    Raises:
        OutputError: if the file cannot be written; nothing stays behind.
    """
    steps = _whole_steps(volume.data, scale)
    if steps is None and lossy:
        scale = _scale_for(volume.data)
        steps = np.rint((volume.data - np.float32(scale[1])) / np.float32(scale[0])) if scale[0] > 0 else None
    if steps is None:
        _write(volume, np.dtype("<f4"), path, level=1)
    else:
        _write(volume.with_data(steps), np.dtype("<i2"), path, level=1, scale=scale)


def _whole_steps(data: npt.NDArray[Any], scale: tuple[float, float]) -> npt.NDArray[Any] | None:
    """The int16 numbers that give exactly these voxels under a scale, None if there are none."""
    slope, intercept = scale
    if np.float32(slope) != slope or np.float32(intercept) != intercept:
        return None  # the header holds float32 only
    steps = np.empty_like(data, dtype=np.int16)
    for part, out in zip(data, steps, strict=True):
        near = np.rint((part.astype(np.float64) - intercept) / slope)
        if np.abs(near).max() > _INT16 or not np.array_equal((near * slope + intercept).astype(np.float32), part):
            return None
        out[...] = near
    return steps


def _scale_for(data: npt.NDArray[Any]) -> tuple[float, float]:
    """A slope and intercept that make the most of int16, 0 being a whole step; slope 0 if float32 does better."""
    low, high = float(data.min()), float(data.max())
    usual = float(np.subtract(*np.percentile(data[::3, ::3, ::3], (99, 1))))
    slope = (high - low) / (2 * _INT16 - 4)
    # A few wild voxels would leave too few steps for all the others.
    if high - low > _WILD * usual or slope < np.finfo(np.float32).tiny:
        return 0.0, 0.0
    # Rounded up to eight bits, so that whole steps are exact in float32 and 0 comes back as 0.
    bit = 2.0 ** (math.floor(math.log2(slope)) - 7)
    slope = math.ceil(slope / bit) * bit
    return slope, round((high + low) / 2 / slope) * slope


def _check_file(path: Path, what: str) -> None:
    if path.is_dir():
        raise InputError(f"{what} is a directory", expected=EXPECTED_FILE, fix="give the file itself")
    if not path.is_file():
        raise InputError(f"{what}: no such file", expected=EXPECTED_FILE, fix="check the path")
    if path.stat().st_size == 0:
        raise InputError(
            f"{what} is an empty file", expected=EXPECTED_FILE, got="0 bytes", fix="copy or export it again"
        )


def _refuse_pair(path: Path, what: str) -> None:
    """Say what an .img file is: the voxels of a two-file image, whose header lies in another file or is missing."""
    if path.suffix.lower() != ".img":
        return
    header = next((p for p in (path.with_suffix(".hdr"), path.with_suffix(".HDR")) if p.is_file()), None)
    if header is None:
        raise InputError(
            f"{what} is the .img half of a two-file image and its .hdr is missing: nothing says how its voxels lie",
            expected=EXPECTED_FILE,
            fix="put the .hdr beside it and convert both to a single file (nib-convert scan.hdr scan.nii)",
        )
    raise InputError(
        f"{what} is the .img half of a two-file image",
        expected=EXPECTED_FILE,
        fix="convert the pair to a single file, for example with nib-convert scan.hdr scan.nii",
    )


def _skip(file: BinaryIO, count: int, what: str) -> None:
    while count > 0:
        block = file.read(min(count, 2**20))
        if not block:
            raise truncated(what, "a file that ends before its voxels begin")
        count -= len(block)


def _check_size(path: Path, layout: Layout, what: str) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        zipped = file.read(2) == MAGIC
    needed = layout.offset + layout.nbytes
    if needed > size * (_MAX_GZIP_RATIO if zipped else 1):
        raise truncated(what, f"{size} bytes for the {needed} bytes that its header promises")


def _read_voxels(file: BinaryIO, layout: Layout, what: str) -> tuple[Volume, NiftiFacts]:
    total = layout.grid.voxel_count
    flat = np.empty(total, dtype=np.float32)
    distinct: npt.NDArray[np.float32] | None = np.empty(0, dtype=np.float32)
    nan_count = inf_count = 0
    whole, scaled = True, (layout.slope, layout.intercept) != (1.0, 0.0)
    plain = layout.dtype.kind in "iu" and not scaled  # finite and whole as they are
    for start in range(0, total, _CHUNK_VOXELS):
        count = min(_CHUNK_VOXELS, total - start)
        raw = _read_exactly(file, count * layout.dtype.itemsize, what)
        chunk = flat[start : start + count]
        with np.errstate(over="ignore", invalid="ignore"):
            chunk[:] = np.frombuffer(raw, dtype=layout.dtype)
            if scaled:
                chunk[:] = np.frombuffer(raw, dtype=layout.dtype) * np.float64(layout.slope) + np.float64(
                    layout.intercept
                )
        values = chunk
        if not plain and not (finite := np.isfinite(chunk)).all():
            nans = int(np.isnan(chunk).sum())
            nan_count, inf_count = nan_count + nans, inf_count + int((~finite).sum()) - nans
            values = chunk[finite]
            chunk[~finite] = 0
        whole = plain or (whole and bool(np.equal(values, np.rint(values)).all()))
        distinct = _more_distinct(distinct, values)
    # One byte more makes gzip reach its check sum; what may follow it is not ours to read.
    file.read(1)
    facts = NiftiFacts(nan_count, inf_count, layout.dtype.name, whole, None if distinct is None else distinct.size)
    return Volume(flat.reshape(layout.grid.shape, order="F"), layout.grid), facts


def _more_distinct(
    known: npt.NDArray[np.float32] | None, values: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32] | None:
    """The distinct values with those of one more chunk; None once they are more than ``DISTINCT_LIMIT``."""
    # Most scans show more within a few voxels, and sorting a chunk takes as long as unpacking it.
    for part in (values[:: max(1, values.size // _SOME_VOXELS)], values):
        if known is not None:
            merged = np.union1d(known, part)
            known = merged if merged.size <= DISTINCT_LIMIT else None
    return known


def _read_exactly(file: BinaryIO, count: int, what: str) -> bytes:
    raw = file.read(count)
    if len(raw) < count:
        raise truncated(what, "a file that ends before its last voxel")
    return raw


def _write(
    volume: Volume,
    dtype: np.dtype[Any],
    path: Path,
    level: int = _GZIP_LEVEL,
    scale: tuple[float, float] | None = None,
    comment: str = "",
) -> None:
    new_header: Any = nib.Nifti1Header
    header = new_header(endianness="<")
    header.set_data_dtype(dtype)
    header.set_data_shape(volume.grid.shape)
    affine = volume.grid.affine_ras_mm
    header.set_qform(affine, code=1, strip_shears=True)
    # Compared at the corners, as the reader does: over many voxels a small shear grows large.
    if not volume.grid.same_as(Grid(volume.grid.shape, header.get_qform()), CORNER_TOLERANCE_MM):
        header.set_qform(affine, code=0)  # a sheared grid fits no quaternion: say it once, in the sform
    header.set_sform(affine, code=1)
    header.set_xyzt_units("mm")
    if scale and scale != (1.0, 0.0):
        header["scl_slope"], header["scl_inter"] = scale
    with atomic_output(path) as raw:
        if path.name.endswith(".gz"):
            # No file name and no time in the gzip header: equal volumes give equal bytes.
            make_file: Any = gzip_ng.GzipNGFile
            with make_file("", "wb", level, raw, mtime=0) as file:
                _write_stream(header, in_file_order(volume.data, dtype), file, comment)
        else:
            _write_stream(header, in_file_order(volume.data, dtype), raw, comment)


def _write_stream(header: Any, stored: Any, file: BinaryIO, comment: str) -> None:
    voxels = memoryview(stored).cast("B")
    header["magic"] = b"n+1"
    if comment:
        header.extensions.append(sealed_comment(header, voxels, comment))
    header["vox_offset"] = 352 + header.extensions.get_sizeondisk()
    header.write_to(file)
    file.write(voxels)
