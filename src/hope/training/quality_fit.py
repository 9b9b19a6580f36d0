"""Fits how good a model's answers are expected to be, on cases whose masks are known and that it never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hope.domain.case import SEQUENCES
from hope.domain.core_apart import APART_FROM, LEAST_ML, CoreApartRule
from hope.domain.expected_quality import POOR_BELOW, NoTumourRule, QualityRule, RegionRule, logit, share_of, volume_of

Values = npt.NDArray[np.float64]

_MISSING: Final = tuple(f"without {s}" for s in SEQUENCES)
SIGNS: Final[Mapping[str, tuple[str, ...]]] = {
    "WT": ("own", "ml", "sharp", "main", "mirrored", "core", "distance", *_MISSING),
    "TC": ("own", "ml", "sharp", "main", "whole", "core", "apart", "distance", *_MISSING),
    "ET": ("own", "ml", "sharp", "main", "whole", "core", "distance", *_MISSING),
}
PENALTIES: Final = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Ridge penalties that are tried, per sign of unit spread."""

LEAST_PATIENTS: Final = 20
FOLDS: Final = 10
_KEPT_RESIDUALS: Final = 60


@dataclass(frozen=True)
class Judged:
    """One answer of a model that was compared with the truth.

    Attributes:
        patient: answers of one patient (with other sets of sequences) are kept together.
        signs: per region, of ``quality_signs``.
        dice: per region, against the truth.
        kind: what the case is, in words, such as "adult" or "synthetic child".
        has_tumour: whether the truth marks any voxel.
    """

    patient: str
    signs: Mapping[str, Mapping[str, float]]
    dice: Mapping[str, float]
    kind: str = ""
    has_tumour: bool = True


@dataclass(frozen=True)
class RegionFit:
    """A rule, and what it expected of cases while it had not seen their patient.

    Attributes:
        rule: fitted on all.
        expected: (n,) logits, out of fold.
        true: (n,) logits.
        used: numbers of the answers that had signs of the region.
        penalty: that did best out of fold.
    """

    rule: RegionRule
    expected: Values
    true: Values
    used: tuple[int, ...]
    penalty: float


def fit_region(judged: Sequence[Judged], region: str) -> RegionFit | None:
    """Fit one region's rule; None where fewer than ``LEAST_PATIENTS`` patients have the region marked.

    The penalty is the one with the smallest error out of fold, with all answers of a patient in one fold. Every patient
    weighs the same, however many of its answers there are.
    """
    used = tuple(number for number, one in enumerate(judged) if region in one.signs)
    patients = sorted({judged[number].patient for number in used})
    if len(patients) < LEAST_PATIENTS:
        return None
    names = SIGNS[region]
    signs = np.array([[judged[number].signs[region][name] for name in names] for number in used])
    true = np.array([logit(judged[number].dice[region]) for number in used])
    of_patient = np.array([patients.index(judged[number].patient) for number in used])
    weight = 1 / np.bincount(of_patient)[of_patient]
    fold = np.random.default_rng(0).permutation(len(patients))[of_patient] % FOLDS

    def out_of_fold(penalty: float) -> Values:
        expected = np.zeros(len(true))
        for number in range(FOLDS):
            seen = fold != number
            expected[~seen] = _ridge(signs[seen], true[seen], weight[seen], penalty)(signs[~seen])
        return expected

    tried = {penalty: out_of_fold(penalty) for penalty in PENALTIES}
    penalty = min(tried, key=lambda one: float((weight * (true - tried[one]) ** 2).sum()))
    expected = tried[penalty]
    fitted = _ridge(signs, true, weight, penalty)
    residuals = _weighted_quantiles(true - expected, weight, len(patients))
    rule = RegionRule(
        names=names,
        mean=_plain(fitted.mean),
        deviation=_plain(fitted.deviation),
        weight=_plain(fitted.weight),
        intercept=round(fitted.intercept, 5),
        residuals=_plain(residuals),
    )
    return RegionFit(rule, expected, true, used, penalty)


def fit_quality(judged: Sequence[Judged], fitted_on: str) -> tuple[QualityRule | None, dict[str, RegionFit]]:
    """Fit all regions.

    Args:
        judged: answers to cases that the model was not trained on.
        fitted_on: what they are, in words that a reader of a result is shown.
    """
    fits = {region: fit for region in SIGNS if (fit := fit_region(judged, region))}
    if not fits:
        return None, fits
    no_tumour = learn_no_tumour(judged, fits["WT"]) if "WT" in fits else None
    rules = {region: fit.rule for region, fit in fits.items()}
    return QualityRule(rules, fitted_on, no_tumour, count_core_apart(judged)), fits


