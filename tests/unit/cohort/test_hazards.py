"""Proportional hazards, calibration and the curve's interval: against lifelines, simulated truths and the theory."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.cohort.test_survival import simulated

from hope.cohort.calibration import GROUPS, calibration_curve, horizons
from hope.cohort.cox import Outcomes, baseline_hazard, fit_cox, information
from hope.cohort.disclosure import shown_days
from hope.cohort.hazards import SPANS, check_hazards, schoenfeld
from hope.cohort.uncertainty import curve_interval, spread_of_fits
from hope.domain.errors import InputError


@pytest.mark.parametrize("seed", [1, 2])
def test_the_test_of_proportional_hazards_equals_lifelines(seed: int) -> None:
    lifelines = pytest.importorskip("lifelines", reason="the yardstick lifelines is not installed")
    pandas = pytest.importorskip("pandas")
    from lifelines.statistics import proportional_hazard_test

    cohort = simulated(seed, 250, 0.5, day=0.01)
    checks = check_hazards(cohort.covariates, cohort.outcomes, fit_cox(cohort.covariates, cohort.outcomes))
    frame = pandas.DataFrame(cohort.covariates, columns=list(cohort.names))
    frame["days"], frame["event"] = cohort.outcomes.days, cohort.outcomes.events
    model = lifelines.CoxPHFitter().fit(frame, "days", "event")
    theirs = proportional_hazard_test(model, frame, time_transform="rank")
    # Their residuals are of covariates as given, ours too; the test does not depend on the unit.
    assert [one.statistic for one in checks] == pytest.approx(theirs.test_statistic.tolist(), rel=0.02, abs=0.01)
    assert [one.p for one in checks] == pytest.approx(theirs.p_value.tolist(), rel=0.05, abs=0.005)


def test_residuals_by_hand_sum_to_zero_and_share_ties() -> None:
    x = np.array([[1.0], [0.0], [2.0], [1.0]])
    outcomes = Outcomes(np.array([2.0, 2.0, 3.0, 5.0]), np.array([True, True, True, False]))
    days, residuals = schoenfeld(x, outcomes, np.zeros(1))
    # At day 2 the means are of all four, then of all less half of both tied; at day 3 of the last two.
    mean = ((1 + 0 + 2 + 1) / 4 + (0.5 + 0 + 2 + 1) / 3) / 2
    assert days.tolist() == [2, 2, 3]
    assert residuals.ravel().tolist() == pytest.approx([1 - mean, 0 - mean, 2 - 1.5])
    cohort = simulated(5, 150, 0.5)
    found = schoenfeld(cohort.covariates, cohort.outcomes, fit_cox(cohort.covariates, cohort.outcomes))[1]
    assert np.abs(found.sum(axis=0)).max() < 1e-3, "the score is zero where the likelihood is largest"


def test_an_effect_that_fades_is_told_and_one_that_stays_is_not() -> None:
    rng = np.random.default_rng(11)
    x = rng.normal(size=(500, 2))
    # The first covariate acts in the first 200 days only; the second always does.
    first = rng.exponential(300 * np.exp(-1.2 * x[:, 0] - 0.6 * x[:, 1]))
    later = 200 + rng.exponential(300 * np.exp(-0.6 * x[:, 1]))
    died = np.where(first < 200, first, later)
    outcomes = Outcomes(np.minimum(died, 900.0), died < 900)
    fading, staying = check_hazards(x, outcomes, fit_cox(x, outcomes))
    assert len(fading.effects) == SPANS
    assert fading.p < 1e-4 and fading.effects[0] > 0.8 > 0.5 > fading.effects[-1]
    assert staying.p > 0.05 and np.ptp(staying.effects) < 0.5


def test_covariates_that_repeat_one_another_are_refused() -> None:
    cohort = simulated(1, 150, 0.5, covariates=2)
    double = np.column_stack([cohort.covariates, cohort.covariates[:, 0]])
    with pytest.raises(InputError, match="does not converge"):
        check_hazards(double, cohort.outcomes, np.zeros(3))


def test_the_calibration_curve_of_the_truth_lies_on_the_diagonal_and_one_that_is_too_sure_does_not() -> None:
    rng = np.random.default_rng(3)
    linear = rng.normal(size=3000)
    died = rng.exponential(400 * np.exp(-linear))
    outcomes = Outcomes(np.minimum(died, 1200.0), died < 1200)
    days = horizons(outcomes)
    assert len(days) == 3 and (days % 30 == 0).all()

    def curve(slope: float) -> list[tuple[float, float]]:
        foretold = np.exp(-np.exp(slope * linear)[:, None] * days / 400)
        found = calibration_curve(days, foretold, outcomes)
        assert [sum(one["cases"] for one in entry["groups"]) for entry in found] == [3000] * 3
        assert [len(entry["groups"]) for entry in found] == [GROUPS] * 3
        return [(one["foretold"], one["observed"]) for entry in found for one in entry["groups"]]

    assert all(abs(foretold - observed) < 0.05 for foretold, observed in curve(1.0))
    assert max(abs(foretold - observed) for foretold, observed in curve(2.0)) > 0.1


def test_resampled_fits_spread_as_theory_has_it_and_the_interval_holds_the_true_curve() -> None:
    cohort = simulated(8, 320, 0.5, covariates=2, day=1.0)
    x, outcomes = cohort.covariates, cohort.outcomes
    beta, days = fit_cox(x, outcomes), shown_days(cohort.outcomes)
    found = spread_of_fits(x, outcomes, 0.0, days, seed=1)
    theory = np.diag(np.linalg.inv(information(beta, x, outcomes)))
    assert np.diag(found["coefficients"]) == pytest.approx(theory, rel=0.4)
    times, hazard = baseline_hazard(np.exp(x @ beta), outcomes)
    steps = hazard[np.searchsorted(times, days, side="right") - 1]
    model = {
        "coefficients": beta.tolist(),
        "baseline": {"days": days.tolist(), "cumulative_hazard": steps.tolist()},
        "uncertainty": found,
    }
    inside, widths = [], []
    for at in ([0.0, 0.0], [1.0, 0.0], [0.0, -1.0], [2.0, 2.0]):
        alive, low, high = curve_interval(model, np.array(at))
        assert (low <= alive).all() and (alive <= high).all() and (np.diff(alive) <= 0).all()
        true = np.exp(-days / 400 * np.exp(0.5 * (at[0] - 0.7 * at[1])))
        inside += ((low <= true) & (true <= high)).tolist()
        widths.append(float(np.log(np.log(low) / np.log(high)).mean()))
    assert np.mean(inside) > 0.8
    assert widths[0] < widths[1] < widths[3], "far from the cohort's middle the curve is less sure"
    with pytest.raises(InputError, match="fit it again"):
        curve_interval({key: model[key] for key in ("coefficients", "baseline")}, np.zeros(2))


def test_a_draw_without_a_rare_level_is_drawn_again_and_not_fitted() -> None:
    cohort = simulated(9, 300, 0.5, covariates=2)
    rare = np.zeros(300)
    rare[:2] = 1  # one draw in seven holds neither
    x = np.column_stack([cohort.covariates, rare])
    found = spread_of_fits(x, cohort.outcomes, 0.02, shown_days(cohort.outcomes), seed=1)
    assert np.isfinite(np.array(found["coefficients"])).all() and found["coefficients"][2][2] > 0
