"""What a blob's key may look like, and reading with a hash check: the same for every blob store."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

from hope.contract.job import DamagedError

CHUNK = 2**20
"""Bytes that are read at a time."""

# A segment never begins with a dot: so there is no way up, and temporary files are never taken for blobs.
_SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_PREFIX = re.compile(rf"(?:{_SEGMENT}/)+")
_LONGEST = 512


def checked_key(key: str) -> str:
    """The key itself.

    Raises:
        ValueError: if it is not made of plain segments (letters, digits, ``.``, ``_``, ``-``) between single slashes.
    """
    if len(key) > _LONGEST or not _KEY.fullmatch(key):
        raise ValueError("a blob's key is made of letters, digits, '.', '_', '-' and single slashes")
    return key


def checked_prefix(prefix: str) -> str:
    """The prefix itself, whole segments that end in a slash.

    Raises:
        ValueError: for anything else, also for nothing at all, which would be everything.
    """
    if len(prefix) > _LONGEST or not _PREFIX.fullmatch(prefix):
        raise ValueError("a prefix of blobs is made of plain segments and ends in a slash")
    return prefix


def missing(key: str) -> DamagedError:
    """A blob that should be there is not. Only its last part is named: the rest may hold ids."""
    return DamagedError(f"the stored file {key.rpartition('/')[2]} is missing")


def differs(key: str) -> DamagedError:
    """A blob's bytes are not those that were stored."""
    return DamagedError(
        f"the stored file {key.rpartition('/')[2]} is damaged: its bytes are not those that were stored"
    )


def verified(key: str, chunks: Iterable[bytes], sha256: str) -> Iterator[bytes]:
    """Pass chunks on, the last one only when the hash over all of them is right.

    Raises:
        DamagedError: in the last chunk's place if it is not.
    """
    digest, held = hashlib.sha256(), b""
    for chunk in chunks:
        digest.update(chunk)
        if held:
            yield held
        held = chunk
    if digest.hexdigest() != sha256:
        raise differs(key)
    if held:
        yield held
