"""What a model's rule expects of a result, and what a reader is told of it."""

from __future__ import annotations

import json

import pytest

from hope.domain.core_apart import CODE, CoreApartRule
from hope.domain.expected_quality import (
    NO_TUMOUR_CODE,
    ExpectedQuality,
    NoTumourRule,
    QualityRule,
    RegionQuality,
    RegionRule,
    Verdict,
    logit,
    share_of,
    sign_of_volume,
    volume_of,
)
from hope.domain.qc import Severity

RULE = RegionRule(
    names=("own", "ml"),
    mean=(2.0, 1.0),
    deviation=(0.5, 0.5),
    weight=(0.6, 0.3),
    intercept=1.7,
    residuals=tuple(-1 + 0.04 * n for n in range(51)),
)


def signs(own: float, ml: float = 1.0) -> dict[str, dict[str, float]]:
    return {"WT": {"own": own, "ml": ml, "other": 9.0}}


def expected(own: float) -> RegionQuality:
    return QualityRule({"WT": RULE}, "cases").expect(signs(own)).regions["WT"]


def test_a_surer_answer_is_expected_to_be_better() -> None:
    figures = [expected(own).dice for own in (0.5, 1.0, 2.0, 2.5, 3.0)]
    assert figures == sorted(figures)
    assert figures[2] == pytest.approx(share_of(1.7), abs=0.001)
    assert figures[0] < figures[-1]


def test_the_interval_holds_what_the_residuals_say() -> None:
    one = expected(2.0)
    assert one.low == pytest.approx(share_of(1.7 - 0.9), abs=0.01)
    assert one.high == pytest.approx(share_of(1.7 + 0.9), abs=0.01)
    assert one.poor_chance == pytest.approx(sum(share_of(1.7 + r) < 0.75 for r in RULE.residuals) / 51, abs=0.001)


def test_what_lies_outside_the_cases_of_the_fit_is_not_extrapolated() -> None:
    assert expected(2.0 + 3 * 0.5) == expected(50.0)


@pytest.mark.parametrize(
    ("chance", "verdict"), [(0.0, Verdict.GOOD), (0.15, Verdict.GOOD), (0.16, Verdict.CHECK), (0.5, Verdict.POOR)]
)
def test_the_verdict_follows_the_chance_of_a_poor_outline(chance: float, verdict: Verdict) -> None:
    assert RegionQuality(0.8, 0.6, 0.9, chance).verdict is verdict


def test_a_poor_part_makes_a_good_whole_a_case_to_check() -> None:
    good, poor = RegionQuality(0.9, 0.8, 0.95, 0.02), RegionQuality(0.3, 0.1, 0.6, 0.9)
    assert ExpectedQuality({"WT": good}, "x").verdict is Verdict.GOOD
    assert ExpectedQuality({"WT": good, "ET": poor}, "x").verdict is Verdict.CHECK
    assert ExpectedQuality({"WT": poor, "ET": good}, "x").verdict is Verdict.POOR


def test_nothing_marked_has_no_figure_and_is_to_be_checked() -> None:
    nothing = QualityRule({"WT": RULE}, "cases").expect({})
    assert nothing.regions == {}
    assert nothing.verdict is Verdict.CHECK


def test_both_come_back_from_json() -> None:
    rule = QualityRule({"WT": RULE}, "cases")
    assert QualityRule.from_json(json.loads(json.dumps(rule.to_json()))) == rule
    found = rule.expect(signs(2.2))
    back = ExpectedQuality.from_json(json.loads(json.dumps(found.to_json())))
    assert back.to_json() == found.to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"weight": [1.0]},
        {"intercept": float("nan")},
        {"deviation": [0.5, 0.0]},
        {"residuals": []},
        {"residuals": [1.0, 0.0]},
        {"mean": [1.0, float("inf")]},
    ],
)
def test_a_rule_that_does_not_fit_together_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="rule of expected quality"):
        RegionRule.from_json({**RULE.to_json(), **change})


def test_rules_of_unknown_regions_are_refused() -> None:
    with pytest.raises(ValueError, match="WT, TC, ET"):
        QualityRule.from_json({"regions": {"XX": RULE.to_json()}, "fitted_on": "cases"})


def test_an_answer_like_those_to_brains_without_a_tumour_is_warned_of() -> None:
    rule = NoTumourRule(below=0.6, patients=22, without_tumour=11)
    low, high = (QualityRule({"WT": RULE}, "cases").expect(signs(own)) for own in (0.5, 2.0))
    flag = rule.flag(low)
    assert flag is not None and flag.code == NO_TUMOUR_CODE and flag.severity is Severity.WARNING
    assert f"{low.regions['WT'].dice:.2f}" in flag.reason and "of 22 patients" in flag.reason
    assert rule.flag(high) is None
    assert rule.flag(ExpectedQuality({}, "cases")) is None  # nothing was marked


def test_the_rule_for_brains_without_a_tumour_comes_back_from_json() -> None:
    rule = QualityRule({"WT": RULE}, "cases", NoTumourRule(0.2, 22, 11))
    assert QualityRule.from_json(json.loads(json.dumps(rule.to_json()))) == rule
    for wrong in ({"below": 0.0}, {"without_tumour": 23}, {"without_tumour": 0}, {"below": float("nan")}):
        with pytest.raises(ValueError, match="without a tumour"):
            NoTumourRule.from_json({"below": 0.2, "patients": 22, "without_tumour": 11, **wrong})


def test_the_logit_of_a_share_is_finite() -> None:
    assert share_of(logit(0.7)) == pytest.approx(0.7)
    assert -5 < logit(0.0) < logit(1.0) < 5


CORE = CoreApartRule(15, 11)
APART = {"ml": sign_of_volume(20), "apart": 0.8, "without t1c": 0.0}


@pytest.mark.parametrize(
    ("changed", "said"),
    [({}, True), ({"apart": 0.4}, False), ({"ml": sign_of_volume(1)}, False), ({"without t1c": 1.0}, False)],
)
def test_a_core_apart_from_enhancement_is_said(changed: dict[str, float], said: bool) -> None:
    rule = QualityRule({"WT": RULE}, "cases", core_apart=CORE)
    flags = rule.flags({"TC": APART | changed}, ExpectedQuality({}, "cases"))
    assert [flag.code for flag in flags] == ([CODE] if said else [])
    if said:
        assert flags[0].reason.startswith("16 of 20 ml of the core (TC, before clean-up)")
        assert "in 11 of 15 patients" in flags[0].reason
        assert "below 0.6" in flags[0].reason
        assert "about 4 ml" in flags[0].reason


def test_a_model_without_such_counts_says_nothing() -> None:
    assert QualityRule({"WT": RULE}, "cases").flags({"TC": APART}, ExpectedQuality({}, "cases")) == ()


def test_counts_of_cores_survive_json_and_contradictions_are_refused() -> None:
    rule = QualityRule({"WT": RULE}, "cases", core_apart=CORE)
    assert QualityRule.from_json(json.loads(json.dumps(rule.to_json()))) == rule
    for counts in ({"patients": 3, "poor": 4}, {"patients": 3, "poor": 0}):
        with pytest.raises(ValueError, match="do not fit together"):
            CoreApartRule.from_json(counts)


@pytest.mark.parametrize("ml", [0.0, 0.3, 42.0])
def test_a_volume_comes_back_from_its_sign(ml: float) -> None:
    assert volume_of(sign_of_volume(ml)) == pytest.approx(ml)
