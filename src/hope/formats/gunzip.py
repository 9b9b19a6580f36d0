"""Reading gzip streams within bounds: the one reader of scans and masks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from zlib_ng import zlib_ng

from hope.formats.budget import current_budget
from hope.formats.nifti_header import truncated

MAGIC = b"\x1f\x8b"
"""The first two bytes of a gzip stream."""

_BLOCK = 256 * 1024
_FREE_MEMBERS = 1000
_MEMBER_BYTES = 1024  # blocked gzip holds up to 64 KiB a member; millions of empty members only cost time


class GunzipReader:
    """A forward reader of gzip members.

    zlib-ng parses their headers, so that a name of a gigabyte costs no loop here. Zeros and other bytes behind the
    last member are ignored.

    Args:
        raw: the compressed file, at the first byte of its first member.
        what: its role, for sentences.
    """

    def __init__(self, raw: BinaryIO, what: str) -> None:
        self._raw, self._what = raw, what
        self._inflate = zlib_ng.decompressobj(wbits=31)
        self._left = b""
        self._members = 1
        self._produced = 0
        self._ended = False
        self._budget = current_budget()

    def tell(self) -> int:
        """How many bytes were read."""
        return self._produced

    def read(self, count: int) -> bytes:
        """At most ``count`` bytes; fewer only at the end of the stream.

        Raises:
            InputError: if the stream is damaged, ends early, is cut into absurdly many members, or gives more bytes
                than the upload may expand to.
        """
        parts: list[bytes] = []
        while count > 0 and not self._ended:
            block = self._step(count)
            count -= len(block)
            self._produced += len(block)
            self._budget.expand(len(block), self._what)
            parts.append(block)
        return b"".join(parts)

    def _step(self, count: int) -> bytes:
        if self._inflate.eof and not self._next_member():
            return b""
        data = self._left or self._raw.read(_BLOCK)
        if not data:
            raise truncated(self._what, "a gzip stream that ends early")
        try:
            block = self._inflate.decompress(data, count)
        except zlib_ng.error as error:  # type: ignore[misc]  # its stub calls the class an instance
            raise truncated(self._what, "a damaged gzip stream") from error
        self._left = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        return block

    def _next_member(self) -> bool:
        """Whether another gzip member follows."""
        self._left += self._raw.read(2) if len(self._left) < 2 else b""
        self._members += 1
        if self._left[:2] != MAGIC:
            self._ended = True
            return False
        if self._members > _FREE_MEMBERS + self._produced // _MEMBER_BYTES:
            raise truncated(self._what, "a gzip stream of very many pieces")
        self._inflate = zlib_ng.decompressobj(wbits=31)
        return True


@contextmanager
def open_scan(path: Path, what: str) -> Iterator[BinaryIO]:
    """Open a scan for reading forward, through the bounded gzip reader where it is compressed, by content."""
    with path.open("rb") as file:
        zipped = file.read(2) == MAGIC
        file.seek(0)
        yield cast("BinaryIO", GunzipReader(file, what)) if zipped else file
