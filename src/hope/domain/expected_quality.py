"""How good a result is expected to be: the Dice it would probably have against an expert's mask, with an interval.

Nobody has such a mask when a case is segmented. What the probabilities themselves look like (how sure they are, how
large and how scattered the answer is, which sequences were missing) goes along with the true Dice on cases whose mask
is known; a rule of that kind is fitted once for each model and lies in its bundle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from hope.domain.core_apart import CoreApartRule
from hope.domain.qc import QCFlag, Severity

POOR_BELOW: Final[Mapping[str, float]] = {"WT": 0.75, "TC": 0.6, "ET": 0.6}
"""Dice below which a region's outline counts as poor: two experts agree better than that."""

GOOD_CHANCE, POOR_CHANCE = 0.15, 0.5
"""Chance of a poor outline up to which a result is called likely good, and from which it is called likely poor."""

NO_TUMOUR_CODE: Final = "perhaps_no_tumour"

_FARTHEST: Final = 3.0
"""Deviations: a sign that lies farther out than the cases of the fit says no more than one that lies here."""

_LEAST_ML: Final = 0.1

_EDGE: Final = 0.02
"""A Dice of 0 or 1 has no finite logit."""


class Verdict(StrEnum):
    """What a reader is told first."""

    GOOD = "likely good"
    CHECK = "check"
    POOR = "likely poor"


def logit(share: float) -> float:
    """Log odds of a share; 0 and 1 count as 0.02 and 0.98."""
    inner = min(max(share, _EDGE), 1 - _EDGE)
    return math.log(inner / (1 - inner))


def share_of(log_odds: float) -> float:
    """Back from ``logit``."""
    return 1 / (1 + math.exp(-log_odds))


def sign_of_volume(ml: float) -> float:
    """The sign ``ml`` of a volume in millilitres: its decadic logarithm, which a volume of 0 has too."""
    return math.log10(_LEAST_ML + ml)


def volume_of(sign: float) -> float:
    """Back from ``sign_of_volume``, millilitres."""
    return float(10**sign - _LEAST_ML)


@dataclass(frozen=True)
class RegionQuality:
    """What is expected of one region.

    Attributes:
        dice: expected Dice against an expert's mask, 0 to 1.
        low, high: nine of ten cases of the fit lay between such ends.
        poor_chance: chance that the Dice is below ``POOR_BELOW``.
    """

    dice: float
    low: float
    high: float
    poor_chance: float

    @property
    def verdict(self) -> Verdict:
        """In words."""
        if self.poor_chance >= POOR_CHANCE:
            return Verdict.POOR
        return Verdict.GOOD if self.poor_chance <= GOOD_CHANCE else Verdict.CHECK

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        figures = {"dice": self.dice, "low": self.low, "high": self.high, "poor_chance": self.poor_chance}
        return {**figures, "verdict": str(self.verdict)}


@dataclass(frozen=True)
class ExpectedQuality:
    """What is expected of a result.

    Attributes:
        regions: per region that was marked at all.
        fitted_on: the cases of the fit, in words.
    """

    regions: Mapping[str, RegionQuality]
    fitted_on: str

    @property
    def verdict(self) -> Verdict:
        """The whole tumour's; a part that is likely poor makes "check" of "likely good". Nothing marked is to check."""
        whole = self.regions.get("WT")
        if whole is None:
            return Verdict.CHECK
        poor_part = any(one.verdict is Verdict.POOR for one in self.regions.values())
        return Verdict.CHECK if whole.verdict is Verdict.GOOD and poor_part else whole.verdict

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        regions = {name: one.to_json() for name, one in self.regions.items()}
        return {"verdict": str(self.verdict), "regions": regions, "fitted_on": self.fitted_on}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ExpectedQuality:
        """Back from ``to_json``.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: if something is missing or of another kind.
        """
        figures = ("dice", "low", "high", "poor_chance")
        regions = {
            str(name): RegionQuality(*(float(one[figure]) for figure in figures))
            for name, one in values["regions"].items()
        }
        return cls(regions, str(values["fitted_on"]))


