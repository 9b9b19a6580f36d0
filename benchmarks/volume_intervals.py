"""How often the interval beside a volume holds the truth: part of `quality.py fit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hope.domain.expected_quality import share_of
from hope.domain.intervals import IntervalRule, SpreadRule
from hope.training.intervals import AIM, POSSIBLE, Volumes, spread_ends
from hope.training.quality_fit import FOLDS, RegionFit

VOXEL_ML = 0.008


def volumes_of(
    region: str, fit: RegionFit, rows: Sequence[dict[str, Any]], only: npt.NDArray[np.bool_] | None = None
) -> Volumes:
    """Marked and true volumes of the answers of a fit, or of some of them."""
    used = [rows[number] for number in fit.used]
    patients = sorted({row["patient"] for row in used})
    of_patient = np.array([patients.index(row["patient"]) for row in used])
    chosen = np.ones(len(used), bool) if only is None else only
    of_patient = of_patient[chosen]
    pairs = [marked_and_true(row, region) for row in used]
    marked, true = (np.array(values)[chosen] for values in zip(*pairs, strict=True))
    expected = np.array([share_of(float(one)) for one in fit.expected])[chosen]
    return Volumes(marked, true, expected, 1 / np.bincount(of_patient)[of_patient], len(set(of_patient)))


def marked_and_true(row: dict[str, Any], region: str) -> tuple[float, float]:
    """Marked and true volume of one answer, millilitres; where the truth names a set, its first label counts."""
    return row["ml"][region], row["counted"][region][0] * VOXEL_ML


def intervals_table(region: str, fit: RegionFit, rows: Sequence[dict[str, Any]], old: IntervalRule | None) -> None:
    """Print how often the interval of a volume holds the truth in patients that its ends were not chosen on."""
    used = [rows[number] for number in fit.used]
    whole = volumes_of(region, fit, rows)
    patients = sorted({row["patient"] for row in used})
    fold = np.random.default_rng(1).permutation(len(patients))[[patients.index(row["patient"]) for row in used]] % FOLDS
    by_quality = np.zeros((len(used), 2))
    for number in range(FOLDS):
        rule = SpreadRule({region: spread_ends(volumes_of(region, fit, rows, fold != number))}, AIM, 1, "")
        for n in np.flatnonzero(fold == number):
            by_quality[n] = rule.interval(region, whole.marked[n], whole.expected_dice[n])
    found = {"by quality": by_quality}
    if old and region in old.thresholds:
        sure, possible = old.thresholds[region]
        at = [POSSIBLE.index(round(1 - sure, 4)), POSSIBLE.index(possible)]
        counts = [row["counted"][region] for row in used]
        by_probability = np.array([[one[3][at[0]], one[2][at[1]]] for one in counts]) * VOXEL_ML
        by_probability[:, 0] = np.minimum(by_probability[:, 0], whole.marked)
        by_probability[:, 1] = np.maximum(by_probability[:, 1], whole.marked)
        found = {"by probability, as today": by_probability, **found}
    adult = np.array([row["kind"].startswith("adult") and row["true_ml"]["WT"] > 0 for row in used])
    groups = {
        "all": np.ones(len(used), bool),
        "adults, all sequences": adult & [not row["without"] for row in used],
        "adults, one sequence less": adult & [bool(row["without"]) for row in used],
        "tumour-free": np.array([row["true_ml"]["WT"] == 0 for row in used]),
        "synthetic children": np.array([row["kind"] == "synthetic child" for row in used]),
    }
    for name, ends in found.items():
        inside = (ends[:, 0] <= whole.true + 1e-3) & (whole.true <= ends[:, 1] + 1e-3)
        width = (ends[:, 1] - ends[:, 0]) / np.maximum(whole.marked, 1e-3)
        shown = [
            f"{group} {np.average(inside[here], weights=whole.weight[here]):.2f} ({np.median(width[here]):.2f})"
            for group, here in groups.items()
            if here.any()
        ]
        print(f"{region} interval {name}: holds the truth (median width in volumes): {'; '.join(shown)}")
