"""Learns from training cases what an ordinary input looks like, so that a bundle can tell a strange one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hope.models.out_of_distribution import OutOfDistributionScore, measurements, table
from hope.training.stored import Sample

LEAST_CASES = 90
"""With fewer the spread of some fifty measurements is not known well enough to warn anyone."""

MOST_CASES = 300
MARGIN = 1.2
"""The limit, over the largest distance of the third of the cases that the spread was not fitted to."""


def fit_out_of_distribution(samples: Sequence[Sample], spacing_mm: float) -> OutOfDistributionScore | None:
    """Fit the spread of the measurements to two thirds of the cases and the limit to the last third.

    Args:
        samples: normalised cases, in any order that does not depend on what they show; those that lack a sequence are
            left out.
        spacing_mm: of their grid.

    Returns:
        None if there are fewer than ``LEAST_CASES`` complete cases.
    """
    from sklearn.covariance import LedoitWolf

    # A sequence that a case does not have was filled with 0, which says nothing about what that sequence looks like.
    complete = [sample for sample in samples if (sample[0] != 0).any(axis=(1, 2, 3)).all()]
    used = complete[-MOST_CASES:]
    if len(used) < LEAST_CASES:
        return None
    found = [measurements(images, (images != 0).any(axis=0), spacing_mm) for images, _ in used]
    names, values = table(found)
    fitted = np.arange(len(values)) % 3 != 2
    mean, deviation = values[fitted].mean(axis=0), values[fitted].std(axis=0) + 1e-6
    shrunk = LedoitWolf().fit((values[fitted] - mean) / deviation)
    known = OutOfDistributionScore(names, mean, deviation, np.asarray(shrunk.covariance_), 1.0, len(used))
    farthest = max(known.distance(case) for case, inside in zip(found, fitted, strict=True) if not inside)
    return OutOfDistributionScore(names, mean, deviation, known.correlation, MARGIN * farthest, len(used))
