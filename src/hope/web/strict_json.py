"""JSON from strangers: what RFC 8259 and I-JSON (RFC 7493) allow, and nothing that other readers see differently."""

from __future__ import annotations

import json
import math
from typing import Any, Final

DEEPEST: Final = 32
MOST_DIGITS: Final = 17
"""Of a whole number: those that a double holds exactly have no more."""


def loads(raw: bytes) -> Any:
    """The value that the bytes hold.

    Args:
        raw: UTF-8 without a byte order mark; the caller limits its length.

    Raises:
        ValueError: with the reason, if it is not JSON, has a number that is not finite or has too many digits, a key
            twice in one object, half of a surrogate pair, or is nested too deeply.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_short,
            object_pairs_hook=_without_doubles,
        )
    except json.JSONDecodeError:
        raise ValueError("it cannot be parsed") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _check(value)
    return value


_TOO_DEEP: Final = f"it is nested more than {DEEPEST} deep"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _short(text: str) -> int:
    if len(text.lstrip("-")) > MOST_DIGITS:
        raise ValueError(f"a whole number has more than {MOST_DIGITS} digits")
    return int(text)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has a key twice")
    return value


def _check(value: Any) -> None:
    """Depth and text of a parsed value."""
    level, depth = [value], 0
    while level:
        if depth > DEEPEST:
            raise ValueError(_TOO_DEEP)
        below: list[Any] = []
        for entry in level:
            if isinstance(entry, dict):
                below += [*entry.keys(), *entry.values()]
            elif isinstance(entry, list):
                below += entry
            elif isinstance(entry, str) and any("\ud800" <= letter <= "\udfff" for letter in entry):
                raise ValueError("a text has half of a surrogate pair")
        level, depth = below, depth + 1
