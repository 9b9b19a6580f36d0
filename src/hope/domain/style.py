"""A style: what the intensities of a case look like, apart from what they show. A small file without voxels."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hope.domain import json_text
from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import InputError

FORMAT = "hope-style/1"

PERCENTILES: tuple[float, ...] = (0.5, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 98.0, 99.5)
"""The landmarks: deciles as Nyul's, closer at the ends, without the outermost values, which are noise."""

_LONGEST_CODE = 4096
_LONGEST_TEXT = 500


@dataclass(frozen=True)
class SequenceStyle:
    """How one sequence is distributed over the healthy brain.

    Attributes:
        percentiles: ascending, 0 to 100.
        values: the intensity at each of them, on the image's own scale divided by the median (so that 1 is the median);
            never falling.
        code: what the style encoder of a network made of the image; empty where none looked at it.
        unit: what 1 of the values was on the scale of the case that it was learnt from; a harmonized image's healthy
            brain has about this median, so that it can be compared with the target number by number.

    Raises:
        InputError: if the percentiles are not ascending, the values fall or are not numbers, or their counts differ.
    """

    percentiles: tuple[float, ...]
    values: tuple[float, ...]
    code: tuple[float, ...] = ()
    unit: float = 1.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(x) for x in (*self.percentiles, *self.values, *self.code, self.unit)):
            raise InputError("the style holds something that is not a number")
        if self.unit <= 0:
            raise InputError("the style's unit is not above 0", got=f"{self.unit:g}")
        if len(self.percentiles) < 2 or len(self.percentiles) != len(self.values):
            raise InputError(
                "the style's percentiles do not fit",
                expected="as many values as percentiles, two or more",
                got=f"{len(self.values)} values for {len(self.percentiles)} percentiles",
            )
        if not _ascends(self.percentiles) or self.percentiles[0] < 0 or self.percentiles[-1] > 100:
            raise InputError("the style's percentiles do not rise from 0 to 100")
        if any(b < a for a, b in pairwise(self.values)) or self.values[-1] <= self.values[0]:
            raise InputError("the style's values fall or are all one", expected="values that rise with the percentiles")
        if len(self.code) > _LONGEST_CODE:
            raise InputError(
                "the style's code is too long", expected=f"{_LONGEST_CODE} at most", got=str(len(self.code))
            )


@dataclass(frozen=True)
class Style:
    """One intensity style: what a harmonizer brings a case to.

    Attributes:
        name: a name that carries no identity.
        sequences: the sequences that the style knows.
        network_sha256: the bundle whose style encoder made the codes; empty where there are none.
        note: what it was learnt from, in words.
    """

    name: str
    sequences: Mapping[MRSequence, SequenceStyle]
    network_sha256: str = ""
    note: str = ""

    def to_json(self) -> str:
        """The file's text; `from_json` gives an equal style back."""
        facts = {
            "format": FORMAT,
            "name": self.name,
            "note": self.note,
            "network_sha256": self.network_sha256,
            "sequences": {
                str(s): {
                    "percentiles": list(self.sequences[s].percentiles),
                    "values": list(self.sequences[s].values),
                    "unit": self.sequences[s].unit,
                    **({"code": list(self.sequences[s].code)} if self.sequences[s].code else {}),
                }
                for s in SEQUENCES
                if s in self.sequences
            },
        }
        return json.dumps(facts, allow_nan=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Style:
        """Read a style back.

        Raises:
            InputError: if the text is damaged or is no style of this version.
        """
        try:
            facts = json_text.loads(text)
        except json_text.RepeatedKeyError as error:
            raise error.input_error("the style file is damaged") from error
        except (ValueError, RecursionError) as error:
            raise InputError("the style file is damaged", expected="JSON text", fix="learn the style again") from error
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            got = str(facts.get("format", "none"))[:40] if isinstance(facts, dict) else "another kind of file"
            raise InputError("the file is no style of this version", expected=f"format {FORMAT}", got=got)
        entries = facts.get("sequences")
        if not isinstance(entries, dict) or not entries:
            raise InputError("the style names no sequence", expected="one of " + ", ".join(SEQUENCES))
        unknown = sorted(set(entries) - set(SEQUENCES))
        if unknown:
            raise InputError("the style names an unknown sequence", expected=", ".join(SEQUENCES), got=unknown[0][:40])
        return cls(
            name=_text(facts, "name"),
            sequences={s: _sequence(entries[s], s) for s in SEQUENCES if s in entries},
            network_sha256=_text(facts, "network_sha256"),
            note=_text(facts, "note"),
        )


def _sequence(entry: Any, sequence: MRSequence) -> SequenceStyle:
    if not isinstance(entry, dict):
        raise InputError(f"the style's entry of {sequence} is damaged")
    return SequenceStyle(
        percentiles=_numbers(entry.get("percentiles"), f"percentiles of {sequence}"),
        values=_numbers(entry.get("values"), f"values of {sequence}"),
        code=_numbers(entry.get("code", []), f"code of {sequence}"),
        unit=_numbers([entry.get("unit", 1.0)], f"unit of {sequence}")[0],
    )


def _numbers(given: Any, what: str) -> tuple[float, ...]:
    if not isinstance(given, list) or not all(isinstance(x, int | float) and not isinstance(x, bool) for x in given):
        raise InputError(f"the style's {what} are not a list of numbers")
    try:
        return tuple(float(x) for x in given)
    except OverflowError as error:
        raise InputError(f"the style's {what} hold a number without bounds") from error


def _text(facts: Mapping[str, Any], key: str) -> str:
    text = facts.get(key, "")
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT or not text.isprintable():
        raise InputError(f"the style's {key} is not a short text")
    return text


def _ascends(values: Sequence[float]) -> bool:
    return all(b > a for a, b in pairwise(values))
