"""Whether covariates foretell survival: cross-validated figures, a verdict on publishing, and a model with its card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from hope import DISCLAIMER
from hope.cohort.calibration import calibration_curve, horizons
from hope.cohort.cox import FloatArray, Outcomes, baseline_hazard, concordance, fit_cox, kaplan_meier
from hope.cohort.disclosure import at_days, shown_days, shown_range, significant
from hope.cohort.hazards import SUSPECT_BELOW, check_hazards
from hope.cohort.table import Cohort, is_level
from hope.cohort.uncertainty import spread_of_fits
from hope.domain import json_text
from hope.domain.errors import InputError, OutputError
from hope.domain.wording import counted
from hope.formats.atomic import holds_something, output_error

FORMAT: Final = "hope-survival/1"
LEAST_EVENTS: Final = 100
EVENTS_PER_COVARIATE: Final = 10
LEAST_SLOPE, MOST_SLOPE = 0.7, 1.3
FOLDS, REPEATS, RESAMPLES = 5, 10, 200
CURVE_POINTS: Final = 50
_REPEATED: Final = 0.999
"""Correlation from which two covariates count as the same."""


@dataclass(frozen=True, eq=False)
class Validation:
    """Figures on cases that the fit had not seen, over repeated cross-validation with one penalty.

    Attributes:
        risk: (n,) mean cross-validated linear predictor of each case.
        c_index: Harrell's C of it.
        c_low: lower end of its 95 % interval, over resampled cases.
        c_high: upper end.
        slope: calibration slope, mean over the repeats, stratified by fold; 1 is neither too sure nor too careful.
        days: (h,) horizons of the calibration curve.
        alive: (n, h) mean cross-validated share alive at each.
        seed: of folds and resampling.
        repeats: of the cross-validation.
    """

    risk: FloatArray
    c_index: float
    c_low: float
    c_high: float
    slope: float
    days: FloatArray
    alive: FloatArray
    seed: int = 1
    repeats: int = REPEATS

    @property
    def publishable(self) -> bool:
        """Whether the lower bound of C is above 0.5 and the slope lies in 0.7 to 1.3."""
        return self.c_low > 0.5 and LEAST_SLOPE <= self.slope <= MOST_SLOPE


def check_cohort(cohort: Cohort) -> None:
    """Refuse what no honest model can be fitted on.

    Raises:
        InputError: below 100 events or 10 a covariate; for a constant covariate or one that repeats another.
    """
    n, p = cohort.covariates.shape
    events = int(cohort.outcomes.events.sum())
    if not p:
        raise InputError("the cohort table has no covariate")
    least = max(LEAST_EVENTS, EVENTS_PER_COVARIATE * p)
    if events < least:
        raise InputError(
            "the cohort is too small for a survival model",
            expected=f"{least} events or more ({LEAST_EVENTS}, and {EVENTS_PER_COVARIATE} for each of {p} covariates)",
            got=f"{counted(events, 'events')} in {counted(n, 'cases')}",
            fix="collect more cases; smaller cohorts look better than they are",
        )
    spread = cohort.covariates.std(axis=0)
    if constant := [name for name, value in zip(cohort.names, spread, strict=True) if value < 1e-12]:
        raise InputError("a covariate is the same in all cases", got=", ".join(constant), fix="leave it out")
    scaled = _scaled(cohort.covariates)[0]
    if np.linalg.matrix_rank(scaled, tol=1e-6 * np.sqrt(n)) < p:
        close = np.abs(np.corrcoef(scaled.T)) > _REPEATED
        same = [f"{cohort.names[a]} and {cohort.names[b]}" for a in range(p) for b in range(a) if close[a, b]]
        got = ", ".join(same) or "one is a sum of others"
        raise InputError("covariates repeat one another", got=got, fix="leave all but one out")


def validate(cohort: Cohort, penalty: float, seed: int = 1, repeats: int = REPEATS) -> Validation:
    """Cross-validate: 5 folds with the events spread evenly, repeated, one penalty throughout.

    Args:
        cohort: that `check_cohort` lets pass.
        penalty: per case.
        seed: of folds and resampling.
        repeats: of the cross-validation.
    """
    rng = np.random.default_rng(seed)
    n = len(cohort.outcomes.days)
    total, slopes = np.zeros(n), []
    days = horizons(cohort.outcomes)
    alive = np.zeros((n, len(days)))
    for _ in range(repeats):
        folds = _folds(cohort.outcomes, rng)
        risk = np.zeros(n)
        for fold in range(FOLDS):
            fit, test = folds != fold, folds == fold
            scaled, mean, spread = _scaled(cohort.covariates[fit])
            seen = cohort.outcomes.part(fit)
            beta = fit_cox(scaled, seen, penalty)
            risk[test] = ((cohort.covariates[test] - mean) / spread) @ beta
            times, hazard = baseline_hazard(np.exp(scaled @ beta), seen)
            until = np.concatenate([[0.0], hazard])[np.searchsorted(times, days, side="right")]
            alive[test] += np.exp(-np.exp(risk[test])[:, None] * until)
        total += risk
        slopes.append(_stratified_slope(risk, folds, cohort.outcomes))
    mean_risk = total / repeats
    resampled: list[float] = []
    while len(resampled) < RESAMPLES:
        chosen = rng.integers(0, n, n)
        if cohort.outcomes.events[chosen].any():
            resampled.append(concordance(mean_risk[chosen], cohort.outcomes.part(chosen)))
    low, high = np.percentile(resampled, [2.5, 97.5])
    c_index = concordance(mean_risk, cohort.outcomes)
    figures = (mean_risk, c_index, float(low), float(high), float(np.mean(slopes)), days, alive / repeats)
    return Validation(*figures, seed=seed, repeats=repeats)


def refuse_other_report(path: Path, cohort: Cohort, penalty: float, seed: int) -> None:
    """Refuse, before the fit, to replace a file that is no report of a fit on so many cases with this penalty and seed.

    Whether it is of these very cases only the fit shows: a report cannot hold a hash of what it must not tell.

    Raises:
        OutputError: if so, or it cannot be read.
    """
    if not holds_something(path):
        return
    try:
        found = json_text.loads(path.read_bytes())
    except OSError as error:
        raise output_error(path.name, error) from error
    except (ValueError, RecursionError):
        found = None
    ours = _what(cohort, penalty, seed, REPEATS)
    if not isinstance(found, dict) or any(found.get(name) != value for name, value in ours.items()):
        raise OutputError(
            f"{path.name} is there already (expected a report of the same cases, covariates, penalty and seed, got "
            "another report or file); choose another name or directory, or say --replace"
        )


def _what(cohort: Cohort, penalty: float, seed: int, repeats: int) -> dict[str, Any]:
    """What a report says that a fit is of."""
    events = int(cohort.outcomes.events.sum())
    cases = {"cases": len(cohort.outcomes.days), "events": events, "covariates": list(cohort.names)}
    return {"format": FORMAT, **cases, "penalty": penalty, "seed": seed, "repeats": repeats}


def fit_report(cohort: Cohort, penalty: float, validation: Validation) -> dict[str, Any]:
    """Everything that the fit says, plain JSON values; the key ``model`` is there only if it may be published."""
    risk, outcomes = validation.risk, cohort.outcomes
    thirds = np.searchsorted(np.quantile(risk, [1 / 3, 2 / 3]), risk, side="right")
    curves = {}
    for third, name in enumerate(("low", "middle", "high")):
        part = outcomes.part(thirds == third)
        days = shown_days(part)
        alive = at_days(days, *kaplan_meier(part), before=1.0)
        curves[name] = {"cases": len(part.days), "days": days.tolist(), "alive": alive}
    report: dict[str, Any] = {
        "format": FORMAT,
        "disclaimer": DISCLAIMER,
        **_what(cohort, penalty, validation.seed, validation.repeats),
        "c_index": [round(value, 4) for value in (validation.c_index, validation.c_low, validation.c_high)],
        "calibration_slope": round(validation.slope, 4),
        "calibration_curve": calibration_curve(validation.days, validation.alive, outcomes),
        "kaplan_meier_of_cross_validated_thirds": curves,
        "proportional_hazards": _hazards(cohort, penalty),
        "published": validation.publishable,
        "rule": f"published only if C's lower bound is above 0.5 and the slope lies in {LEAST_SLOPE} to {MOST_SLOPE}",
    }
    if validation.publishable:
        report["model"] = _model(cohort, penalty)
    return report


def _hazards(cohort: Cohort, penalty: float) -> dict[str, Any]:
    """Per covariate, whether its effect stays the same over time: the fit on all cases, scaled Schoenfeld residuals."""
    scaled = _scaled(cohort.covariates)[0]
    checks = check_hazards(scaled, cohort.outcomes, fit_cox(scaled, cohort.outcomes, penalty))
    return {
        name: {
            "p": significant(one.p),
            "effects_early_to_late": [significant(value) for value in one.effects],
            "changes": one.p * len(checks) < SUSPECT_BELOW,
        }
        for name, one in zip(cohort.names, checks, strict=True)
    }


def _model(cohort: Cohort, penalty: float) -> dict[str, Any]:
    """The fit on all cases, with the range of each covariate that it may be applied in; no case can be read off it."""
    _, *scale = _scaled(cohort.covariates)
    mean, spread = (np.array([significant(value) for value in values.tolist()]) for values in scale)
    scaled = (cohort.covariates - mean) / spread
    beta = fit_cox(scaled, cohort.outcomes, penalty)
    times, hazard = baseline_hazard(np.exp(scaled @ beta), cohort.outcomes)
    days = shown_days(cohort.outcomes)
    days = days[np.unique(np.linspace(0, len(days) - 1, CURVE_POINTS).astype(int))]
    columns = zip(cohort.names, cohort.covariates.T, strict=True)
    return {
        "coefficients": beta.tolist(),
        "mean": mean.tolist(),
        "spread": spread.tolist(),
        "range": [[0.0, 1.0] if is_level(name) else list(shown_range(values)) for name, values in columns],
        "thirds": [significant(value) for value in np.quantile(scaled @ beta, [1 / 3, 2 / 3]).tolist()],
        "baseline": {"days": days.tolist(), "cumulative_hazard": at_days(days, times, hazard, before=0.0)},
        "uncertainty": spread_of_fits(scaled, cohort.outcomes, penalty, days, seed=1),
    }


def _scaled(covariates: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    mean, spread = covariates.mean(axis=0), covariates.std(axis=0)
    # A covariate that is constant in one fold says nothing there.
    spread = np.where(spread > 0, spread, 1.0)
    return (covariates - mean) / spread, mean, spread


def _folds(outcomes: Outcomes, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Fold of each case; cases with and without an event are dealt out apart."""
    folds = np.zeros(len(outcomes.days), dtype=np.intp)
    for kind in (outcomes.events, ~outcomes.events):
        members = rng.permutation(np.flatnonzero(kind))
        folds[members] = (np.arange(len(members)) + rng.integers(FOLDS)) % FOLDS
    return folds


def _stratified_slope(risk: FloatArray, folds: np.ndarray[Any, np.dtype[np.intp]], outcomes: Outcomes) -> float:
    """The one coefficient of the predicted risk, from the likelihoods of all folds together (Newton's method)."""
    slope = 0.0
    groups = [(risk[folds == fold], outcomes.part(folds == fold)) for fold in range(FOLDS)]
    for _ in range(30):
        first, second = 0.0, 0.0
        for x, part in groups:
            a, b = _derivatives(slope, x, part)
            first, second = first + a, second + b
        if second < 1e-12:
            return 0.0
        step = first / second
        slope += float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-8:
            break
    return slope


def _derivatives(slope: float, x: FloatArray, outcomes: Outcomes) -> tuple[float, float]:
    """First derivative of the log likelihood (ties by Breslow) of one fold, and the negative second."""
    weights = np.exp(slope * (x - x.mean()))
    at_risk = outcomes.days[None, :] >= outcomes.days[outcomes.events][:, None]
    s0, s1, s2 = (at_risk @ (weights * x**power) for power in (0, 1, 2))
    return float((x[outcomes.events] - s1 / s0).sum()), float((s2 / s0 - (s1 / s0) ** 2).sum())
