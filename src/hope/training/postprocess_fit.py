"""Adaptive post-processing learned from one's own predictions: clusters, thresholds, and an honest judgement of both.

A caution that belongs to every such rule: the lesion-wise score gives a region 1 where neither mask has any of it. A
threshold that removes a whole class can so raise the mean while it takes from the reader what the model saw. The report
says how much of a gain comes from there, and which classes a rule would remove in how many cases.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hope.domain.errors import InputError
from hope.domain.labels import PEDS
from hope.domain.progress import Progress, silent
from hope.domain.wording import counted
from hope.evaluation.lesionwise import HEADLINE_RULES
from hope.stages.postprocess.adaptive import AdaptivePostprocess
from hope.stages.postprocess.clusters import ClusterModel
from hope.stages.postprocess.postprocess_rules import PostprocessRules
from hope.training.cluster_fit import CASES_PER_CLUSTER, Normalisation, fit_clusters
from hope.training.lesion_tables import LABELS, ORDER, REDEFINE_TO, CaseScore, CaseTable, Thresholds
from hope.training.threshold_search import LEAST_CASES, LEAST_GAIN, SAME, fit_thresholds, split

MOST_CLUSTERS: Final = 9
RELIABLE_CASES: Final = 10
"""With fewer cases a cluster's thresholds are called unreliable; `auto` tries no more clusters than that allows."""

CLEARLY: Final = 2.0
"""Standard errors by which more clusters have to be better than fewer, so that chance alone seldom brings them."""

WHOLE_CLASS_SHARE: Final = 0.2
"""A rule that removes a whole class in more than this share of the cases that have it is warned of; and any that
removes a whole class where the truth has it."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FitCase:
    """One case to learn from: its counts, and the tumour's features (None where one cluster is all that is wanted)."""

    table: CaseTable
    features: Mapping[str, float] | None = None


@dataclass(frozen=True)
class FitChoices:
    """What the user chose.

    Attributes:
        clusters: how many, or None to let the cross-validated score choose.
        folds: of every cross-validation.
        seed: of everything random.
        normalisation: of the features.
        scheme: label scheme that the truth was drawn in.
        name: of the rules.
    """

    clusters: int | None = None
    folds: int = 5
    seed: int = 0
    normalisation: Normalisation = "l2"
    scheme: str = "peds"
    name: str = "own"


@dataclass(frozen=True)
class Judgement:
    """Scores on held-out cases, per case and region: each case was judged by rules that never saw it.

    Attributes:
        regions: keys of the columns.
        before, after: (cases, regions) lesion-wise Dice.
        dice_before, dice_after: plain Dice.
        in_truth: whether the truth has a lesion of the region that counts.
    """

    regions: tuple[str, ...]
    before: FloatArray
    after: FloatArray
    dice_before: FloatArray
    dice_after: FloatArray
    in_truth: npt.NDArray[np.bool_]

    @property
    def better(self) -> int:
        """Cases whose mean over the regions rose."""
        return int(np.count_nonzero(self.after.mean(axis=1) > self.before.mean(axis=1) + SAME))

    @property
    def worse(self) -> int:
        """Cases whose mean over the regions fell."""
        return int(np.count_nonzero(self.after.mean(axis=1) < self.before.mean(axis=1) - SAME))

    def rows(self) -> dict[str, dict[str, float | int | None]]:
        """Means per region, and of all regions under ``mean``; ``dice`` over the cases whose truth has the region."""
        table: dict[str, dict[str, float | int | None]] = {}
        for number, key in enumerate((*self.regions, "mean")):
            column = slice(number, number + 1) if number < len(self.regions) else slice(None)
            present = self.in_truth[:, column]
            gain = self.after[:, column] - self.before[:, column]
            table[key] = {
                "in_truth": int(np.count_nonzero(present)) if key != "mean" else None,
                "lesionwise_before": float(self.before[:, column].mean()),
                "lesionwise_after": float(self.after[:, column].mean()),
                "gain_where_truth_has_none": float(np.where(present, 0.0, gain).mean()),
                "dice_before": _mean(self.dice_before[:, column][present]),
                "dice_after": _mean(self.dice_after[:, column][present]),
            }
        return table


