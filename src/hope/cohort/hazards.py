"""Whether hazards stay proportional: scaled Schoenfeld residuals against time, and their test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from hope.cohort.cox import FloatArray, Outcomes, information

SPANS: Final = 3
"""The events are told in as many spans of time, with equal numbers of them."""

SUSPECT_BELOW: Final = 0.05
"""Of the test's p, times the number of covariates."""


@dataclass(frozen=True)
class HazardCheck:
    """What became of one covariate's effect over time.

    Attributes:
        statistic: of Grambsch and Therneau's test against the rank of time; chi squared with one degree of freedom.
        p: of it; small where the effect changes over time.
        effects: (``SPANS``,) log hazard ratio of one unit of the covariate in each span of time, early to late.
    """

    statistic: float
    p: float
    effects: tuple[float, ...]


def check_hazards(covariates: FloatArray, outcomes: Outcomes, beta: FloatArray) -> list[HazardCheck]:
    """Test each covariate of a fit.

    Args:
        covariates: (n, p), as they were fitted.
        outcomes: of the n cases.
        beta: (p,) the fit's coefficients.

    Raises:
        InputError: if the covariates repeat one another, so that their effects cannot be told apart.
    """
    days, residuals = schoenfeld(covariates, outcomes, beta)
    variance = np.linalg.inv(information(beta, covariates, outcomes))
    scaled = len(days) * residuals @ variance
    time = _ranks(days)
    time -= time.mean()
    statistics = (time @ scaled) ** 2 / (len(days) * np.diag(variance) * float(time @ time))
    spans = np.array_split(np.arange(len(days)), SPANS)
    effects = np.array([beta + scaled[span].mean(axis=0) for span in spans])
    return [
        HazardCheck(float(one), math.erfc(math.sqrt(float(one) / 2)), tuple(effects[:, column].tolist()))
        for column, one in enumerate(statistics)
    ]


def schoenfeld(covariates: FloatArray, outcomes: Outcomes, beta: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Days of the events, ascending, and what each one's covariates had beside the mean of those then at risk.

    Args:
        covariates: (n, p).
        outcomes: of the n cases; of tied events each takes the mean that Efron's weights give.
        beta: (p,) coefficients.

    Returns:
        (d,) days and (d, p) residuals of the d events.
    """
    linear = covariates @ beta
    weights = np.exp(linear - linear.max())
    days: list[float] = []
    residuals: list[FloatArray] = []
    for day in np.unique(outcomes.days[outcomes.events]):
        at_risk, died = outcomes.days >= day, (outcomes.days == day) & outcomes.events
        count = int(died.sum())
        means = []
        for number in range(count):
            shares = np.where(died, 1 - number / count, 1.0) * weights * at_risk
            means.append(shares @ covariates / shares.sum())
        residuals.extend(covariates[died] - np.mean(means, axis=0))
        days += [float(day)] * count
    return np.array(days), np.array(residuals)


def _ranks(values: FloatArray) -> FloatArray:
    """Rank of each value; equal ones share the middle of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place], dtype=np.float64)
