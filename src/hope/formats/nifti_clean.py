"""An uploaded NIfTI file to a clean one: the same voxels and position, uncompressed, without a word of text.

Nothing that an upload claims is believed before it is checked, and no more is unpacked than its header promises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np

from hope.domain.errors import InputError
from hope.domain.errors import TooLargeError as TooLargeError
from hope.domain.errors import WrongTypeError as WrongTypeError
from hope.domain.grid import Grid
from hope.formats.atomic import output_error
from hope.formats.gunzip import MAGIC, GunzipReader
from hope.formats.nifti_header import EXPECTED_FILE, Layout, read_layout, truncated
from hope.formats.reading import reading

CHUNK = 2**20
"""Bytes that are held in memory at a time."""

MAX_RATIO = 200
"""A gzip that unpacks to more than this many times its size (and to more than 64 MiB) is a bomb, not a scan."""

MAX_TAIL = 2**20
"""Bytes after the last voxel that are ignored; more of them is not a scan any more."""

_RATIO_FREE_BYTES = 64 * 2**20
_MAX_GZIP_RATIO = 1100  # deflate cannot compress more than 1032:1, so a larger promise is a lie
_THICK_MM, _SMALL_FIELD_MM, _LARGE_FIELD_MM, _FEW_SLICES = 7.0, 80.0, 400.0, 12

_KEPT = ("datatype", "scl_slope", "scl_inter")
_QFORM = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
_SFORM = ("srow_x", "srow_y", "srow_z")
_FORM_CODES = range(1, 6)
_Nifti1Header: Any = nib.Nifti1Header
_Nifti2Header: Any = nib.Nifti2Header

# First bytes -> what the file is, where people mistake it for a scan.
_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"NRRD", "an NRRD image"),
    (b"\x89HDF", "an HDF5 or MINC file"),
)
_DICOM_ROUTE = "zip the DICOM directory and send it as DICOM"


@dataclass(frozen=True)
class CleanScan:
    """What was written.

    Attributes:
        layout: shape, grid and voxel type.
        bytes: size of the clean file.
        sha256: its hash.
        warnings: what looks odd without being wrong, a sentence each.
    """

    layout: Layout
    bytes: int
    sha256: str
    warnings: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """What an upload answers: shape, spacing_mm, orientation, warnings."""
        grid = self.layout.grid
        return {
            "shape": list(grid.shape),
            "spacing_mm": [round(float(s), 4) for s in grid.spacing_mm],
            "orientation": grid.orientation,
            "warnings": list(self.warnings),
        }

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        layout = self.layout
        return {
            "shape": list(layout.grid.shape),
            "affine_ras_mm": np.asarray(layout.grid.affine_ras_mm).tolist(),
            "dtype": layout.dtype.str,
            "offset": layout.offset,
            "slope": layout.slope,
            "intercept": layout.intercept,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> CleanScan:
        """The same from what `to_json` gave."""
        x, y, z = (int(n) for n in known["shape"])
        layout = Layout(
            Grid((x, y, z), np.array(known["affine_ras_mm"])),
            np.dtype(str(known["dtype"])),
            int(known["offset"]),
            float(known["slope"]),
            float(known["intercept"]),
        )
        return cls(layout, int(known["bytes"]), str(known["sha256"]), tuple(map(str, known["warnings"])))


def clean_nifti(source: Path, target: Path, what: str, max_bytes: int) -> CleanScan:
    """Write the scan in ``source`` (NIfTI-1 or -2, gzipped or not, by content) to ``target`` as a plain clean .nii.

    Voxels and orientation stay bit for bit; every text field and extension, and all numbers that nothing here reads,
    are dropped. Memory is a few MiB.

    Args:
        source: the upload.
        target: a file that is made; left behind half written if this raises.
        what: its role, such as ``t1c``, for sentences.
        max_bytes: most that the voxels may take.

    Raises:
        WrongTypeError: if it is another kind of file.
        TooLargeError: if it is, or unpacks to, more than may be.
        InputError: as `read_layout`, and if it is damaged, empty, truncated or a bomb.
        OutputError: if ``target`` cannot be written.
    """
    size = source.stat().st_size
    if size == 0:
        fix = "choose the file again"
        raise InputError(f"{what} is an empty file", expected=EXPECTED_FILE, got="0 bytes", fix=fix)
    with reading(what), source.open("rb") as raw:
        zipped = raw.read(2) == MAGIC
        raw.seek(0)
        stream: Any = GunzipReader(raw, what) if zipped else raw
        head = stream.read(540)
        _refuse_other_types(head, what)
        layout = read_layout(BytesIO(head), what)
        _check_size(layout, size, zipped, what, max_bytes)
        header = _clean_header(head, layout)
        _skip(stream, layout.offset - len(head), what)
        # Voxels that begin right behind a NIfTI-1 header lie in the first 540 bytes already.
        rest = _Joined(head[layout.offset :], stream)
        digest, written = _copy(rest, target, header, layout, what)
        _refuse_long_tail(rest, what)
    return CleanScan(layout, written, digest, tuple(_warnings(layout.grid, what)))


class _Joined:
    """Bytes that were read already, then the stream they came from."""

    def __init__(self, first: bytes, stream: Any) -> None:
        self._first, self._stream = first, stream

    def read(self, count: int) -> bytes:
        """At most ``count`` bytes; fewer only at the end."""
        block, self._first = self._first[:count], self._first[count:]
        return block if len(block) == count else block + cast("bytes", self._stream.read(count - len(block)))


def _refuse_other_types(head: bytes, what: str) -> None:
    if head[128:132] == b"DICM":
        raise WrongTypeError(f"{what} is a DICOM file", expected=EXPECTED_FILE, fix=_DICOM_ROUTE)
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            fix = "send it as DICOM if DICOM is in it, else unpack it first" if "zip arch" in name else "check the file"
            raise WrongTypeError(f"{what} is {name}", expected=EXPECTED_FILE, fix=fix)
    little, big = (int.from_bytes(head[:4], order) for order in ("little", "big"))
    if {little, big} & {348, 540}:
        return
    is_text = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head[:64])
    raise WrongTypeError(
        f"{what} is not a NIfTI file",
        expected=EXPECTED_FILE,
        got="text" if is_text else "other content",
        fix="check the file",
    )


def _check_size(layout: Layout, size: int, zipped: bool, what: str, max_bytes: int) -> None:
    needed = layout.offset + layout.nbytes
    if layout.nbytes > max_bytes:
        got = f"{layout.nbytes / 2**20:.0f} MiB"
        expected = f"at most {max_bytes / 2**20:.0f} MiB"
        raise TooLargeError(f"{what} is too large once unpacked", expected=expected, got=got)
    if needed > size * (_MAX_GZIP_RATIO if zipped else 1):
        raise truncated(what, f"{size} bytes for the {needed} bytes that its header promises")
    if zipped and needed > _RATIO_FREE_BYTES and needed > MAX_RATIO * size:
        expected, got = f"at most {MAX_RATIO} times its own size", f"{needed / size:.0f} times"
        fix = "send the scan itself"
        raise InputError(f"{what} unpacks to far more than a scan would", expected=expected, got=got, fix=fix)
    if not zipped and size - needed > MAX_TAIL:
        raise _long_tail(what)


def _clean_header(head: bytes, layout: Layout) -> bytes:
    """A new header that says where the voxels lie and what they are, and nothing else."""
    kind, length = (_Nifti2Header, 540) if head[4:8] == b"n+2\0" else (_Nifti1Header, 348)
    old = kind.from_fileobj(BytesIO(head[:length] + bytes(4)), check=False)
    new = kind(endianness=old.endianness)
    for name in _KEPT:
        new[name] = old[name]
    if (layout.slope, layout.intercept) == (1.0, 0.0):
        new["scl_slope"], new["scl_inter"] = 1.0, 0.0
    new["bitpix"] = layout.dtype.itemsize * 8
    new["dim"] = [3, *layout.grid.shape, 1, 1, 1, 1]
    new["pixdim"] = [-1.0 if float(old["pixdim"][0]) < 0 else 1.0, *old["pixdim"][1:4], 1.0, 1.0, 1.0, 1.0]
    new["xyzt_units"] = int(old["xyzt_units"]) & 7
    for code, names in (("qform_code", _QFORM), ("sform_code", _SFORM)):
        if int(old[code]) != 0:
            new[code] = int(old[code]) if int(old[code]) in _FORM_CODES else 1
            for name in names:
                new[name] = old[name]
    new["vox_offset"] = length + 4
    return cast("bytes", new.binaryblock) + bytes(4)


def _skip(stream: Any, count: int, what: str) -> None:
    while count > 0:
        block = stream.read(min(count, CHUNK))
        if not block:
            raise truncated(what, "a file that ends before its voxels begin")
        count -= len(block)


def _copy(stream: _Joined, target: Path, header: bytes, layout: Layout, what: str) -> tuple[str, int]:
    """Write header and voxels; returns hash and size. Refuses an image that is one value throughout."""
    digest = hashlib.sha256(header)
    left, first, varies = layout.nbytes, b"", False
    with target.open("wb") as out:
        _write(out, header)
        while left > 0:
            block = stream.read(min(left, CHUNK))
            if not block:
                raise truncated(what, "a file that ends before its last voxel")
            first = first or block[: layout.dtype.itemsize]
            varies = varies or not _is_only(block, first)
            digest.update(block)
            _write(out, block)
            left -= len(block)
        _write(out, b"")
    if not varies:
        value = float(np.frombuffer(first, layout.dtype)[0]) * layout.slope + layout.intercept
        raise InputError(f"{what} is an empty image", got=f"every voxel is {value:g}", fix="export the scan again")
    return digest.hexdigest(), len(header) + layout.nbytes


def _write(out: BinaryIO, block: bytes) -> None:
    """Write, or flush if there is nothing to write; the operating system's refusal is about our disk."""
    try:
        out.write(block) if block else out.flush()
    except OSError as error:
        raise output_error("the upload", error) from error


