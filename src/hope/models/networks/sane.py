"""Whether the arguments of a network are such that building it costs no more than a network may."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hope.domain.errors import BundleError

MAX_BLOCKS = 64
"""Most blocks of one stage; the largest published networks have 8."""

MAX_ALL_BLOCKS = 512
"""Most blocks of all stages together."""

_LARGEST = 4096  # of any whole number: the widest published layers have 2048 channels
_LARGEST_OF = {"window": 12}  # a table grows with its sixth power
_COUNTS = ("block", "conv_per", "depth", "stages", "levels")
_VALUES = 2000
_DEEPEST = 4
_TEXT = 200


def check_arguments(architecture: str, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that no network needs, before anything is built from them.

    Raises:
        BundleError: naming the first one.
    """
    left = [_VALUES]
    blocks = 0
    for name, value in arguments.items():
        counts = any(word in name for word in _COUNTS) and not name.endswith(("bias", "op", "channels"))
        most = MAX_BLOCKS if counts else _LARGEST_OF.get(name, _LARGEST)
        total = _checked(architecture, str(name)[:60], value, most, left, 0)
        blocks += total if counts else 0
    if blocks > MAX_ALL_BLOCKS:
        raise BundleError(f"the network {architecture} has {blocks} blocks (expected at most {MAX_ALL_BLOCKS})")


def _checked(architecture: str, name: str, value: Any, most: int, left: list[int], depth: int) -> int:
    """The sum of the whole numbers in a value."""
    wrong = BundleError(f"the network {architecture} has an unusable {name} (expected numbers of at most {most})")
    left[0] -= 1
    if left[0] < 0 or depth > _DEEPEST:
        raise wrong
    if isinstance(value, bool) or value is None or (isinstance(value, str) and len(value) <= _TEXT):
        return 0
    if isinstance(value, int) and abs(value) <= most:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return 0
    if isinstance(value, Mapping):
        return sum(_checked(architecture, name, entry, most, left, depth + 1) for entry in value.values())
    if isinstance(value, list | tuple):
        return sum(_checked(architecture, name, entry, most, left, depth + 1) for entry in value)
    raise wrong
