"""How a model's probabilities become the interval beside a volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class IntervalRule:
    """Thresholds of one model, chosen on cases whose volumes are known.

    Attributes:
        thresholds: per label key and region the probability from which a voxel is sure (it counts for the low end) and
            from which it is possible (it counts for the high end).
        aim: share of the cases that was to lie inside.
        cases: how many cases they were chosen on.
        kind: what those cases were, in words.
    """

    thresholds: Mapping[str, tuple[float, float]]
    aim: float
    cases: int
    kind: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        pairs = {key: list(pair) for key, pair in self.thresholds.items()}
        return {"thresholds": pairs, "aim": self.aim, "cases": self.cases, "kind": self.kind}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> IntervalRule:
        """Back from ``to_json``.

        Raises:
            ValueError: if a threshold is no probability, or a sure voxel would not be possible.
            AttributeError, KeyError, TypeError: if something is missing or of another kind.
        """
        thresholds: dict[str, tuple[float, float]] = {}
        for key, pair in values["thresholds"].items():
            sure, possible = (float(value) for value in pair)
            if not 0 < possible <= sure < 1:
                raise ValueError(f"the interval thresholds of {key} are not 0 < possible <= sure < 1")
            thresholds[str(key)] = (sure, possible)
        aim, cases = float(values["aim"]), float(values["cases"])
        if not 0 < aim < 1 or not 0 < cases < float("inf"):
            raise ValueError("the interval thresholds come from no cases, or aim at no share of them")
        return cls(thresholds, aim, int(cases), str(values["kind"]))
