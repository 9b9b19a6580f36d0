"""How the interval beside a volume comes about: from a model's probabilities, or from how good its answer should be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SMALL_ML: Final = 1.0
"""Added to both volumes before their ratio is taken: at a millilitre and below, ratios say nothing."""

_LEAST_ERROR: Final = 0.02
"""An expected Dice of 1 would leave no interval at all."""


@dataclass(frozen=True)
class SpreadRule:
    """How far true volumes lay from marked ones, by how good the answer was expected to be.

    With ``d`` the expected Dice of a region, ``m`` the marked and ``t`` the true volume in millilitres, the share
    ``aim`` of the cases of the fit had ``low * (1 - d) <= log((t + 1) / (m + 1)) <= high * (1 - d)``.

    Attributes:
        ends: ``(low, high)`` per region.
        aim: share of the cases that was to lie inside.
        patients: how many they came from.
        kind: what they were, in words.
    """

    ends: Mapping[str, tuple[float, float]]
    aim: float
    patients: int
    kind: str

    def interval(self, region: str, ml: float, expected_dice: float) -> tuple[float, float]:
        """Ends of the interval around a marked volume, both in millilitres.

        Raises:
            KeyError: if nothing was fitted for the region.
        """
        error = max(1 - expected_dice, _LEAST_ERROR)
        low, high = (max(0.0, (ml + SMALL_ML) * math.exp(end * error) - SMALL_ML) for end in self.ends[region])
        return min(low, ml), max(high, ml)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        ends = {region: list(pair) for region, pair in self.ends.items()}
        return {"ends": ends, "aim": self.aim, "patients": self.patients, "kind": self.kind}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SpreadRule:
        """Back from ``to_json``.

        Raises:
            ValueError: if the numbers are not finite or do not lie on both sides of 0.
            AttributeError, KeyError, TypeError: if something is missing or of another kind.
        """
        ends: dict[str, tuple[float, float]] = {}
        for region, pair in values["ends"].items():
            low, high = (float(value) for value in pair)
            if not -50 < low <= 0 <= high < 50:
                raise ValueError(f"the ends of the interval of {region} are not -50 < low <= 0 <= high < 50")
            ends[str(region)] = (low, high)
        aim, patients = float(values["aim"]), float(values["patients"])
        if not ends or not 0 < aim < 1 or not 0 < patients < float("inf"):
            raise ValueError("the ends of the intervals come from no cases, or aim at no share of them")
        return cls(ends, aim, int(patients), str(values["kind"]))


@dataclass(frozen=True)
class IntervalRule:
    """Thresholds of one model, chosen on cases whose volumes are known.

    Attributes:
        thresholds: per label key and region the probability from which a voxel is sure (it counts for the low end) and
            from which it is possible (it counts for the high end).
        aim: share of the cases that was to lie inside.
        cases: how many cases they were chosen on.
        kind: what those cases were, in words.
        spread: for the regions whose quality is expected, in place of their thresholds; None if that was not fitted.
    """

    thresholds: Mapping[str, tuple[float, float]]
    aim: float
    cases: int
    kind: str
    spread: SpreadRule | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        pairs = {key: list(pair) for key, pair in self.thresholds.items()}
        spread = {} if self.spread is None else {"spread": self.spread.to_json()}
        return {"thresholds": pairs, "aim": self.aim, "cases": self.cases, "kind": self.kind, **spread}

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
        given = values.get("spread")
        spread = None if given is None else SpreadRule.from_json(given)
        return cls(thresholds, aim, int(cases), str(values["kind"]), spread)
