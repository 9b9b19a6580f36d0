"""The fit of expected quality, on answers whose Dice follows from their signs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hope.domain.core_apart import CoreApartRule
from hope.domain.expected_quality import logit, share_of, sign_of_volume
from hope.training.quality_fit import SIGNS, Judged, auc, bootstrap, count_core_apart, fit_quality, fit_region


def judged(patients: int = 60, noise: float = 0.4, seed: int = 5) -> list[Judged]:
    """Three answers a patient; the Dice rises with ``own`` and falls without t2f; the other signs say nothing."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(patients):
        for without in (0.0, 0.0, 1.0):
            signs = {name: float(rng.normal()) for name in SIGNS["WT"]}
            signs["without t2f"] = without
            odds = 1.2 + 0.9 * signs["own"] - 1.5 * without + noise * float(rng.normal())
            found.append(Judged(f"p{number}", {"WT": signs}, {"WT": share_of(odds)}))
    return found


def test_the_rule_tells_poor_answers_of_patients_that_it_did_not_see() -> None:
    given = judged()
    fit = fit_region(given, "WT")
    assert fit is not None
    poor = np.array([one.dice["WT"] < 0.75 for one in given])
    assert auc(-fit.expected, poor) > 0.85
    names = list(fit.rule.names)
    weight = dict(zip(names, fit.rule.weight, strict=True))
    assert weight["own"] > 0.5
    assert weight["without t2f"] < -0.3
    assert abs(weight["main"]) < 0.2


def test_new_cases_lie_in_the_interval_as_often_as_it_says() -> None:
    inside = []
    for seed in range(8):
        rule, _ = fit_quality(judged(seed=seed), "cases")
        assert rule is not None
        for one in judged(seed=seed + 100):
            said = rule.expect(one.signs).regions["WT"]
            inside.append(said.low <= one.dice["WT"] <= said.high)
    assert 0.84 <= np.mean(inside) <= 0.95  # nine of ten are aimed at; sixty patients do not show the ends exactly


def test_answers_of_one_patient_are_never_on_both_sides() -> None:
    """With the patient's own noise shared by its answers, memory of the patient would look like skill."""
    rng = np.random.default_rng(2)
    given = []
    for number in range(40):
        own = {name: float(rng.normal()) for name in SIGNS["WT"]}
        score = share_of(float(rng.normal()))
        given += [Judged(f"p{number}", {"WT": own}, {"WT": score}) for _ in range(6)]
    fit = fit_region(given, "WT")
    assert fit is not None
    assert np.corrcoef(fit.expected, fit.true)[0, 1] < 0.35


def test_too_few_patients_give_no_rule() -> None:
    rule, fits = fit_quality(judged(12), "cases")
    assert rule is None
    assert fits == {}


def test_the_figures_of_the_table() -> None:
    assert auc(np.array([3.0, 2, 1]), np.array([True, False, False])) == 1.0
    assert auc(np.array([1.0, 1, 1, 1]), np.array([True, False, True, False])) == 0.5
    assert np.isnan(auc(np.array([1.0]), np.array([True])))
    values = np.arange(40.0)
    low, high = bootstrap([str(n // 2) for n in range(40)], lambda numbers: float(values[numbers].mean()))
    assert low < 19.5 < high
    assert logit(0.5) == pytest.approx(0.0)


def test_brains_without_a_tumour_say_how_low_their_answers_are_expected_to_be() -> None:
    """Ten of seventy have no tumour, and their answers look faint; two more faint ones do have one."""
    given = judged(60, noise=0.1)
    rng = np.random.default_rng(1)
    for number in range(12):
        signs = {name: float(rng.normal()) for name in SIGNS["WT"]} | {"own": -4.0, "without t2f": 1.0}
        given.append(Judged(f"faint{number}", {"WT": signs}, {"WT": 0.02}, has_tumour=number >= 10))
    rule, fits = fit_quality(given, "cases")
    assert rule is not None and rule.no_tumour is not None
    assert rule.no_tumour.below < 0.4
    assert rule.no_tumour.patients >= rule.no_tumour.without_tumour >= 9
    free = [share_of(float(e)) for e, n in zip(fits["WT"].expected, fits["WT"].used, strict=True) if n >= 180][:10]
    assert np.mean([dice < rule.no_tumour.below for dice in free]) >= 0.9


def test_without_such_brains_there_is_no_such_rule() -> None:
    rule, _ = fit_quality(judged(), "cases")
    assert rule is not None and rule.no_tumour is None


def test_where_they_are_expected_to_be_good_there_is_none_either() -> None:
    given = [replace(one, has_tumour=False) if n % 3 == 0 else one for n, one in enumerate(judged())]
    rule, _ = fit_quality(given, "cases")
    assert rule is not None and rule.no_tumour is None


def with_core(patient: str, apart: float, dice: float, without_t1c: float = 0.0, ml: float = 20.0) -> Judged:
    signs = {"apart": apart, "ml": sign_of_volume(ml), "without t1c": without_t1c}
    return Judged(patient, {"TC": signs}, {"TC": dice})


def test_patients_with_a_core_apart_from_enhancement_are_counted_once() -> None:
    given = [
        with_core("poor", 0.9, 0.1),
        with_core("poor", 0.9, 0.8),  # the mean counts
        with_core("good", 0.7, 0.8),
        with_core("enclosed", 0.2, 0.1),
        with_core("no t1c", 0.9, 0.1, without_t1c=1.0),
        with_core("small", 0.9, 0.1, ml=0.5),
    ]
    assert count_core_apart(given) == CoreApartRule(patients=2, poor=1)
    assert count_core_apart([with_core("good", 0.9, 0.8)]) is None
