"""A site's part in a federated training: read its cases, train some steps, measure a model on what it kept aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hope.federated.evaluation import kind_of, labelled, measured
from hope.federated.responses import Scores
from hope.federated.weights import Array, Weights
from hope.services import Services
from hope.stages.intake.case_finding import CaseSource
from hope.training.real_cases import by_kind, store_cases

if TYPE_CHECKING:
    from hope.training.config import TrainingConfig

Stored = dict[str, tuple[str, list[Path]]]

_ASIDE: Final = 4
"""One case in so many is kept aside, and at least as many as a site answers for."""
DICE: Final = "dice"


@dataclass(frozen=True)
class SiteCases:
    """The cases of a site as files of the model's grid.

    Attributes:
        learn: cases to train on, by id, as ``store_cases`` gives them.
        aside: cases that are never trained on.
        failed: how many cases failed, by kind.
        unlabelled: how many have no mask.
    """

    learn: Stored
    aside: Stored
    failed: Counter[str]
    unlabelled: int


def read_cases(
    sources: Sequence[CaseSource], config: TrainingConfig, folder: Path, services: Services
) -> tuple[Stored, Counter[str], int]:
    """Bring every labelled case to the model's grid; what lies in the folder already is not made again.

    Args:
        sources: the site's cases.
        config: voxel size and label scheme.
        folder: for the files; made if need be.
        services: the brain extractor.

    Returns:
        files of each case; how many cases failed, by kind; how many have no mask.
    """
    failed: Counter[str] = Counter()
    readable = [source for source in sources if source.problem is None]
    failed["scans"] += len(sources) - len(readable)
    cases, brain = labelled(readable), services.brain_extractor()
    stored: Stored = {}
    for source, _ in cases.values():
        try:
            stored |= store_cases([source], config, folder, brain, lambda _message, _share: None)
        except Exception as error:
            failed[kind_of(error)] += 1
    return stored, +failed, len(readable) - len(cases)


def split(stored: Stored, least: int) -> tuple[Stored, Stored]:
    """Cases to train on and cases kept aside: a quarter, or ``least`` if that is more.

    Which ones depends on their ids alone, and one more case hardly changes it: those with the smallest hashes.
    """
    by_hash = sorted(stored, key=lambda case_id: sha256(case_id.encode()).digest())
    count = max(least, len(by_hash) // _ASIDE)
    return (
        {case_id: stored[case_id] for case_id in sorted(by_hash[count:])},
        {case_id: stored[case_id] for case_id in sorted(by_hash[:count])},
    )


def train_site(
    weights: Weights, config: TrainingConfig, cases: SiteCases, first: int, last: int, folder: Path
) -> tuple[dict[str, Array], float]:
    """Train some steps on the site's cases; see ``hope.training.rounds.train_steps``."""
    from hope.training.config import hash_of_ids
    from hope.training.rounds import train_steps

    ids = list(cases.learn)
    config = replace(config, real_cases=len(ids), real_sha256=hash_of_ids(ids))
    return train_steps(weights, config, by_kind(cases.learn), first, last, folder)


def measure_site(weights: Weights, config: TrainingConfig, cases: SiteCases, least: int) -> Scores:
    """Dice of a model on the cases that the site kept aside, on the model's grid.

    Args:
        weights: of the model.
        config: of its network.
        cases: of the site.
        least: a region that fewer cases than this have is not stated.
    """
    from hope.training.rounds import dice_of_cases
    from hope.training.stored import read_sample

    samples = [read_sample(paths[0]) for _, paths in cases.aside.values()]
    found = dice_of_cases(weights, config, samples)
    regions = {
        region: {DICE: measured([case[region] for case in found if region in case], least)}
        for region in ("WT", "TC", "ET")
    }
    return Scores(n=len(samples), failed=dict(cases.failed), unlabelled=cases.unlabelled, regions=regions)
