"""A model on the labelled cases of one site: the masks of ``hope infer``, the scores of ``hope evaluate``, means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hope.domain.errors import HopeError, InputError, OutputError
from hope.evaluation.evaluate import CaseScores, evaluate, flat_scores
from hope.federated.responses import QUANTILES, QUANTILES_FROM, Measured, Scores
from hope.formats.nifti import read_labels, write_labels
from hope.formats.private_directory import private_directory
from hope.pipeline import run_case
from hope.ports import BrainExtractor, Predictor
from hope.services import Services
from hope.stages.intake.case_finding import CaseSource
from hope.training.real_cases import segmentation_of


def labelled(sources: Sequence[CaseSource]) -> dict[str, tuple[CaseSource, Path]]:
    """The cases that have one mask beside their scans, by case id, each with that mask."""
    found = {}
    for source in sources:
        try:
            found[source.case_id] = (source, segmentation_of(source))
        except InputError:
            continue  # counted by whoever compares the lengths
    return found


def score_case(source: CaseSource, truth: Path, scheme: str, predictor: Predictor, brain: BrainExtractor) -> CaseScores:
    """Segment one case as ``hope infer`` does and compare the mask with the truth as ``hope evaluate`` does.

    Nothing stays on disk.

    Args:
        source: the case.
        truth: its mask.
        scheme: label scheme of the mask.
        predictor: runs the model.
        brain: for scans that still show the head.

    Raises:
        InputError: if scans or mask cannot be used.
        StageError: if a stage fails.
    """
    with private_directory() as scratch:
        result = run_case(source, predictor, brain, scratch)
        # Through a file, as there: its header rounds the spacing that the distances are in.
        mask = scratch / "mask.nii.gz"
        write_labels(result.native_labels, mask)
        return evaluate(read_labels(mask, "prediction"), read_labels(truth, "truth"), scheme)


def evaluate_site(
    sources: Sequence[CaseSource], scheme: str, services: Services, model_id: str
) -> tuple[list[CaseScores], Counter[str], int]:
    """Score every labelled case.

    Args:
        sources: the site's cases.
        scheme: label scheme of their masks.
        services: run the model.
        model_id: the model.

    Returns:
        the scores; how many cases failed, by kind (``responses.FAILURES``); how many have no mask.
    """
    scores: list[CaseScores] = []
    failed: Counter[str] = Counter()
    readable = [source for source in sources if source.problem is None]
    failed["scans"] += len(sources) - len(readable)
    cases = labelled(readable)
    predictor, brain = services.predictor(model_id, where="local"), services.brain_extractor()
    predictor.prepare()
    for source, truth in cases.values():
        try:
            scores.append(score_case(source, truth, scheme, predictor, brain))
        except Exception as error:
            failed[kind_of(error)] += 1
    return scores, +failed, len(readable) - len(cases)


def kind_of(error: Exception) -> str:
    """The kind of failure, which is all that is stated of an error: its text may hold a name."""
    if isinstance(error, InputError):
        return "scans"
    if isinstance(error, OSError | OutputError):
        return "files"
    return "stage" if isinstance(error, HopeError) else "fault"


def summarize(scores: Sequence[CaseScores], failed: Counter[str], unlabelled: int, least: int) -> Scores:
    """Means of a site, and quantiles from ten cases on.

    Args:
        scores: of its cases, one or more.
        failed: how many cases failed, by kind.
        unlabelled: how many have no mask.
        least: what fewer cases than this have is not stated.
    """
    columns = [flat_scores(case) for case in scores]
    regions: dict[str, dict[str, Measured | None]] = {}
    for case in columns:
        for region, row in case.items():
            regions.setdefault(region, {}).update(dict.fromkeys(row))
    for region, metrics in regions.items():
        for metric in metrics:
            rows = (case[region].get(metric) for case in columns if region in case)
            metrics[metric] = measured([value for value in rows if value is not None], least)
    return Scores(n=len(scores), failed=dict(failed), unlabelled=unlabelled, regions=regions)


def measured(values: Sequence[float], least: int) -> Measured | None:
    """n, mean and perhaps quantiles of some values; None if they are fewer than ``least``."""
    if len(values) < max(1, least):
        return None
    q25, q50, q75 = (float(q) for q in np.percentile(values, QUANTILES))
    return Measured(
        n=len(values),
        mean=float(np.mean(values)),
        quantiles=(q25, q50, q75) if len(values) >= QUANTILES_FROM else None,
    )
