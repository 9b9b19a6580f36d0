"""How much the interval of a change is widened or narrowed, measured on unchanged tumours; a table by model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import hope.resources
from hope.contract.comparison import CalibrationFacts
from hope.domain.change import FOUND

TABLE: Final = Path(hope.resources.__path__[0]) / "change" / "factors.json"
"""Written by `benchmarks/compare.py fit STORE --write`."""


@dataclass(frozen=True)
class ChangeRule:
    """What was measured with one model.

    Attributes:
        model: id of the bundle.
        sha256: of the bundle; another one was not measured.
        factors: per label and region, on both ends of the interval of a difference.
        pairs: unchanged pairs that the factors come from.
        called_changed: per label and region, how many of the pairs were called changed by factors of other pairs.
        growth_found_percent: smallest growth found in 80 %; None where the largest that was tried is not.
        kind: what the pairs were, in words.
    """

    model: str
    sha256: str
    factors: Mapping[str, float]
    pairs: int
    called_changed: Mapping[str, int]
    growth_found_percent: Mapping[str, float | None]
    kind: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@cache
def _table() -> dict[str, ChangeRule]:
    if not TABLE.is_file():
        return {}
    return {one["sha256"]: ChangeRule(**one) for one in json.loads(TABLE.read_bytes())["models"]}


def rule_for(sha256s: Sequence[str | None]) -> ChangeRule | None:
    """The rule of the one model that made both masks; None for two models, or one that was not measured.

    Args:
        sha256s: of the bundles.
    """
    known = set(sha256s)
    first = next(iter(known), None)
    return _table().get(first) if first is not None and len(known) == 1 else None


def calibration_facts(rule: ChangeRule | None) -> CalibrationFacts | None:
    """What a comparison says of its rule; None where there is none."""
    if rule is None:
        return None
    return CalibrationFacts(
        kind=rule.kind,
        pairs=rule.pairs,
        factors=dict(rule.factors),
        called_changed=dict(rule.called_changed),
        growth_found_percent=dict(rule.growth_found_percent),
    )


def interval_method(rule: ChangeRule | None) -> str:
    """How the interval of a change came about, and how far it can be relied on, in words."""
    base = "from the intervals of both volumes, taken as independent (squares add up)"
    if rule is None:
        return f"{base}; not calibrated for this model: a change may be named where there is none"
    alarms = ", ".join(f"{key} {count}" for key, count in rule.called_changed.items())
    power = ", ".join(
        f"{key} {'more than was tried' if percent is None else f'{percent:.0f} %'}"
        for key, percent in rule.growth_found_percent.items()
    )
    factors = ", ".join(f"{key} {factor:.2f}" for key, factor in rule.factors.items())
    return (
        f"{base}, times a factor ({factors}) that was calibrated on {rule.pairs} unchanged synthetic pairs; with "
        f"factors of the other pairs so many of them were called changed: {alarms}; smallest growth found in "
        f"{FOUND:.0%}: {power}; the pairs were {rule.kind}, so on real scans a change may be named where there is none"
    )
