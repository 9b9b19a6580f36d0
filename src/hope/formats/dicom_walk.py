"""Nested DICOM sequences without recursion: gone past, copied, or counted."""

from __future__ import annotations

import struct
from typing import Protocol

from hope.formats.budget import Budget

MAX_DEPTH = 24
"""Deepest nesting of sequences; real files stay below ten, and pydicom fails at some hundred."""

LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OW", b"OV", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""Value representations whose length takes four bytes."""

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_BATCH = 4096
_ITEM_COST = 6  # pydicom makes a table of its own for each


class MalformedError(ValueError):
    """The bytes are no DICOM that can be read."""


class ForwardSource(Protocol):
    """Bytes that are read once, from the first to the last."""

    def read(self, count: int = -1, /) -> bytes:
        """At most ``count`` bytes; fewer only at the end."""
        ...

    def skip(self, count: int) -> None:
        """Leave bytes out."""
        ...

    def tell(self) -> int:
        """Where the next byte lies."""
        ...


def copy_undefined(
    source: ForwardSource, explicit: bool, order: str, copy: bytearray | None, budget: Budget, most: int
) -> bool:
    """Go past the items of a sequence of undefined length, behind its element's head.

    Args:
        source: where the items are read from.
        explicit: elements carry a VR.
        order: ``<`` or ``>``, as `struct` has it.
        copy: takes the bytes; None if they are not wanted.
        budget: counts the elements.
        most: bytes that are copied; of a longer sequence nothing is kept.

    Returns:
        whether the sequence is whole, and all of it copied if that was asked for.

    Raises:
        MalformedError: if something else than items lies there, or the nesting is too deep.
    """
    tag_of, long_of = struct.Struct(f"{order}HH").unpack_from, struct.Struct(f"{order}I").unpack_from
    short_of = struct.Struct(f"{order}H").unpack_from
    depth, in_item, looked, fits = 1, False, 0, True
    while True:
        head = source.read(8)
        if len(head) < 8:
            budget.look_at(looked)
            return False
        looked += 1
        if looked == _BATCH:
            budget.look_at(looked)
            looked = 0
        group, element = tag_of(head)
        tag = group << 16 | element
        if in_item and tag != _ITEM_END:
            vr = head[4:6]
            if explicit and vr in LONG_VRS:
                head += source.read(4)
                length = long_of(head, 8)[0] if len(head) == 12 else 0
            else:
                length = short_of(head, 6)[0] if explicit and b"AA" <= vr <= b"ZZ" else long_of(head, 4)[0]
            if length == _UNDEFINED:
                depth, in_item = depth + 1, False
                _check_depth(depth)
                length = 0
        elif in_item:
            in_item, length = False, 0
        elif tag == _ITEM:
            (length,) = long_of(head, 4)
            in_item = length == _UNDEFINED
            length = 0 if in_item else length
        elif tag == _SEQUENCE_END:
            # A sequence that ends lies in an item of undefined length, or is the one that was asked for.
            depth, in_item, length = depth - 1, True, 0
        else:
            raise MalformedError("a sequence without items")
        fits = fits and (copy is None or len(copy) + length <= most)
        if copy is None or not fits:
            source.skip(length)
        else:
            copy += head
            copy += source.read(length)
        if depth == 0:
            budget.look_at(looked)
            return fits


def count_parsed(raw: bytes, explicit: bool, order: str, budget: Budget) -> None:
    """Count what pydicom will make of the items of a sequence, nested ones included.

    Raises:
        MalformedError: if the nesting is too deep.
        InputError: if the upload holds more than it may.
    """
    tag_of, long_of = struct.Struct(f"{order}HH").unpack_from, struct.Struct(f"{order}I").unpack_from
    short_of = struct.Struct(f"{order}H").unpack_from
    item = struct.pack(f"{order}HH", 0xFFFE, 0xE000)
    ends: list[int] = []  # of the sequences of defined length that the place lies in, and -1 for the others
    place = count = 0
    while len(raw) - place >= 8:
        while ends and 0 <= ends[-1] <= place:
            ends.pop()
        if count >= _BATCH:
            budget.parse(count)
            count = 0
        group, element = tag_of(raw, place)
        tag = group << 16 | element
        if group == 0xFFFE:
            count += _ITEM_COST
            place += 8  # an item is gone into, whatever its length
            if tag == _SEQUENCE_END and ends and ends[-1] == -1:
                ends.pop()
            continue
        count += 1
        vr = raw[place + 4 : place + 6]
        if explicit and vr in LONG_VRS:
            if len(raw) - place < 12:
                break
            (length,), value = long_of(raw, place + 8), place + 12
        elif explicit and b"AA" <= vr <= b"ZZ":
            (length,), value = short_of(raw, place + 6), place + 8
        else:
            (length,), value = long_of(raw, place + 4), place + 8
        if length == _UNDEFINED or (length >= 8 and raw.startswith(item, value)):
            ends.append(-1 if length == _UNDEFINED else value + length)
            _check_depth(len(ends) + 1)
            place = value
        else:
            place = value + length
    budget.parse(count)


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise MalformedError("sequences that are nested too deep")
