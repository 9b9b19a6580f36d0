"""How sure the curve of a survival model is, from fits on resampled cases; only variances of them are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from hope.cohort.cox import FloatArray, Outcomes, baseline_hazard, fit_cox
from hope.cohort.disclosure import significant
from hope.domain.errors import InputError

RESAMPLED_FITS: Final = 100
_TWO_SIDED_95: Final = 1.96
_TINY: Final = 1e-9


def spread_of_fits(
    scaled: FloatArray, outcomes: Outcomes, penalty: float, days: FloatArray, seed: int
) -> dict[str, Any]:
    """Variances of the coefficients and of the log cumulative hazard, over fits on cases drawn with replacement.

    Args:
        scaled: (n, p) covariates of the fit.
        outcomes: of the n cases.
        penalty: per case.
        days: (k,) where the curve is shown.
        seed: of the drawing.

    Returns:
        plain JSON values: ``coefficients`` (p, p) covariance, ``log_hazard`` (k,) variances, ``both`` (k, p)
        covariances of the log cumulative baseline hazard with the coefficients.
    """
    rng = np.random.default_rng(seed)
    n, p = scaled.shape
    rows: list[FloatArray] = []
    while len(rows) < RESAMPLED_FITS:
        chosen = rng.integers(0, n, n)
        x, drawn = scaled[chosen], outcomes.part(chosen)
        if not np.ptp(x, axis=0).all():
            continue  # a rare level was not drawn at all: such cases have no coefficient for it
        beta = fit_cox(x, drawn, penalty)
        times, hazard = baseline_hazard(np.exp(x @ beta), drawn)
        steps = np.concatenate([[_TINY], hazard])[np.searchsorted(times, days, side="right")]
        rows.append(np.concatenate([beta, np.log(steps)]))
    covariance: FloatArray = np.cov(np.array(rows).T).reshape(p + len(days), p + len(days)).astype(np.float64)
    return {
        "coefficients": _plain(covariance[:p, :p]),
        "log_hazard": _plain(np.diag(covariance)[p:]),
        "both": _plain(covariance[p:, :p]),
    }


def curve_interval(model: Mapping[str, Any], scaled: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Share alive at each shown day, and the ends of its 95 % interval.

    The interval is symmetric for the logarithm of the cumulative hazard. It says how far the curve would move if other
    cases of the same kind had been fitted; it is not the range of what one patient lives through.

    Args:
        model: of a report of ``hope survival fit``.
        scaled: (p,) covariates of the case, in the fit's units.

    Raises:
        InputError: if an earlier version made the model, which has no such figures.
    """
    if "uncertainty" not in model:
        raise InputError("the survival model says nothing of its uncertainty", fix="fit it again with this version")
    found = {
        key: np.array(model["uncertainty"][key], dtype=np.float64) for key in ("coefficients", "log_hazard", "both")
    }
    risk = float(scaled @ np.array(model["coefficients"]))
    log_hazard = np.log(np.maximum(np.array(model["baseline"]["cumulative_hazard"]), _TINY)) + risk
    variance = found["log_hazard"] + 2 * found["both"] @ scaled + float(scaled @ found["coefficients"] @ scaled)
    half = _TWO_SIDED_95 * np.sqrt(np.maximum(variance, 0))
    alive, low, high = (np.exp(-np.exp(log_hazard + shift)) for shift in (0.0, half, -half))
    return alive, low, high


def _plain(values: FloatArray) -> Any:
    """The same as lists, to four significant digits."""
    if values.ndim > 1:
        return [_plain(row) for row in values]
    return [significant(value) for value in values.tolist()]
