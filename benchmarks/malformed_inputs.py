"""Seeded malformed inputs: zips, DICOM, NIfTI, masks, bundles, checkpoints. One number always gives the same input."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from typing import Any

import nibabel as nib
import numpy as np

from hope.models.bundle import BUNDLED, MANIFEST
from hope.testing import hostile_dicom as hostile

EXTREMES = (0, 1, -1, 2**7, 2**15 - 1, 2**16 - 1, 2**31 - 1, -(2**31), 2**32 - 1)
TEXTS = (
    *(
        "",
        " ",
        "nan",
        "inf",
        "-inf",
        "1e30",
        "1e99",
        "-1",
        "0",
        "99999999999999999999",
        "x" * 70,
        "\\" * 40,
        "1\\2",
        "..\\..\\x",
    ),
    *("\u00e9" * 20, "0\\0", "1e-300\\1e-300", "A" * 5000),
)
NAMES = (
    *("", ".", "..", "a", "a/b", "a/b/c", "/a", "a//b", "a\\b", "n" * 255, "n" * 256, "\u00e9" * 127, "\u00e9" * 128),
    *(
        "a.nii",
        "t1c.nii.gz",
        "x/t1c.nii",
        ".hidden",
        "__MACOSX/a",
        "con",
        "a:b",
        "DICOMDIR",
        "\x01",
        "a\x00b",
        "a" + "/d" * 500,
    ),
)
VRS = (b"CS", b"DS", b"IS", b"UI", b"US", b"LO", b"SQ", b"OB", b"UN", b"FD", b"PN", b"AT", b"ZZ", b"\0\0")
TAGS = (
    *(0x00080005, 0x00080008, 0x00080016, 0x00080018, 0x00080060, 0x00180050, 0x00180080, 0x00180088, 0x0020000E),
    *(0x00200011, 0x00200013, 0x00200032, 0x00200037, 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011),
    *(0x00280030, 0x00280100, 0x00281052, 0x00281053, 0x52009229, 0x52009230, 0x00180012, 0x2005100E, 0x00209105),
)

# Offsets of NIfTI-1 header fields and how they are stored.
_FIELDS = (
    *((40, "h"), (42, "h"), (44, "h"), (70, "h"), (76, "f"), (80, "f"), (84, "f"), (108, "f"), (112, "f"), (116, "f")),
    *((123, "b"), (252, "h"), (254, "h"), (256, "f"), (280, "f"), (296, "f"), (0, "i"), (344, "i")),
)


def spoil(raw: bytes, dice: random.Random) -> bytes:
    """Flip, cut, repeat, drop or overwrite something, one to four times."""
    data = bytearray(raw)
    for _ in range(dice.randint(1, 4)):
        if not data:
            break
        place = dice.randrange(len(data)) if dice.random() < 0.5 else dice.randrange(min(len(data), 600))
        match dice.randrange(6):
            case 0:
                data[place] ^= 1 << dice.randrange(8)
            case 1:
                del data[place:]
            case 2:
                data[place:place] = data[place : place + dice.randint(1, 64)]
            case 3:
                del data[place : place + dice.randint(1, 64)]
            case 4:
                value = dice.choice(EXTREMES) & 0xFFFFFFFF
                data[place : place + 4] = struct.pack(dice.choice("<>") + "I", value)
            case 5:
                data[place : place + 8] = dice.randbytes(8)
    return bytes(data)


def a_dicom(dice: random.Random) -> bytes:
    """A zip of a small series whose elements say odd things."""
    changes: dict[int, tuple[bytes, bytes | str]] = {}
    extra: dict[int, bytes] = {}
    for _ in range(dice.randint(0, 4)):
        tag = dice.choice(TAGS)
        value: bytes | str = (
            dice.choice(TEXTS) if dice.random() < 0.7 else dice.randbytes(dice.choice((0, 1, 2, 4, 8, 60)))
        )
        changes[tag] = (dice.choice(VRS), value)
    if dice.random() < 0.3:
        tag = dice.choice(TAGS)
        depth = dice.choice((1, 3, 20, 30, 900))
        made = (
            lambda: hostile.nested(tag, depth, dice.random() < 0.5),
            lambda: hostile.empty_items(tag, dice.choice((1, 100, 50_000))),
            lambda: hostile.element(tag, dice.choice(VRS), dice.randbytes(20), dice.choice(EXTREMES) & 0xFFFF),
        )
        changes.pop(tag, None)
        extra[tag] = dice.choice(made)()
    syntax = dice.choice(
        (hostile.EXPLICIT, hostile.EXPLICIT, hostile.DEFLATED, hostile.RLE, hostile.JPEG_2000, "1.2.3")
    )
    pixels = None
    if syntax in (hostile.RLE, hostile.JPEG_2000) or dice.random() < 0.1:
        pixels = hostile.encapsulated(hostile.rle_frame(dice.choice((64 * 64, 10, 100_000))))
    size = dice.choice(((64, 64), (64, 64), (1, 1), (0, 64), (65535, 65535), (2000, 2000)))
    if pixels is None and size[0] * size[1] > 2**22:
        pixels = hostile.element(0x7FE00010, b"OW", bytes(100))
    files = []
    whole = dice.random() < 0.5
    for number in range(1, dice.choice((2, 9, 13))):
        raw = hostile.file_of(hostile.image(number, size=size, changes=changes, extra=extra, pixels=pixels), syntax)
        files.append(raw if whole or dice.random() < 0.5 else spoil(raw, dice))
    return hostile.zipped(files)


def a_zip(dice: random.Random) -> bytes:
    """A zip of odd names, or an ordinary one with spoilt bytes."""
    stream = io.BytesIO()
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(dice.randint(0, 6)):
            name = dice.choice(NAMES) if dice.random() < 0.4 else f"image-{number}"
            content = dice.choice((_slice(number + 1), _nifti_bytes(), dice.randbytes(50), b"", bytes(10**6)))
            entry = zipfile.ZipInfo("placeholder")
            entry.filename = name
            entry.external_attr = dice.choice((0, 0, 0, 0o120777 << 16, 0x10))
            archive.writestr(entry, content, compress_type=dice.choice(kinds))
    raw = stream.getvalue()
    return spoil(raw, dice) if dice.random() < 0.7 else raw


def a_nifti(dice: random.Random) -> bytes:
    """A scan whose header or bytes are spoilt, plain or compressed."""
    raw = bytearray(_nifti_bytes())
    for _ in range(dice.randint(0, 3)):
        place, kind = dice.choice(_FIELDS)
        values = (0, 1, -1, 2, 16, 64, 127) if kind == "b" else (0, 1, -1, 2, 4, 16, 64, 512, 32767, -32768)
        floats = (0.0, -1.0, 1e30, -1e30, float("nan"), float("inf"), 1e-30, 352.0, 3e38)
        struct.pack_into("<" + kind, raw, place, dice.choice(floats if kind == "f" else values))
    made = spoil(bytes(raw), dice) if dice.random() < 0.5 else bytes(raw)
    match dice.randrange(5):
        case 0:
            return made
        case 1:
            return gzip.compress(b"", mtime=0) * dice.choice((1, 500, 20_000)) + gzip.compress(made, mtime=0)
        case 2:
            return gzip.compress(made, mtime=0) + dice.randbytes(dice.choice((0, 5, 2**20)))
        case _:
            packed = gzip.compress(made, mtime=0)
            return spoil(packed, dice) if dice.random() < 0.5 else packed


def a_bundle(dice: random.Random) -> bytes:
    """A zip of a bundle whose manifest says odd things, or whose bytes are spoilt."""
    manifest = json.loads((BUNDLED / "hail-starter" / MANIFEST).read_bytes())
    for _ in range(dice.randint(0, 3)):
        _change(manifest, dice)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"bundle/{MANIFEST}", json.dumps(manifest))
        for name in ("weights.safetensors",):
            content = (BUNDLED / "hail-starter" / name).read_bytes()
            archive.writestr(f"bundle/{name}", spoil(content, dice) if dice.random() < 0.5 else content)
    raw = stream.getvalue()
    return spoil(raw, dice) if dice.random() < 0.4 else raw


def a_checkpoint(dice: random.Random) -> bytes:
    """A pickle, or a zip that holds one, with spoilt bytes."""
    value: Any = {"a": [1, (2, 3.5)], "b": {"c": b"x" * 20}, 3: {1, 2}, "n": np.arange(5)}
    raw = pickle.dumps(value, dice.randrange(6))
    match dice.randrange(4):
        case 0:
            raw = b"\x80\x04)" + b"\x85" * dice.choice((10, 200, 900_000)) + b"."
        case 1:
            raw = (
                bytes(dice.choice(b"(){}[]\x85\x86\x87\x94NKhju.sabetul0123\x80\x8f\x90\x91") for _ in range(200))
                + b"."
            )
        case _:
            raw = spoil(raw, dice)
    if dice.random() < 0.5:
        return raw
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", raw)
        archive.writestr("archive/data/0", bytes(40))
    return spoil(stream.getvalue(), dice) if dice.random() < 0.5 else stream.getvalue()


def _change(value: Any, dice: random.Random) -> None:
    """Put something odd somewhere into a JSON value."""
    odd = (
        None,
        -1,
        0,
        10**6,
        1e30,
        float("nan"),
        float("inf"),
        "",
        "x" * 100,
        [],
        {},
        [1e30] * 3,
        True,
        [[[[1]]]],
        "../x",
    )
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = dice.choice(keys)
        if isinstance(value[key], dict | list) and dice.random() < 0.6:
            value = value[key]
            continue
        value[key] = dice.choice(odd)
        return


@cache
def _slice(number: int) -> bytes:
    return hostile.file_of(hostile.image(number))


@cache
def _nifti_bytes() -> bytes:
    make: Any = nib.Nifti1Image
    data = np.zeros((12, 13, 14), np.uint8)
    data[2:6, 3:7, 4:9] = 2
    raw: bytes = make(data, np.diag([1.0, 1.0, 1.0, 1.0])).to_bytes()
    return raw


MAKERS: dict[str, Callable[[random.Random], bytes]] = {
    "zip": a_zip,
    "DICOM": a_dicom,
    "NIfTI": a_nifti,
    "mask": a_nifti,
    "bundle": a_bundle,
    "checkpoint": a_checkpoint,
}
"""What is made by kind."""


def reference_scan() -> bytes:
    """The scan that masks belong to."""
    return _nifti_bytes()
