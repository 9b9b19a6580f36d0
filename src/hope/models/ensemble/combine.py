"""What the members of an ensemble say, added up in place: mean probabilities, votes, and in the end the labels.

The answer per voxel and class is the sum of every member's probability times its weight, divided by the sum of all
weights. A member says nothing, or background, outside of the box that it looked at (`Outside`); where it says nothing,
the probabilities of a voxel add up to less than 1, as in the published ensemble.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hope.domain.grid import Shape
from hope.domain.labels import CC, ED, ET, NET, PEDS, REGIONS
from hope.models.ensemble.spec import Outside

PARTS: Mapping[str, tuple[int, ...]] = {
    "ET": (ET,),
    "NET": (NET,),
    "CC": (CC,),
    "ED": (ED,),
    "TC": REGIONS["TC"],
    "WT": REGIONS["WT"],
}
"""Peds values of every label and region that probabilities are told for."""
_CLASSES = len(PEDS.labels) + 1


@dataclass(frozen=True)
class Place:
    """Where and in what order an array (classes, *box) of a member lies in the case.

    Attributes:
        order: for each axis of the member's array the axis (0, 1, 2) of the case.
        box: in voxels of the case, axes in the member's order.
        classes: peds value of each class of the member.
    """

    order: tuple[int, int, int]
    box: tuple[slice, slice, slice]
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Combined:
    """The ensemble's answer, axes of the case.

    Attributes:
        labels: uint8 peds values; the lowest of equally probable ones.
        probability: per key of `PARTS` float16.
        agreement: per key of `PARTS` the share of members, by weight, that say so; float16.
    """

    labels: npt.NDArray[np.uint8]
    probability: Mapping[str, npt.NDArray[np.float16]]
    agreement: Mapping[str, npt.NDArray[np.float16]]


class ProbabilityAccumulator:
    """Running sums over members.

    Args:
        shape: of the case.
        device: where the sums are kept.
    """

    def __init__(self, shape: Shape, device: torch.device) -> None:
        self._probability = torch.zeros((_CLASSES, *shape), device=device)
        self._votes = torch.zeros((_CLASSES - 1, *shape), device=device)

    def move(self, device: torch.device) -> None:
        """Keep the sums elsewhere from now on."""
        self._probability, self._votes = self._probability.to(device), self._votes.to(device)

    def add(self, probability: Tensor, place: Place, weight: float, outside: Outside) -> None:
        """Add a member's, or a group's, probabilities (classes, *box)."""
        whole = self._probability.permute(0, *(axis + 1 for axis in place.order))
        beyond = _beyond(whole.shape[1:], place.box) if outside is Outside.BACKGROUND else []
        given = probability.to(whole.device)
        for value, part in zip(place.classes, given, strict=True):
            whole[value][place.box].add_(part, alpha=weight)
        for slab in beyond:
            whole[0][slab].add_(weight)

    def vote(self, scores: Tensor, place: Place, weight: float) -> None:
        """Count a member's vote for its likeliest class; outside of its box it votes for background."""
        whole = self._votes.permute(0, *(axis + 1 for axis in place.order))
        winner = _likeliest(scores)
        # All votes first: running out of memory on the way then leaves the sums as they were.
        votes = {value: (winner == n).to(whole.device) for n, value in enumerate(place.classes) if value}
        for value, vote in votes.items():
            whole[value - 1][place.box].add_(vote, alpha=weight)

    def finish(self, weight: float) -> Combined:
        """Divide by the sum of all weights and choose the labels. The sums cannot be added to afterwards."""
        probability, votes = self._probability.div_(weight).cpu(), self._votes.div_(weight).cpu()
        return Combined(
            _likeliest(probability).numpy(),
            {key: _half(probability[list(values)]) for key, values in PARTS.items()},
            {key: _half(votes[[value - 1 for value in values]]) for key, values in PARTS.items()},
        )


def _likeliest(scores: Tensor) -> Tensor:
    """Index of the highest score along axis 0, the first of equal ones, as uint8: argmax in a tenth of the time."""
    best = scores[0].clone()
    winner = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for index, score in enumerate(scores[1:], start=1):
        winner.masked_fill_(score > best, index)
        torch.maximum(best, score, out=best)
    return winner


def _half(parts: Tensor) -> npt.NDArray[np.float16]:
    return np.asarray(parts.sum(dim=0).to(torch.float16).numpy())


def _beyond(shape: Sequence[int], box: tuple[slice, slice, slice]) -> list[tuple[slice, slice, slice]]:
    """Six slabs, some of them empty, that hold every voxel outside of the box once."""
    slabs: list[list[slice]] = []
    for axis in range(3):
        before, after = [*box[:axis]], [slice(0, n) for n in shape[axis + 1 :]]
        slabs += [[*before, side, *after] for side in (slice(0, box[axis].start), slice(box[axis].stop, shape[axis]))]
    return [(i, j, k) for i, j, k in slabs]
