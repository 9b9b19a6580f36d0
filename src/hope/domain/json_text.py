"""JSON that a person may have written: a key twice in one object is an error, where `json` takes the last value."""

from __future__ import annotations

import json
from typing import Any, Final

from hope.domain.errors import InputError

_SHOWN: Final = 40


class RepeatedKeyError(ValueError):
    """A key stands twice in one object; the message names it."""

    def input_error(self, what: str) -> InputError:
        """The error to raise for a file of a user.

        Args:
            what: what is wrong, such as ``the style file is damaged``.
        """
        return InputError(what, expected="each key once in an object", got=str(self), fix="delete one of the two")


def loads(text: str | bytes) -> Any:
    """The value that a JSON text holds, as `json.loads`.

    Raises:
        RepeatedKeyError: if a key stands twice in one object.
        ValueError: if the text is not JSON.
        RecursionError: if it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_without_repeats)


def refuse_repeated_keys(text: str | bytes) -> None:
    """Check a text that another parser reads, which says itself what else is wrong with it.

    Raises:
        RepeatedKeyError: if a key stands twice in one object.
    """
    try:
        loads(text)
    except RepeatedKeyError:
        raise
    except (ValueError, RecursionError):
        return


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, entry in pairs:
        if key in value:
            raise RepeatedKeyError(f'the key "{key[:_SHOWN]}" twice in one object')
        value[key] = entry
    return value
