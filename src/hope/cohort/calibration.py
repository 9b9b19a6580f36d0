"""The calibration curve: of cases for whom a model foretold about the same, how many lived as long."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from hope.cohort.cox import FloatArray, Outcomes, kaplan_meier
from hope.cohort.disclosure import at_days, shown_days, significant

GROUPS: Final = 5
_HORIZONS: Final = (0.25, 0.5, 0.75)
"""Shares of the shown days at which the curve is drawn."""


def horizons(outcomes: Outcomes) -> FloatArray:
    """Up to three days, early to late, at which a foretold share is compared with what came."""
    days = shown_days(outcomes)
    if not len(days):
        return days
    places = [int(share * (len(days) - 1)) for share in _HORIZONS]
    return np.unique(days[places])


def calibration_curve(days: FloatArray, foretold: FloatArray, outcomes: Outcomes) -> list[dict[str, Any]]:
    """Foretold and observed share alive in fifths of the cases, by what was foretold of them.

    Args:
        days: (h,) horizons.
        foretold: (n, h) share alive at each, of fits that had not seen the case.
        outcomes: of the n cases; the observed share is Kaplan and Meier's.

    Returns:
        plain JSON values: per horizon ``day`` and ``groups``, from the worst outlook to the best, each with ``cases``,
        ``foretold`` (mean) and ``observed``.
    """
    found = []
    for day, shares in zip(days.tolist(), foretold.T, strict=True):
        groups = []
        for members in np.array_split(np.argsort(shares, kind="stable"), GROUPS):
            part = outcomes.part(members)
            (observed,) = at_days(np.array([day]), *kaplan_meier(part), before=1.0)
            mean = significant(float(shares[members].mean()))
            groups.append({"cases": len(members), "foretold": mean, "observed": observed})
        found.append({"day": day, "groups": groups})
    return found
