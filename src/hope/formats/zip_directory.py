"""How many entries a zip archive holds, told by its end record and counted in its directory, before a list is made."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from hope.domain.errors import InputError

_END = b"PK\x05\x06"
_END64 = b"PK\x06\x06"
_LOCATOR64 = b"PK\x06\x07"
_ENTRY = b"PK\x01\x02"
_END_BYTES, _END64_BYTES, _LOCATOR64_BYTES, _ENTRY_BYTES = 22, 56, 20, 46
_COMMENT_BYTES = 65_535
_LENGTHS = struct.Struct("<28xHHH12x")
_NAME_BYTES = 1024  # of an entry on average: names, extra fields and comments of one may be longer


def check_entry_count(file: BinaryIO, most: int) -> None:
    """Refuse an archive of too many entries at the cost of a few reads.

    Args:
        file: the archive, seekable; where it stands afterwards does not matter.
        most: most entries that it may hold.

    Raises:
        InputError: if the end record claims more, or the directory holds more. An archive without an end record passes;
            whoever opens it says that it is none.
    """
    found = _directory(file)
    if found is None:
        return
    claimed, start, size = found
    if claimed > most:
        raise _too_many(most, str(claimed))
    if size > most * (_ENTRY_BYTES + _NAME_BYTES):
        raise _too_many(most, f"a directory of {size / 2**20:.0f} MiB")
    file.seek(max(0, start))
    listing = file.read(size)
    place = count = 0
    while len(listing) - place >= _ENTRY_BYTES and listing.startswith(_ENTRY, place):
        count += 1
        if count > most:
            raise _too_many(most, f"more than {most}")
        place += _ENTRY_BYTES + sum(_LENGTHS.unpack_from(listing, place))


def _too_many(most: int, got: str) -> InputError:
    return InputError("the zip archive holds too many files", expected=f"at most {most}", got=got)


def _directory(file: BinaryIO) -> tuple[int, int, int] | None:
    """Claimed entries, and where the directory begins and how long it is; None without an end record."""
    end = file.seek(0, os.SEEK_END)
    start = max(0, end - _END_BYTES - _COMMENT_BYTES)
    file.seek(start)
    tail = file.read()
    place = len(tail) - _END_BYTES if tail[-_END_BYTES:].startswith(_END) and tail.endswith(b"\0\0") else -1
    place = place if place >= 0 else tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_BYTES:
        return None
    claimed, size = struct.unpack_from("<HI", tail, place + 10)
    before = start + place
    file.seek(max(0, before - _LOCATOR64_BYTES - _END64_BYTES))
    block = file.read(_LOCATOR64_BYTES + _END64_BYTES)
    if block.startswith(_END64) and block[_END64_BYTES:].startswith(_LOCATOR64):
        claimed, size = struct.unpack_from("<QQ", block, 32)
        before -= _LOCATOR64_BYTES + _END64_BYTES
    return int(claimed), before - int(size), int(size)
