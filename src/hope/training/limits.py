"""What a finished model has to know of its limits: which inputs are ordinary, and how far off its volumes may be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hope.domain.errors import BundleError, InputError
from hope.domain.intervals import IntervalRule
from hope.domain.labels import first_of_sets
from hope.domain.progress import Progress
from hope.formats.atomic import atomic_output
from hope.models.out_of_distribution import OLD_FILE, OUT_OF_DISTRIBUTION, OutOfDistributionScore, stored_file
from hope.models.runtime import MIRROR_AXES, OVERLAP
from hope.models.sliding_window import sliding_window
from hope.training.config import TrainingConfig
from hope.training.intervals import LEAST_CASES, Counted, count, learn_intervals
from hope.training.out_of_distribution import MOST_CASES, fit_out_of_distribution
from hope.training.pool import CasePool

INTERVALS = "intervals.json"
CALIBRATION_SEED = 990_002
"""Synthetic cases of this series are never trained on."""


def forget_limits(folder: Path) -> None:
    """Remove what an earlier end of this run wrote: it does not hold for weights that are trained on."""
    for name in (OUT_OF_DISTRIBUTION, OLD_FILE, INTERVALS):
        (folder / name).unlink(missing_ok=True)


def write_limits(average: nn.Module, pool: CasePool, config: TrainingConfig, folder: Path, progress: Progress) -> None:
    """Write ``out_of_distribution.json`` and ``intervals.json`` beside the checkpoint, where they are not there yet.

    Nothing is written where there are too few cases to know.

    Args:
        average: the finished network, on its device.
        pool: the cases of the run.
        config: settings.
        folder: of the run.
        progress: called for every case.

    Raises:
        OutputError: if they cannot be written.
    """
    if stored_file(folder) is None:
        progress("train: what an ordinary case looks like", 1.0)
        real = pool.real_cases()
        samples = [*real, *pool.newest(config.steps, max(0, MOST_CASES - len(real)))]
        if known := fit_out_of_distribution(samples, config.spacing_mm):
            _write(folder / OUT_OF_DISTRIBUTION, known.to_json())
    if config.calibration_cases >= LEAST_CASES and not (folder / INTERVALS).is_file():
        counted = _counted(average, pool, config, progress)
        if rule := learn_intervals(counted, "synthetic cases that it was not trained on"):
            _write(folder / INTERVALS, rule.to_json())


def _write(path: Path, values: dict[str, Any]) -> None:
    with atomic_output(path) as stream:
        stream.write(json.dumps(values).encode())


def read_out_of_distribution(folder: Path) -> OutOfDistributionScore | None:
    """Of a run's folder; None if the run wrote none.

    Raises:
        InputError: if the file is damaged.
    """
    try:
        return OutOfDistributionScore.read(folder)
    except BundleError as error:
        raise InputError(f"the run's {OUT_OF_DISTRIBUTION} cannot be read", fix="delete it and add --resume") from error


def read_intervals(folder: Path) -> IntervalRule | None:
    """Of a run's folder; None if the run wrote none.

    Raises:
        InputError: if the file is damaged.
    """
    path = folder / INTERVALS
    if not path.is_file():
        return None
    try:
        return IntervalRule.from_json(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"the run's {INTERVALS} cannot be read", fix="delete it and add --resume") from error


@torch.no_grad()
def _probability(
    network: nn.Module, images: npt.NDArray[np.float16], tile: tuple[int, int, int]
) -> npt.NDArray[np.float32]:
    """The answer to a case in the same tiles, seen mirrored too, as at inference; (5, i, j, k)."""
    x = torch.from_numpy(images.astype(np.float32)).to(next(network.parameters()).device)
    prediction = sliding_window(network, x, tile, OVERLAP, lambda _done, _all: None, MIRROR_AXES)
    return np.asarray(prediction.cpu().numpy())


def _counted(
    network: nn.Module, pool: CasePool, config: TrainingConfig, progress: Progress
) -> Sequence[dict[str, Counted]]:
    network.eval()
    found, cases = [], config.calibration_cases
    for number, (images, sets) in enumerate(pool.others(CALIBRATION_SEED, cases), start=1):
        found.append(count(_probability(network, images, config.tile), first_of_sets(sets)))
        progress(f"train: intervals, case {number} of {cases}", 1.0)
    return found
