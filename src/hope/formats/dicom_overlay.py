"""Overlays of DICOM images: drawings and texts in planes of their own, or in bits of the pixel words. None is kept."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from hope.formats.dicom_walk import ForwardSource

_DATA, _BITS_ALLOCATED = 0x3000, 0x0100


class Overlay(IntEnum):
    """Where an image carries an overlay."""

    NONE = 0
    APART = 1
    """In an element of its own (60xx,3000)."""
    IN_PIXELS = 2
    """In bits of the pixel words that the image does not use, as old files have it."""


def is_overlay(tag: int) -> bool:
    """Whether an element belongs to an overlay: its group is 6000, 6002 and so on to 60FE."""
    return tag >> 24 == 0x60 and not tag >> 16 & 1


def overlay_of(tag: int, length: int, order: str, source: ForwardSource) -> tuple[Overlay, int]:
    """What one element of an overlay group says of where the overlay lies.

    Args:
        tag: of the element.
        length: of its value.
        order: ``<`` or ``>``, as `struct` has it.
        source: at the first byte of the value.

    Returns:
        where the overlay lies, as far as this element says it, and how many bytes of the value were read.
    """
    element = tag & 0xFFFF
    if element == _DATA:
        return Overlay.APART, 0
    if element != _BITS_ALLOCATED or length != 2:
        return Overlay.NONE, 0
    bits = int.from_bytes(source.read(2), "little" if order == "<" else "big")
    # A plane of its own has one bit a pixel; any other number is that of the pixel words which hold it.
    return Overlay.IN_PIXELS if bits > 1 else Overlay.NONE, 2


def without_overlay(pixels: bytes, allocated: int, stored: int, high_bit: int, *, signed: bool, little: bool) -> bytes:
    """Set the bits of pixel words that belong to no pixel value to 0, or to its sign.

    Args:
        pixels: uncompressed words.
        allocated: bits of a word: 8, 16 or 32.
        stored: bits of a value, fewer than ``allocated``.
        high_bit: number of a value's highest bit.
        signed: values are in two's complement.
        little: byte order of the words.

    Raises:
        ValueError: if the bits do not fit into the words.
    """
    low = high_bit + 1 - stored
    if not 0 < stored < allocated or low < 0 or high_bit >= allocated:
        raise ValueError("bits of pixels that do not fit into their words")
    words = np.frombuffer(pixels, f"{'<' if little else '>'}u{allocated // 8}")
    every, kept = 2**allocated - 1, (2**stored - 1) << low
    values = words & words.dtype.type(kept)
    if signed:
        above = every & ~(2 ** (high_bit + 1) - 1)
        negative = (words >> words.dtype.type(high_bit)) & words.dtype.type(1)
        values |= negative * words.dtype.type(above)
    whole: bytes = values.astype(words.dtype).tobytes()
    return whole


def overlay_note(overlays: Sequence[Overlay]) -> str:
    """What the user should know of the overlays of a series' images, empty if there are none."""
    count = sum(overlay is not Overlay.NONE for overlay in overlays)
    if not count:
        return ""
    return f"the overlay (drawings or text) on {count} of {len(overlays)} images was left out"