@dataclass(frozen=True)
class PostprocessFit:
    """What was learned, and how good it is.

    Attributes:
        adaptive: rules and cluster model.
        judgement: cross-validated.
        cases_per_cluster: of the final cluster model.
        warnings: sentences that the user has to read.
    """

    adaptive: AdaptivePostprocess
    judgement: Judgement
    cases_per_cluster: tuple[int, ...]
    warnings: tuple[str, ...]
    choices: FitChoices

    def to_json(self) -> dict[str, Any]:
        """The file: ``hope-postprocess/1``, and under ``fit`` how it came about; no case is named."""
        fit = {
            "cases": int(self.judgement.before.shape[0]),
            "cases_per_cluster": list(self.cases_per_cluster),
            "folds": self.choices.folds,
            "seed": self.choices.seed,
            "scheme": self.choices.scheme,
            "lesionwise": HEADLINE_RULES,
            "cross_validated": self.judgement.rows(),
            "cases_better": self.judgement.better,
            "cases_worse": self.judgement.worse,
            "warnings": list(self.warnings),
        }
        return {**self.adaptive.to_json(), "fit": fit}


def fit_postprocess(cases: Sequence[FitCase], choices: FitChoices, progress: Progress = silent) -> PostprocessFit:
    """Learn clusters and thresholds.

    The judgement repeats everything per fold without the fold's cases: the cluster model, which thresholds are kept,
    and their values. Only the number of clusters, where it is left open, is chosen by that very judgement, which makes
    it a little too good.

    Args:
        cases: with a predicted tumour; with features unless one cluster is asked for.
        choices: of the user.
        progress: called with which number of clusters is tried.

    Raises:
        InputError: if there are too few cases.
    """
    if len(cases) < LEAST_CASES:
        raise InputError(
            "there are too few cases to learn post-processing from",
            expected=f"at least {LEAST_CASES} with a predicted tumour",
            got=str(len(cases)),
        )
    _check_clusters(len(cases), choices)
    counts = [choices.clusters] if choices.clusters else list(range(1, most_clusters(len(cases)) + 1))
    judgements: dict[int, Judgement] = {}
    for number, count in enumerate(counts):
        progress(f"postprocess: cross-validate {count} cluster{'s' if count > 1 else ''}", number / (len(counts) + 1))
        judgements[count] = _cross_validate(cases, count, choices)
    best = counts[0]
    for count in counts[1:]:
        # More clusters have to earn their place: they need images and features at every later run.
        if _clearly_better(judgements[count].after, judgements[best].after):
            best = count
    progress("postprocess: fit on all cases", len(counts) / (len(counts) + 1))
    model, thresholds, cluster_of = _fit(cases, best, choices)
    rules = PostprocessRules(
        choices.name,
        tuple(one.rules() for one in thresholds),
        REDEFINE_TO,
        ORDER,
        f"Learned by `hope train postprocess` from {counted(len(cases), 'cases')}; sizes count voxels of the 1 mm "
        "atlas grid.",
    )
    sizes = tuple(int(n) for n in np.bincount(cluster_of, minlength=best))
    warnings = [*_reliability(sizes, thresholds), *_whole_classes(cases, cluster_of, thresholds)]
    judged = judgements[best]
    if any(one != Thresholds() for one in thresholds) and judged.after.mean() <= judged.before.mean() + SAME:
        warnings.insert(0, "on held-out cases these rules do not help: do not use them")
    if len(counts) > 1 and best > 1:
        warnings.append(
            f"{best} clusters, out of 1 to {counts[-1]}, were chosen by these very scores, which makes the scores a "
            "little too good"
        )
    return PostprocessFit(AdaptivePostprocess(rules, model), judged, sizes, tuple(warnings), choices)


