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


def information(beta: FloatArray, covariates: FloatArray, outcomes: Outcomes) -> FloatArray:
    """(p, p) observed information of the partial likelihood, without the penalty; its inverse is the covariance.

    Args:
        beta: (p,) coefficients.
        covariates: (n, p).
        outcomes: of the n cases.

    Raises:
        InputError: if it has no inverse, as when a covariate repeats others.
    """
    order = np.argsort(-outcomes.days, kind="stable")
    whole = _likelihood(beta, covariates[order], outcomes.days[order], outcomes.events[order], 0.0)[2] * len(order)
    if np.linalg.matrix_rank(whole) < len(beta):
        raise _not_converged()
    return whole


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
    squares = x[:, :, None] * x[:, None, :]
    # Whoever lives as long or longer is at risk; tied cases end at the same place of the cumulative sums.
    group = np.concatenate([[0], np.cumsum(days[1:] != days[:-1])])
    ends = np.append(np.flatnonzero(days[1:] != days[:-1]), n - 1)
    died, counts = group[events], np.bincount(group[events], minlength=len(ends))
    # Of d tied events the first sees all of them at risk, the second all less 1/d of each, and so on (Efron).
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    share = (np.arange(len(died)) - first[died]) / counts[died]

    def at_events(terms: FloatArray) -> FloatArray:
        """Sum of the terms (n, ...) of the cases at risk at each event, with Efron's share of the tied ones."""
        tied = np.zeros((len(ends), *terms.shape[1:]))
        np.add.at(tied, died, terms[events])
        part = share.reshape(-1, *(1,) * (terms.ndim - 1))
        summed: FloatArray = np.cumsum(terms, axis=0)[ends][died] - part * tied[died]
        return summed

    z0, z1 = at_events(risk), at_events(risk[:, None] * x)
    z2 = at_events(risk[:, None, None] * squares)
    mean = z1 / z0[:, None]
    value = float(linear[events].sum() - np.log(z0).sum()) - shift * len(died)
    gradient = x[events].sum(axis=0) - mean.sum(axis=0)
    hessian = (z2 / z0[:, None, None]).sum(axis=0) - mean.T @ mean
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
