"""JSON that is taken, and JSON that is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hope.web import strict_json

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**16), 10**16)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)

REFUSED: dict[str, tuple[bytes, str]] = {
    "nan": (b"[NaN]", "NaN"),
    "infinity": (b"[-Infinity]", "Infinity"),
    "number too large": (b"[1e999]", "too large"),
    "many digits": (b"[" + b"9" * 6000 + b"]", "digits"),
    "minus and many digits": (b"[-" + b"9" * 18 + b"]", "digits"),
    "deep lists": (b"[" * 30_000 + b"]" * 30_000, "deep"),
    "deep objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "deep"),
    "33 deep": (b"[" * 34 + b"]" * 34, "deep"),
    "a key twice": (b'{"a": 1, "a": 1}', "twice"),
    "a key twice, escaped": (b'{"a": 1, "\\u0061": 1}', "twice"),
    "a key twice inside": (b'[{"b": {"a": 1, "a": 2}}]', "twice"),
    "half a pair": (b'["\\ud800"]', "surrogate"),
    "the other half": (b'{"a": ["x\\udfffx"]}', "surrogate"),
    "half a pair as key": (b'{"\\ud800": 1}', "surrogate"),
    "half a pair in UTF-8": (b'["\xed\xa0\x80"]', "UTF-8"),
    "latin-1": (b'["\xfc"]', "UTF-8"),
    "byte order mark": (b"\xef\xbb\xbf{}", "parsed"),
    "UTF-16": ("{}".encode("utf-16"), "UTF-8"),
    "something after": (b"{} {}", "parsed"),
    "control character": (b'["\n"]', "parsed"),
    "nothing": (b" ", "parsed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_why(name: str) -> None:
    raw, reason = REFUSED[name]
    with pytest.raises(ValueError, match=reason) as refusal:
        strict_json.loads(raw)
    assert len(str(refusal.value)) < 80


@given(VALUES, st.booleans())
def test_every_other_value_is_taken_as_it_is(value: Any, ascii_only: bool) -> None:
    assert strict_json.loads(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


def test_the_deepest_that_is_taken() -> None:
    assert strict_json.loads(b"[" * 32 + b"]" * 32) is not None
    assert strict_json.loads(b'"\\ud83e\\udde0"') == "\N{BRAIN}"


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_value_error(raw: bytes) -> None:
    try:
        value = strict_json.loads(raw)
    except ValueError:
        return
    assert strict_json.loads(json.dumps(value).encode()) == value