def most_clusters(cases: int) -> int:
    """How many clusters `auto` tries at most: so many that each can hold ``RELIABLE_CASES``."""
    return min(MOST_CLUSTERS, max(1, cases // RELIABLE_CASES))


def _check_clusters(cases: int, choices: FitChoices) -> None:
    """See that every fold leaves enough cases for the clusters that were asked for.

    Raises:
        InputError: with the number of cases that would do.
    """
    wanted = choices.clusters or 1
    if wanted == 1:
        return
    enough = next(
        n for n in itertools.count(2) if n - math.ceil(n / min(choices.folds, n)) >= CASES_PER_CLUSTER * wanted
    )
    if cases < enough:
        raise InputError(
            f"{wanted} clusters need more cases",
            expected=f"at least {enough}, so that {CASES_PER_CLUSTER} for each are left when a fold is held out",
            got=str(cases),
        )


def _fit(
    cases: Sequence[FitCase], count: int, choices: FitChoices
) -> tuple[ClusterModel | None, list[Thresholds], list[int]]:
    """Cluster model, thresholds per cluster, and the cluster of each case."""
    model, cluster_of = None, [0] * len(cases)
    if count > 1:
        features = [_features(case) for case in cases]
        model = fit_clusters(features, count, choices.normalisation, choices.seed, f"{choices.name}-{count}")
        cluster_of = [model.assign(one) for one in features]
    thresholds = []
    for cluster in range(count):
        tables = [case.table for case, own in zip(cases, cluster_of, strict=True) if own == cluster]
        thresholds.append(fit_thresholds(tables, choices.folds, choices.seed))
    return model, thresholds, cluster_of


def _cross_validate(cases: Sequence[FitCase], count: int, choices: FitChoices) -> Judgement:
    after: dict[int, CaseScore] = {}
    for inside, outside in split(len(cases), choices.folds, choices.seed):
        model, thresholds, _ = _fit([cases[number] for number in inside], count, choices)
        for number in outside:
            cluster = model.assign(_features(cases[number])) if model else 0
            after[number] = cases[number].table.score(thresholds[cluster])
    before = [case.table.score(Thresholds()) for case in cases]
    ordered = [after[number] for number in range(len(cases))]
    return Judgement(
        tuple(cases[0].table.regions),
        np.array([score.lesionwise for score in before]),
        np.array([score.lesionwise for score in ordered]),
        np.array([score.dice for score in before]),
        np.array([score.dice for score in ordered]),
        np.array([[region.in_truth for region in case.table.regions.values()] for case in cases]),
    )


def _features(case: FitCase) -> Mapping[str, float]:
    if case.features is None:
        raise InputError("several clusters need the features of every case", fix="ask for one cluster")
    return case.features


def _reliability(sizes: Sequence[int], thresholds: Sequence[Thresholds]) -> list[str]:
    messages = []
    for cluster, (size, one) in enumerate(zip(sizes, thresholds, strict=True)):
        few = f"cluster {cluster} has {size} case{'' if size == 1 else 's'}"
        if size < LEAST_CASES:
            messages.append(f"{few}, too few for any threshold: nothing is removed or renamed in it")
        elif size < RELIABLE_CASES and one != Thresholds():
            messages.append(f"{few}: with fewer than {RELIABLE_CASES} its thresholds are not reliable")
    return messages


def _whole_classes(cases: Sequence[FitCase], cluster_of: Sequence[int], thresholds: Sequence[Thresholds]) -> list[str]:
    """Sentences on the classes that a rule takes away entirely, and on how many of those the truth has."""
    messages = []
    for cluster, one in enumerate(thresholds):
        tables = [case.table for case, own in zip(cases, cluster_of, strict=True) if own == cluster]
        for place, value in enumerate(LABELS):
            key = next(label.key for label in PEDS.labels if label.value == value)
            having = [table for table in tables if table.score(Thresholds()).voxels[place]]
            emptied = [table for table in having if not table.score(one).voxels[place]]
            true = sum(1 for table in emptied if key in table.regions and table.regions[key].in_truth)
            if not true and len(emptied) <= WHOLE_CLASS_SHARE * len(having):
                continue
            messages.append(
                f"cluster {cluster}: the rules take all {key} away in {len(emptied)} of the {len(having)} cases in "
                f"which the model found some; in {true} of these {len(emptied)} the truth has {key} too"
            )
    return messages


def _clearly_better(more: FloatArray, fewer: FloatArray) -> bool:
    """Whether the mean over cases rises by ``LEAST_GAIN``, and by ``CLEARLY`` standard errors of the difference."""
    gain = more.mean(axis=1) - fewer.mean(axis=1)
    error = float(gain.std(ddof=1)) / math.sqrt(len(gain))
    return float(gain.mean()) >= max(LEAST_GAIN, CLEARLY * error)


def _mean(values: FloatArray) -> float | None:
    return float(values.mean()) if values.size else None