def _is_only(block: bytes, value: bytes) -> bool:
    """Whether a block is the same voxel again and again; a block always holds whole voxels."""
    return block == value * (len(block) // len(value))


def _refuse_long_tail(stream: _Joined, what: str) -> None:
    # Reading on also makes gzip reach and check its check sum.
    if len(stream.read(MAX_TAIL + 1)) > MAX_TAIL:
        raise _long_tail(what)


def _long_tail(what: str) -> InputError:
    expected = "nothing after the last voxel"
    return InputError(f"{what} holds far more than its header says", expected=expected, fix="export the scan again")


def _warnings(grid: Grid, what: str) -> list[str]:
    found = []
    extent = [n * s for n, s in zip(grid.shape, grid.spacing_mm, strict=True)]
    if max(grid.spacing_mm) > _THICK_MM:
        found.append(f"{what} has slices of {max(grid.spacing_mm):.1f} mm: small parts may be missed.")
    if min(grid.shape) < _FEW_SLICES:
        found.append(f"{what} has only {min(grid.shape)} slices along one axis.")
    if min(extent) < _SMALL_FIELD_MM or max(extent) > _LARGE_FIELD_MM:
        size = " x ".join(f"{x:.0f}" for x in extent)
        found.append(f"{what} covers {size} mm, which is unusual for a head.")
    return found
