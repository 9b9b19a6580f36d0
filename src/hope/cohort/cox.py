"""Proportional hazards with a ridge penalty, ties by Efron; the baseline by Breslow; Harrell's C. numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hope.domain.errors import InputError

FloatArray = npt.NDArray[np.float64]

_MOST_STEPS: Final = 60
_CONVERGED: Final = 1e-10


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Follow-up of some cases.

    Attributes:
        days: (n,) time to the event or to the end of follow-up, above 0.
        events: (n,) whether the event happened.
    """

    days: FloatArray
    events: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.days.shape != self.events.shape or self.days.ndim != 1:
            raise ValueError("days and events need one value for each case")
        if not np.isfinite(self.days).all() or (self.days <= 0).any():
            raise ValueError("times must be finite and above 0")

    def part(self, chosen: npt.NDArray[np.generic]) -> Outcomes:
        """The outcomes of some cases, by index or mask."""
        return Outcomes(self.days[chosen], self.events[chosen])


def fit_cox(covariates: FloatArray, outcomes: Outcomes, penalty: float = 0.0) -> FloatArray:
    """Coefficients that maximise the mean partial log likelihood less half the penalty times their squares.

    Args:
        covariates: (n, p), best centred and scaled.
        outcomes: of the n cases; tied event times share their weight as Efron has it.
        penalty: per case, so that it means the same in cohorts of any size.

    Returns:
        (p,) log hazard ratios for one unit of each covariate.

    Raises:
        InputError: if the fit does not converge, as when a covariate is constant or repeats others.
    """
    order = np.argsort(-outcomes.days, kind="stable")
    x, days, events = covariates[order], outcomes.days[order], outcomes.events[order]
    beta = np.zeros(x.shape[1])
    value, gradient, hessian = _likelihood(beta, x, days, events, penalty)
    for _ in range(_MOST_STEPS):
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError as error:
            raise _not_converged() from error
        decrement = float(gradient @ step)
        if decrement < _CONVERGED:
            return beta
        size = 1.0
        while size > 1e-6:
            trial = _likelihood(beta + size * step, x, days, events, penalty)
            if np.isfinite(trial[0]) and trial[0] >= value - 1e-12:
                break
            size /= 2
        beta = beta + size * step
        value, gradient, hessian = trial
    raise _not_converged()


def _not_converged() -> InputError:
    return InputError(
        "the survival model does not converge",
        expected="covariates that vary and do not repeat one another",
        fix="leave out covariates, or raise the penalty",
    )


def _likelihood(
    beta: FloatArray, x: FloatArray, days: FloatArray, events: npt.NDArray[np.bool_], penalty: float
) -> tuple[float, FloatArray, FloatArray]:
    """Mean penalised log likelihood, its gradient and its negative Hessian; cases by falling time."""
    n, p = x.shape
    linear = x @ beta
    shift = float(linear.max())
    risk = np.exp(linear - shift)
    value, gradient, hessian = 0.0, np.zeros(p), np.zeros((p, p))
    s0 = 0.0
    s1: FloatArray = np.zeros(p)
    s2: FloatArray = np.zeros((p, p))
    start = 0
    while start < n:
        stop = start
        while stop < n and days[stop] == days[start]:
            stop += 1
        part, weights = x[start:stop], risk[start:stop]
        s0 += float(weights.sum())
        s1 = s1 + weights @ part
        s2 = s2 + (part * weights[:, None]).T @ part
        tied = events[start:stop]
        if count := int(tied.sum()):
            d_part, d_weights = part[tied], weights[tied]
            d0, d1 = float(d_weights.sum()), d_weights @ d_part
            d2 = (d_part * d_weights[:, None]).T @ d_part
            value += float(linear[start:stop][tied].sum())
            gradient += d_part.sum(axis=0)
            for number in range(count):
                share = number / count
                z0, z1, z2 = s0 - share * d0, s1 - share * d1, s2 - share * d2
                mean = z1 / z0
                value -= float(np.log(z0)) + shift
                gradient -= mean
                hessian += z2 / z0 - np.outer(mean, mean)
        start = stop
    return (
        value / n - penalty / 2 * float(beta @ beta),
        gradient / n - penalty * beta,
        hessian / n + penalty * np.eye(p),
    )


def concordance(risk: FloatArray, outcomes: Outcomes) -> float:
    """Harrell's C: of the pairs whose order of events is known, the share in which the higher risk came first.

    Args:
        risk: (n,) higher is worse; equal risks count half.
        outcomes: of the n cases.

    Raises:
        ValueError: if no pair can be compared.
    """
    earlier = outcomes.events[:, None] & (
        (outcomes.days[:, None] < outcomes.days[None, :])
        | ((outcomes.days[:, None] == outcomes.days[None, :]) & ~outcomes.events[None, :])
    )
    pairs = int(earlier.sum())
    if not pairs:
        raise ValueError("no pair of cases can be compared")
    higher = (risk[:, None] > risk[None, :]) + 0.5 * (risk[:, None] == risk[None, :])
    return float((higher * earlier).sum() / pairs)


def kaplan_meier(outcomes: Outcomes) -> tuple[FloatArray, FloatArray]:
    """Event times, ascending, and the share that lives past each."""
    times = np.unique(outcomes.days[outcomes.events])
    at_risk = (outcomes.days[None, :] >= times[:, None]).sum(axis=1)
    died = ((outcomes.days[None, :] == times[:, None]) & outcomes.events[None, :]).sum(axis=1)
    return times, np.cumprod(1 - died / at_risk)


def baseline_hazard(risk: FloatArray, outcomes: Outcomes) -> tuple[FloatArray, FloatArray]:
    """Event times, ascending, and Breslow's cumulative baseline hazard at each.

    Args:
        risk: (n,) exp of the linear predictor.
        outcomes: of the n cases.
    """
    times = np.unique(outcomes.days[outcomes.events])
    died = ((outcomes.days[None, :] == times[:, None]) & outcomes.events[None, :]).sum(axis=1)
    at_risk = (outcomes.days[None, :] >= times[:, None]) @ risk
    return times, np.cumsum(died / at_risk)
