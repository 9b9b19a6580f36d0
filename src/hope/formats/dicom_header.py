"""The header of a DICOM file within bounds.

A walker without recursion goes over the elements up to the pixels and copies those that are wanted; only these few are
given to pydicom. What a file costs is bounded by the elements that are looked at and parsed (`hope.formats.budget`), by
the depth of its sequences, and by the bytes of one value, whatever lies in the rest of its header.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian
from pydicom.values import converters

from hope.formats.budget import Budget, current_budget
from hope.formats.dicom_overlay import Overlay, is_overlay, overlay_of
from hope.formats.dicom_walk import LONG_VRS, ForwardSource, MalformedError, copy_undefined, count_parsed

MAX_VALUE_BYTES = 4096
"""Longest value of a wanted element that is no sequence; a longer one counts as not given."""

MAX_SEQUENCE_BYTES = 64 * 2**20
"""Longest wanted sequence: the functional groups of thousands of frames take a tenth of this."""

_MAX_META_BYTES = 2**16
_PIXELS = (0x7FE00010, 0x7FE00009, 0x7FE00008)
_CHARACTER_SET = 0x00080005
_SYNTAX = 0x00020010
_ITEM_END = 0xFFFEE00D
_UNDEFINED = 0xFFFFFFFF
_BATCH = 4096
_EXPLICIT_META = b"\x02\x00\x00\x00UL\x04\x00\x1c\x00\x00\x00\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00"


@dataclass(frozen=True)
class DicomHeader:
    """What was read of one file.

    Attributes:
        dataset: the wanted elements.
        syntax: TransferSyntaxUID, empty if the file does not say.
        implicit: elements carry no VR.
        little: little endian.
        pixels: where the element of the pixels begins in the file; None where it has none before its end, or where the
            file is deflated.
        sequences: hash of the wanted sequences as they stand in the file.
        overlay: where the file carries an overlay.
    """

    dataset: Dataset
    syntax: str
    implicit: bool
    little: bool
    pixels: int | None
    sequences: str
    overlay: Overlay = Overlay.NONE

    @property
    def deflated(self) -> bool:
        """Whether all of the file but its beginning is compressed."""
        return self.syntax == DeflatedExplicitVRLittleEndian


def read_header(file: BinaryIO, wanted: Collection[int]) -> DicomHeader:
    """Read the wanted elements of a DICOM file up to its pixels.

    Args:
        file: at its first byte, seekable.
        wanted: tags.

    Raises:
        MalformedError: if the bytes are no DICOM, are nested absurdly deep, or are damaged.
        InputError: if the upload holds or becomes more than it may.
    """
    budget = current_budget()
    syntax = _read_meta(file)
    deflated = syntax == DeflatedExplicitVRLittleEndian
    source: ForwardSource = _Inflated(file, budget) if deflated else _Plain(file)
    implicit, little, start = _encoding(syntax, source)
    walk = _Walk(source, implicit, little, frozenset(wanted) | {_CHARACTER_SET}, budget)
    walk.run(start)
    budget.parse(walk.parsed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values, which may be a person's
        dataset = read_dataset(io.BytesIO(bytes(walk.kept)), implicit, little)
    pixels, sequences = None if deflated else walk.pixels, walk.sequences.hexdigest()
    return DicomHeader(dataset, syntax, implicit, little, pixels, sequences, walk.overlay)


def inflate_to(path: Path, target: Path) -> None:
    """Write a deflated DICOM file as one that is not, block by block.

    Raises:
        MalformedError: if it is damaged.
        InputError: if it becomes more than the upload may.
    """
    with path.open("rb") as file, target.open("wb") as out:
        _read_meta(file)
        source = _Inflated(file, current_budget())
        out.write(bytes(128) + b"DICM" + _EXPLICIT_META)
        while block := source.read(2**20):
            out.write(block)


class _Plain:
    """Bytes of the file as they lie there."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self._file = file.read, file

    def skip(self, count: int) -> None:
        self._file.seek(count, 1)

    def tell(self) -> int:
        return self._file.tell()


class _Inflated:
    """Bytes of a deflated data set, of which no more than a block is in memory."""

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        self._file, self._budget = file, budget
        self._inflate = zlib.decompressobj(wbits=-15)
        self._left, self._place = b"", 0

    def read(self, count: int = -1) -> bytes:
        parts: list[bytes] = []
        while count > 0 and not self._inflate.eof:
            data = self._left or self._file.read(2**16)
            try:
                block = self._inflate.decompress(data, count) if data else self._inflate.flush()
            except zlib.error as error:
                raise MalformedError("damaged deflated data") from error
            self._left = self._inflate.unconsumed_tail
            self._budget.expand(len(block), "a deflated DICOM file")
            parts.append(block)
            count -= len(block)
            if not data:
                break
        whole = b"".join(parts)
        self._place += len(whole)
        return whole

    def skip(self, count: int) -> None:
        while count > 0 and (block := self.read(min(count, 2**20))):
            count -= len(block)

    def tell(self) -> int:
        return self._place


