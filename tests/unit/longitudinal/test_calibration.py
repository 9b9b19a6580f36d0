"""Factors on the interval of a change: for which model they count, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hope.longitudinal import calibration
from hope.longitudinal.calibration import (
    TABLE,
    ChangeRule,
    calibration_facts,
    interval_method,
    rule_for,
)

RULE = ChangeRule("m", "a" * 64, {"WT": 0.5}, 40, {"WT": 1}, {"WT": 62.0}, "synthetic pairs")


def test_a_rule_counts_for_the_very_model_it_was_measured_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = tmp_path / "factors.json"
    table.write_text(json.dumps({"models": [RULE.to_json()]}))
    monkeypatch.setattr(calibration, "TABLE", table)
    calibration._table.cache_clear()
    try:
        assert rule_for([RULE.sha256, RULE.sha256]) == RULE
        assert rule_for([RULE.sha256, "b" * 64]) is None
        assert rule_for([RULE.sha256, None]) is None
        assert rule_for([None, None]) is None
    finally:
        calibration._table.cache_clear()
    assert "not calibrated for this model" in interval_method(None)
    said = interval_method(RULE)
    for part in ("WT 0.50", "40 unchanged synthetic pairs", "called changed: WT 1;", "WT 62 %"):
        assert part in said
    facts = calibration_facts(RULE)
    assert facts is not None and facts.factors == {"WT": 0.5} and calibration_facts(None) is None


def test_the_table_of_the_package_calls_at_most_one_in_twenty_unchanged_pairs_changed() -> None:
    """Of every model in it; the others, perhaps all, are said to be not calibrated."""
    for rule in [ChangeRule(**one) for one in json.loads(TABLE.read_bytes())["models"]]:
        assert rule_for([rule.sha256]) == rule
        assert set(rule.factors) == set(rule.called_changed) == set(rule.growth_found_percent)
        assert all(0 < factor < 10 for factor in rule.factors.values())
        for region in ("WT", "TC", "ET"):
            assert rule.called_changed[region] <= 0.05 * rule.pairs, region
        assert "synthetic" in rule.kind and "no real scan" in rule.kind
    assert rule_for(["0" * 64]) is None
