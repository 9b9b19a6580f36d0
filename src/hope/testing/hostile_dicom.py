"""DICOM files that claim, nest or expand more than they should. Written by hand: a writer would refuse."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence

EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
RLE, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"
MR = "1.2.840.10008.5.1.4.1.1.4"
_LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT")
ITEM = b"\xfe\xff\x00\xe0"
END_ITEM = b"\xfe\xff\x0d\xe0" + bytes(4)
END_SEQUENCE = b"\xfe\xff\xdd\xe0" + bytes(4)
UNDEFINED = 0xFFFFFFFF


def element(tag: int, vr: bytes, value: bytes | str, length: int | None = None) -> bytes:
    """One explicit little endian element; ``length`` may lie."""
    raw = value.encode() if isinstance(value, str) else value
    raw += (b"\0" if vr in (b"UI", b"OB", b"UN") else b" ") * (len(raw) % 2)
    size = len(raw) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    return head + (struct.pack("<HI", 0, size) if vr in _LONG else struct.pack("<H", size)) + raw


def file_of(elements: bytes, syntax: str = EXPLICIT) -> bytes:
    """A file with its meta information; deflated if the syntax says so."""
    meta = element(0x00020002, b"UI", MR) + element(0x00020003, b"UI", "1.2.3") + element(0x00020010, b"UI", syntax)
    meta = element(0x00020000, b"UL", struct.pack("<I", len(meta))) + meta
    if syntax == DEFLATED:
        packer = zlib.compressobj(9, wbits=-15)
        elements = packer.compress(elements) + packer.flush()
    return bytes(128) + b"DICM" + meta + elements


def image(
    number: int = 1,
    *,
    size: tuple[int, int] = (64, 64),
    changes: Mapping[int, tuple[bytes, bytes | str]] | None = None,
    extra: Mapping[int, bytes] | None = None,
    pixels: bytes | None = None,
    position: str | None = None,
) -> bytes:
    """The elements of one T1 slice in the order of their tags.

    Args:
        number: InstanceNumber; the slice lies at ``number`` mm.
        size: rows and columns that it claims.
        changes: tag -> VR and value, in place of what stands there.
        extra: tag -> a whole element.
        pixels: a whole pixel element; zeros of the right size if not given.
        position: ImagePositionPatient.
    """
    rows, columns = size
    values: dict[int, tuple[bytes, bytes | str]] = {
        0x00080008: (b"CS", "ORIGINAL\\PRIMARY"),
        0x00080016: (b"UI", MR),
        0x00080018: (b"UI", f"1.2.3.{number}"),
        0x00080060: (b"CS", "MR"),
        0x0008103E: (b"LO", "t2 tse"),
        0x00180020: (b"CS", "SE"),
        0x00180050: (b"DS", "1"),
        0x00180080: (b"DS", "4500"),
        0x00180081: (b"DS", "95"),
        0x0020000D: (b"UI", "1.2.3.4"),
        0x0020000E: (b"UI", "1.2.3.5"),
        0x00200011: (b"IS", "3"),
        0x00200013: (b"IS", str(number)),
        0x00200032: (b"DS", position or f"0\\0\\{number}"),
        0x00200037: (b"DS", "1\\0\\0\\0\\1\\0"),
        0x00280002: (b"US", struct.pack("<H", 1)),
        0x00280004: (b"CS", "MONOCHROME2"),
        0x00280010: (b"US", struct.pack("<H", rows)),
        0x00280011: (b"US", struct.pack("<H", columns)),
        0x00280030: (b"DS", "1\\1"),
        0x00280100: (b"US", struct.pack("<H", 16)),
        0x00280101: (b"US", struct.pack("<H", 16)),
        0x00280102: (b"US", struct.pack("<H", 15)),
        0x00280103: (b"US", struct.pack("<H", 1)),
        **(changes or {}),
    }
    parts = {tag: element(tag, vr, value) for tag, (vr, value) in values.items()} | dict(extra or {})
    zeros = bytes((number + i) % 251 for i in range(256)) * (rows * columns * 2 // 256 + 1) if pixels is None else b""
    body = b"".join(parts[tag] for tag in sorted(parts))
    return body + (element(0x7FE00010, b"OW", zeros[: rows * columns * 2]) if pixels is None else pixels)


def encapsulated(*fragments: bytes) -> bytes:
    """Compressed pixels, one fragment a frame."""
    items = b"".join(ITEM + struct.pack("<I", len(f) + len(f) % 2) + f + b"\0" * (len(f) % 2) for f in fragments)
    return element(0x7FE00010, b"OB", ITEM + bytes(4) + items + END_SEQUENCE, UNDEFINED)


def rle_frame(pixels: int) -> bytes:
    """16-bit zeros in RLE: two segments of repeated bytes."""
    segment = b"\x81\x00" * (-(-pixels // 128))
    return struct.pack("<16I", 2, 64, 64 + len(segment), *([0] * 13)) + segment * 2


def empty_items(tag: int, count: int) -> bytes:
    """A sequence of empty items, of defined length."""
    return element(tag, b"SQ", (ITEM + bytes(4)) * count)


def nested(tag: int, depth: int, defined: bool = False) -> bytes:
    """Sequences within sequences."""
    if not defined:
        opening = struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"SQ", 0, UNDEFINED) + ITEM + b"\xff" * 4
        return opening * depth + (END_ITEM + END_SEQUENCE) * depth
    inner = b""
    for _ in range(depth):
        inner = element(tag, b"SQ", ITEM + struct.pack("<I", len(inner)) + inner)
    return inner


def zipped(files: Sequence[bytes]) -> bytes:
    """A zip of files, compressed as well as deflate can."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number, raw in enumerate(files):
            archive.writestr(f"image-{number:05d}", raw)
    return stream.getvalue()