def _read_meta(file: BinaryIO) -> str:
    """The transfer syntax; leaves the file at the first byte of the data set."""
    head = file.read(132)
    start = 132 if head[128:] == b"DICM" else 0
    file.seek(start)
    block = file.read(_MAX_META_BYTES)
    place, syntax = 0, ""
    while len(block) - place >= 8 and block.startswith(b"\x02\x00", place):
        element, vr, short = struct.unpack_from("<H2sH", block, place + 2)
        if vr in LONG_VRS and len(block) - place >= 12:
            length, value = struct.unpack_from("<I", block, place + 8)[0], place + 12
        elif b"AA" <= vr <= b"ZZ":
            length, value = short, place + 8
        else:
            length, value = struct.unpack_from("<I", block, place + 4)[0], place + 8
        place = value + length
        if place > len(block):
            raise MalformedError("file meta information without an end")
        if 0x00020000 | element == _SYNTAX:
            syntax = block[value:place].rstrip(b"\0 ").decode("ascii", "replace")
    file.seek(start + place)
    return syntax


def _encoding(syntax: str, source: ForwardSource) -> tuple[bool, bool, bytes]:
    """Implicit, little endian, and the first eight bytes, by pydicom's rules for files that state it wrongly."""
    start = source.read(8)
    if len(start) < 8:
        return True, True, start
    if not syntax:
        explicit = start[4:6].decode("latin-1") in converters
        return not explicit, not (explicit and int.from_bytes(start[:2], "little") >= 1024), start
    # The VR of the first element decides, whatever the syntax says of it.
    letters = all(0x40 < letter < 0x5B for letter in start[4:6])
    return not letters, syntax != ExplicitVRBigEndian, start


class _Walk:
    """Goes over the elements of a data set.

    Attributes:
        kept: the wanted elements, as they lie in the file.
        parsed: how many they are; what their sequences hold is counted as it is copied.
        pixels: where the pixels begin.
        sequences: hash of the values of those wanted elements that are sequences.
        overlay: where the file carries an overlay.
    """

    def __init__(
        self, source: ForwardSource, implicit: bool, little: bool, wanted: Collection[int], budget: Budget
    ) -> None:
        self._source, self._implicit, self._wanted, self._budget = source, implicit, wanted, budget
        self._order = "<" if little else ">"
        self.kept = bytearray()
        self.parsed = 0
        self.pixels: int | None = None
        self.sequences = hashlib.sha256()
        self.overlay = Overlay.NONE

    def run(self, start: bytes) -> None:
        """Walk to the pixels, or to the end.

        Args:
            start: the first eight bytes, which were read already.
        """
        read, explicit = self._source.read, not self._implicit
        tag_of, long_of = struct.Struct(f"{self._order}HH").unpack_from, struct.Struct(f"{self._order}I").unpack_from
        short_of = struct.Struct(f"{self._order}H").unpack_from
        head, looked = start, 0
        while len(head) >= 8:
            looked += 1
            if looked == _BATCH:
                self._budget.look_at(looked)
                looked = 0
            group, element = tag_of(head)
            tag = group << 16 | element
            vr = head[4:6]
            if explicit and vr in LONG_VRS:
                head += read(4)
                if len(head) < 12:
                    break
                (length,) = long_of(head, 8)
            elif explicit and b"AA" <= vr <= b"ZZ":
                (length,) = short_of(head, 6)
            else:
                (length,) = long_of(head, 4)
            if tag in _PIXELS:
                self.pixels = self._source.tell() - len(head)
                break
            if tag == _ITEM_END:
                break
            self._take(tag, head, length)
            head = read(8)
        self._budget.look_at(looked)

    def _take(self, tag: int, head: bytes, length: int) -> None:
        """Copy a wanted value, and go past any other."""
        wanted, explicit, order = tag in self._wanted, not self._implicit, self._order
        if is_overlay(tag):
            overlay, read = overlay_of(tag, length, order, self._source)
            self.overlay, length = max(self.overlay, overlay), length - read
        if length == _UNDEFINED:
            copied = bytearray() if wanted else None
            whole = copy_undefined(self._source, explicit, order, copied, self._budget, MAX_SEQUENCE_BYTES)
            if whole and copied is not None:
                count_parsed(bytes(copied), explicit, order, self._budget)
                self.kept += head + copied
                self.sequences.update(copied)
            return
        sequence = head[4:6] in (b"SQ", b"UN") if explicit else length > MAX_VALUE_BYTES
        if not wanted or length > (MAX_SEQUENCE_BYTES if sequence else MAX_VALUE_BYTES):
            self._source.skip(length)
            return
        value = self._source.read(length)
        self.parsed += 1
        if value.startswith(struct.pack(f"{order}HH", 0xFFFE, 0xE000)):
            self.sequences.update(value)
            count_parsed(value, explicit and head[4:6] != b"UN", order, self._budget)
        self.kept += head + value