@dataclass(frozen=True)
class RegionRule:
    """A linear rule for the logit of one region's Dice.

    Attributes:
        names: of the signs that it looks at.
        mean, deviation: of each sign over the cases of the fit.
        weight: of each sign in units of its deviation.
        intercept: the logit of an ordinary case.
        residuals: true minus expected logit of cases that the fit did not see, from low to high.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    weight: tuple[float, ...]
    intercept: float
    residuals: tuple[float, ...]

    def expect(self, signs: Mapping[str, float], poor_below: float) -> RegionQuality:
        """Expected Dice of a case with these signs.

        Raises:
            KeyError: if a sign is missing.
        """
        middle = self.intercept
        for name, mean, deviation, weight in zip(self.names, self.mean, self.deviation, self.weight, strict=True):
            middle += weight * min(max((signs[name] - mean) / deviation, -_FARTHEST), _FARTHEST)
        possible = [share_of(middle + residual) for residual in self.residuals]
        poor = sum(dice < poor_below for dice in possible) / len(possible)
        dice, low, high = (round(_at(possible, share), 3) for share in (0.5, 0.05, 0.95))
        return RegionQuality(dice, low, high, round(poor, 3))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "names": list(self.names),
            "mean": list(self.mean),
            "deviation": list(self.deviation),
            "weight": list(self.weight),
            "intercept": self.intercept,
            "residuals": list(self.residuals),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RegionRule:
        """Back from ``to_json``.

        Raises:
            ValueError: if the numbers do not fit together or are not finite.
            KeyError, TypeError: if something is missing or of another kind.
        """
        names = tuple(str(name) for name in values["names"])
        lists = {
            key: tuple(float(value) for value in values[key]) for key in ("mean", "deviation", "weight", "residuals")
        }
        intercept = float(values["intercept"])
        sizes = {len(lists[key]) for key in ("mean", "deviation", "weight")}
        numbers = [intercept, *(value for part in lists.values() for value in part)]
        if sizes != {len(names)} or not lists["residuals"] or not all(map(math.isfinite, numbers)):
            raise ValueError("the rule of expected quality does not fit together")
        if min(lists["deviation"], default=1.0) <= 0 or list(lists["residuals"]) != sorted(lists["residuals"]):
            raise ValueError("the rule of expected quality describes no spread")
        return cls(names, intercept=intercept, **lists)


@dataclass(frozen=True)
class NoTumourRule:
    """Answers to brains without a tumour had an expected Dice of WT as low as this.

    Attributes:
        below: expected Dice of WT, 0 to 1, that nine of ten answers to brains without a tumour stayed below in the fit.
        patients: of the fit with an answer below it.
        without_tumour: how many of these had no tumour.
    """

    below: float
    patients: int
    without_tumour: int

    def flag(self, expected: ExpectedQuality) -> QCFlag | None:
        """The warning that there may be no tumour at all; None where nothing was marked or the figure is higher."""
        whole = expected.regions.get("WT")
        if whole is None or whole.dice >= self.below:
            return None
        return QCFlag(
            NO_TUMOUR_CODE,
            Severity.WARNING,
            f"there may be no tumour at all: the expected Dice of the whole tumour is {whole.dice:.2f}; of "
            f"{self.patients} patients whose outlines were expected to be below {self.below:.2f}, "
            f"{self.without_tumour} had none",
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"below": self.below, "patients": self.patients, "without_tumour": self.without_tumour}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> NoTumourRule:
        """Back from ``to_json``.

        Raises:
            ValueError: if it is no share, or the counts contradict each other.
            KeyError, TypeError: if something is missing or of another kind.
        """
        rule = cls(float(values["below"]), int(values["patients"]), int(values["without_tumour"]))
        if not 0 < rule.below < 1 or not 0 < rule.without_tumour <= rule.patients:
            raise ValueError("the rule for brains without a tumour does not fit together")
        return rule


@dataclass(frozen=True)
class QualityRule:
    """The rules of one model.

    Attributes:
        regions: per region.
        fitted_on: the cases of the fit, in words.
        no_tumour: when there may be no tumour at all; None where the fit had no brain without one.
        core_apart: what was seen of cores apart from enhancement; None where the fit saw no poor one.
    """

    regions: Mapping[str, RegionRule]
    fitted_on: str
    no_tumour: NoTumourRule | None = None
    core_apart: CoreApartRule | None = None

    def expect(self, signs: Mapping[str, Mapping[str, float]]) -> ExpectedQuality:
        """What to expect of a case.

        Args:
            signs: per region that was marked; a region without signs gets no figure.
        """
        found = {
            region: rule.expect(signs[region], POOR_BELOW[region])
            for region, rule in self.regions.items()
            if region in signs
        }
        return ExpectedQuality(found, self.fitted_on)

    def flags(self, signs: Mapping[str, Mapping[str, float]], expected: ExpectedQuality) -> tuple[QCFlag, ...]:
        """What a reader is told beside the figures.

        Args:
            signs: per region that was marked.
            expected: of ``expect``.
        """
        found = [self.no_tumour.flag(expected)] if self.no_tumour else []
        core = signs.get("TC")
        if self.core_apart and core and not core["without t1c"]:
            found.append(self.core_apart.flag(core["apart"], volume_of(core["ml"]), POOR_BELOW["TC"]))
        return tuple(flag for flag in found if flag)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        regions = {name: rule.to_json() for name, rule in self.regions.items()}
        no_tumour = {} if self.no_tumour is None else {"no_tumour": self.no_tumour.to_json()}
        core_apart = {} if self.core_apart is None else {"core_apart": self.core_apart.to_json()}
        return {"regions": regions, "fitted_on": self.fitted_on, **no_tumour, **core_apart}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> QualityRule:
        """Back from ``to_json``.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: if it is no such rule.
        """
        rules = {str(name): RegionRule.from_json(rule) for name, rule in values["regions"].items()}
        if not rules or not set(rules) <= set(POOR_BELOW):
            raise ValueError(f"expected quality is known for {', '.join(POOR_BELOW)} alone")
        free, apart = values.get("no_tumour"), values.get("core_apart")
        return cls(
            rules,
            str(values["fitted_on"]),
            None if free is None else NoTumourRule.from_json(free),
            None if apart is None else CoreApartRule.from_json(apart),
        )


def _at(sorted_values: list[float], share: float) -> float:
    """Value at a share of a sorted list, linear between neighbours."""
    place = share * (len(sorted_values) - 1)
    below = int(place)
    above = min(below + 1, len(sorted_values) - 1)
    return sorted_values[below] + (place - below) * (sorted_values[above] - sorted_values[below])
