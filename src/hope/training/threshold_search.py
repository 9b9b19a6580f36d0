"""Thresholds of one cluster: searched one after another, and kept only where they help on cases held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from hope.training.lesion_tables import LABELS, ORDER, CaseTable, Thresholds

MINIMUM_GRID: Final = tuple(range(0, 501, 25))
SHARE_GRID: Final = tuple(round(0.05 * step, 2) for step in range(20))

LEAST_CASES: Final = 4
"""A cluster of fewer cases gets no thresholds at all."""

LEAST_GAIN: Final = 0.001
"""Mean lesion-wise Dice that a threshold has to bring on held-out cases, else it is not kept."""

SAME = 1e-9
"""Scores that differ by less are equal: the rest is rounding."""


class Kind(StrEnum):
    """The two kinds of thresholds."""

    MINIMUM = "minimum"
    SHARE = "share"


@dataclass(frozen=True)
class Knob:
    """One threshold that can be turned: its kind, and the label it is for."""

    kind: Kind
    label: int

    @property
    def grid(self) -> tuple[float, ...]:
        """Values that are tried, ascending from 0."""
        return MINIMUM_GRID if self.kind is Kind.MINIMUM else SHARE_GRID

    def turned(self, thresholds: Thresholds, value: float) -> Thresholds:
        """The thresholds with this one at ``value``."""
        place = LABELS.index(self.label)
        if self.kind is Kind.MINIMUM:
            sizes = thresholds.minimum
            return replace(thresholds, minimum=(*sizes[:place], int(value), *sizes[place + 1 :]))
        shares = thresholds.share
        return replace(thresholds, share=(*shares[:place], float(value), *shares[place + 1 :]))


KNOBS: Final = (*(Knob(Kind.MINIMUM, label) for label in LABELS), *(Knob(Kind.SHARE, label) for label in ORDER))
"""In the order in which the rules work: components of every label first, then the shares."""


def mean_score(cases: Sequence[CaseTable], thresholds: Thresholds) -> float:
    """Mean lesion-wise Dice over cases and regions."""
    return sum(case.score(thresholds).mean for case in cases) / len(cases)


def search(cases: Sequence[CaseTable], knobs: Sequence[Knob]) -> Iterator[tuple[Knob, Thresholds]]:
    """Turn one knob after another to the value that scores best; of equal ones to the lowest, which removes least.

    Yields:
        Each knob with the thresholds after its turn.
    """
    thresholds = Thresholds()
    best = mean_score(cases, thresholds)
    for knob in knobs:
        start = thresholds
        for value in knob.grid[1:]:
            tried = knob.turned(start, value)
            score = mean_score(cases, tried)
            if score > best + SAME:
                best, thresholds = score, tried
        yield knob, thresholds


def fit_thresholds(cases: Sequence[CaseTable], folds: int, seed: int) -> Thresholds:
    """The thresholds of one cluster.

    In each fold the knobs are turned on the other folds' cases, and what every turn brings is measured on the fold's
    own. A knob whose turns bring ``LEAST_GAIN`` on average over all held-out cases is kept; those that are kept are
    then turned on all cases.

    Args:
        cases: the cluster's cases.
        folds: into how many parts they are cut.
        seed: of the cut.
    """
    if len(cases) < LEAST_CASES:
        return Thresholds()
    gains = dict.fromkeys(KNOBS, 0.0)
    for inside, outside in split(len(cases), folds, seed):
        held_out = [cases[number] for number in outside]
        before = mean_score(held_out, Thresholds())
        for knob, thresholds in search([cases[number] for number in inside], KNOBS):
            after = mean_score(held_out, thresholds)
            gains[knob] += (after - before) * len(held_out) / len(cases)
            before = after
    kept = [knob for knob in KNOBS if gains[knob] >= LEAST_GAIN]
    return [Thresholds(), *(thresholds for _, thresholds in search(cases, kept))][-1]


def split(count: int, folds: int, seed: int) -> Iterator[tuple[list[int], list[int]]]:
    """Cut ``count`` cases into folds at random; yields per fold the other cases' numbers and its own."""
    order = np.random.default_rng(seed).permutation(count)
    for part in np.array_split(order, min(folds, count)):
        own = set(part.tolist())
        yield [number for number in range(count) if number not in own], sorted(own)
