"""A comment in the header of a mask, sealed: it is read back from the very file that was written, and from no other."""

from __future__ import annotations

import struct
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import nibabel as nib

from hope.domain.errors import InputError
from hope.formats.gunzip import open_scan
from hope.formats.nifti_header import MAX_VOXELS

_COMMENT_CODE: Final = 6
"""Plain text, by the registry of extensions of NIfTI-1."""

_HEADER, _FIRST_OFFSET = 348, 352
_OFFSET_FIELD: Final = slice(108, 112)
_LONGEST: Final = 2**16
_BLOCK: Final = 2**20


def sealed_comment(header: Any, voxels: memoryview, text: str) -> Any:
    """An extension for the header of nibabel, made last: it holds a hash of header and voxels, and the text."""
    return nib.nifti1.Nifti1Extension(_COMMENT_CODE, f"{_seal_of(header.binaryblock, voxels)} {text}".encode())


def read_comment(path: Path) -> tuple[str, bool]:
    """The sealed comment of a NIfTI-1 file, and whether the file is as it was written.

    Returns:
        the text, empty if there is none; whether header and voxels are those that were written with it.

    Raises:
        OSError: if the file cannot be read.
    """
    with suppress(InputError, struct.error, UnicodeDecodeError), open_scan(path, "the mask") as file:
        block = file.read(_FIRST_OFFSET)
        if len(block) < _FIRST_OFFSET or block[_HEADER] != 1:
            return "", False
        (size,), (offset,) = struct.unpack("<i", block[:4]), struct.unpack("<f", block[_OFFSET_FIELD])
        if size != _HEADER or not _FIRST_OFFSET < offset <= _LONGEST:
            return "", False
        extension = file.read(int(offset) - _FIRST_OFFSET)
        length, code = struct.unpack("<ii", extension[:8])
        if code != _COMMENT_CODE or not 8 < length <= len(extension):
            return "", False
        seal, _, text = extension[8:length].rstrip(b"\0").decode().partition(" ")
        digest, left = _begun(block[:_HEADER]), MAX_VOXELS
        while left > 0 and (part := file.read(min(left, _BLOCK))):
            digest.update(part)
            left -= len(part)
        return text, digest.hexdigest() == seal
    return "", False


def _seal_of(header: bytes, voxels: memoryview) -> str:
    digest = _begun(header)
    digest.update(voxels)
    return str(digest.hexdigest())


def _begun(header: bytes) -> Any:
    """SHA-256 of a header but for the place of the voxels, which depends on the comment."""
    plain = bytearray(header)
    plain[_OFFSET_FIELD] = bytes(4)
    return sha256(plain)