def count_core_apart(judged: Sequence[Judged]) -> CoreApartRule | None:
    """In how many patients most of the marked core lay apart from enhancement, and how many of these cores were poor.

    Args:
        judged: the answers of the fit; those without t1c, which tell no enhancement, are left out.

    Returns:
        None where no such core was poor.
    """
    dice: dict[str, list[float]] = {}
    for one in judged:
        signs = one.signs.get("TC")
        if signs and not signs["without t1c"] and signs["apart"] >= APART_FROM and volume_of(signs["ml"]) >= LEAST_ML:
            dice.setdefault(one.patient, []).append(one.dice["TC"])
    poor = sum(float(np.mean(values)) < POOR_BELOW["TC"] for values in dice.values())
    return CoreApartRule(len(dice), poor) if poor else None


def learn_no_tumour(judged: Sequence[Judged], whole: RegionFit) -> NoTumourRule | None:
    """How low the expected Dice of WT is where there is no tumour, and how often there is one all the same.

    Args:
        judged: the answers of the fit.
        whole: the fit of WT, whose expectations are out of fold.

    Returns:
        the rule with the next twentieth above nine of ten answers to brains without a tumour; None where there is no
        such brain, or they are expected to be good.
    """
    expected = [(judged[number], share_of(float(e))) for number, e in zip(whole.used, whole.expected, strict=True)]
    free = [dice for one, dice in expected if not one.has_tumour]
    if not free:
        return None
    below = (int(float(np.quantile(free, 0.9)) * 20) + 1) / 20
    if below > POOR_BELOW["WT"]:
        return None
    low = {one.patient for one, dice in expected if dice < below}
    without = {one.patient for one, dice in expected if dice < below and not one.has_tumour}
    return NoTumourRule(below, len(low), len(without))


@dataclass(frozen=True)
class _Ridge:
    mean: Values
    deviation: Values
    weight: Values
    intercept: float

    def __call__(self, signs: Values) -> Values:
        return self.intercept + np.clip((signs - self.mean) / self.deviation, -3, 3) @ self.weight


def _ridge(signs: Values, true: Values, weight: Values, penalty: float) -> _Ridge:
    """Weighted ridge regression on standardised signs."""
    whole = weight.sum()
    mean = weight @ signs / whole
    deviation = np.sqrt(np.maximum(weight @ (signs - mean) ** 2 / whole, 1e-6))
    z = np.clip((signs - mean) / deviation, -3, 3)
    centre_z, centre = weight @ z / whole, float(weight @ true / whole)
    z0, t0 = z - centre_z, true - centre
    slopes = np.linalg.solve(z0.T @ (z0 * weight[:, None]) + penalty * np.eye(z.shape[1]), z0.T @ (weight * t0))
    return _Ridge(mean, deviation, slopes, centre - float(centre_z @ slopes))


def _weighted_quantiles(values: Values, weight: Values, patients: int) -> Values:
    """Evenly spaced quantiles, a little farther out than the sample's: few patients do not show the rare ends."""
    order = np.argsort(values)
    place = (np.cumsum(weight[order]) - weight[order] / 2) / weight.sum()
    wanted = (np.arange(_KEPT_RESIDUALS) + 0.5) / _KEPT_RESIDUALS
    return np.asarray(np.interp(0.5 + (wanted - 0.5) * (1 + 1 / patients), place, values[order]))


def _plain(values: Values) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)


def auc(score: Values, positive: npt.NDArray[np.bool_]) -> float:
    """Chance that a positive case scores higher than a negative one; NaN where one of the kinds is missing."""
    from scipy.stats import rankdata

    yes, no = int(positive.sum()), int((~positive).sum())
    if not yes or not no:
        return float("nan")
    return float((rankdata(score)[positive].sum() - yes * (yes + 1) / 2) / (yes * no))


def bootstrap(
    patients: Sequence[str], figure: Callable[[npt.NDArray[np.int64]], float], rounds: int = 2000
) -> tuple[float, float]:
    """Interval (5 % to 95 %) of a figure when patients are drawn anew.

    Args:
        patients: of each answer.
        figure: of the answers with these numbers; NaN where it is not defined.
        rounds: drawings.
    """
    rng = np.random.default_rng(1)
    names = sorted(set(patients))
    rows: dict[str, list[int]] = {name: [] for name in names}
    for number, name in enumerate(patients):
        rows[name].append(number)
    found: list[Any] = []
    for _ in range(rounds):
        drawn = rng.integers(len(names), size=len(names))
        found.append(figure(np.array([n for one in drawn for n in rows[names[one]]])))
    low, high = np.nanquantile(found, [0.05, 0.95])
    return float(low), float(high)
