"""A style comes back from its file as it went in, and a damaged file is refused in one sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import InputError
from hope.domain.style import FORMAT, PERCENTILES, SequenceStyle, Style

VALUES = tuple(0.2 + 0.1 * n for n in range(len(PERCENTILES)))
ENTRY = SequenceStyle(PERCENTILES, VALUES, (0.25, -1.5), 731.0)

numbers = st.floats(-1e6, 1e6, allow_nan=False)
percentile_values = st.lists(st.floats(0, 1e3), min_size=2, max_size=20, unique=True).map(sorted).map(tuple)


@given(
    percentile_values,
    st.lists(numbers, max_size=9).map(tuple),
    st.floats(1e-3, 1e6),
    st.sets(st.sampled_from(SEQUENCES)),
)
def test_a_style_survives_its_file(
    values: tuple[float, ...], code: tuple[float, ...], unit: float, known: set[MRSequence]
) -> None:
    percentiles = tuple(100 * n / len(values) for n in range(len(values)))
    entry = SequenceStyle(percentiles, values, code, unit)
    style = Style("größer", dict.fromkeys([s for s in SEQUENCES if s in known] or SEQUENCES, entry), "ab12", "of one")
    assert Style.from_json(style.to_json()) == style
    assert Style.from_json(style.to_json().encode()) == style


def written(**changes: Any) -> str:
    facts = json.loads(Style("plain", {MRSequence.T1C: ENTRY}).to_json())
    facts["sequences"]["t1c"] |= changes.pop("entry", {})
    return json.dumps(facts | changes)


def test_what_the_damaged_ones_are_made_of_is_sound() -> None:
    assert Style.from_json(written()).sequences == {MRSequence.T1C: ENTRY}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "damaged"),
        ("[" * 100_000, "damaged"),
        ("[]", FORMAT),
        (written(format="hope-style/2"), "hope-style/2"),
        (written(sequences={}), "names no sequence"),
        (written(sequences={"t1x": {}}), "t1x"),
        (written(sequences={"t1c": 3}), "damaged"),
        (written(name="x" * 501), "name"),
        (written(note="two\nlines"), "note"),
        (written(entry={"values": "high"}), "not a list of numbers"),
        (written(entry={"values": [True] * len(PERCENTILES)}), "not a list of numbers"),
        (written(entry={"values": VALUES[:-1]}), "14 values for 15 percentiles"),
        (written(entry={"values": VALUES[::-1]}), "fall"),
        (written(entry={"values": [1.0] * len(PERCENTILES)}), "all one"),
        (written(entry={"values": [*VALUES[:-1], float("inf")]}), "not a number"),
        (written(entry={"values": [*VALUES[:-1], 10**400]}), "without bounds"),
        (written(entry={"percentiles": PERCENTILES[::-1]}), "do not rise"),
        (written(entry={"percentiles": [*PERCENTILES[:-1], 101.0]}), "do not rise"),
        (written(entry={"code": [0.0] * 5000}), "too long"),
        (written(entry={"unit": 0}), "not above 0"),
        (written(entry={"unit": None}), "unit of t1c"),
    ],
)
def test_a_damaged_style_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Style.from_json(text)
