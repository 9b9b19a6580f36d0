"""Which lesions of two dates are the same: by shared voxels on one common grid. numpy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

LEAST_SHARE: Final = 0.1
"""Two lesions are linked if they share at least this part of the smaller one's voxels."""


class Fate(StrEnum):
    """What became of a group of linked lesions."""

    SAME = "same"
    NEW = "new"
    GONE = "gone"
    SPLIT = "split"
    MERGED = "merged"
    REARRANGED = "rearranged"
    """Several lesions are linked with several."""
    OUTSIDE = "outside the other scan"
    """Linked with nothing, and for the most part where the other date was not scanned: nobody knows what was there."""


@dataclass(frozen=True)
class LesionMatch:
    """Lesions of the earlier and the later date that are linked with one another, by number, ascending."""

    fate: Fate
    earlier: tuple[int, ...]
    later: tuple[int, ...]


def match_lesions(earlier: npt.NDArray[np.integer], later: npt.NDArray[np.integer]) -> list[LesionMatch]:
    """Link the lesions of two dates.

    Args:
        earlier: (i, j, k) number of the lesion at each voxel of the common grid, from 1; 0 outside.
        later: likewise at the later date.

    Returns:
        groups of linked lesions: those with earlier lesions by their numbers, then the new ones.

    Raises:
        ValueError: if the shapes differ.
    """
    if earlier.shape != later.shape:
        raise ValueError(f"lesions are matched on one grid, got {earlier.shape} and {later.shape}")
    first, second = _sizes(earlier), _sizes(later)
    both = (earlier > 0) & (later > 0)
    pairs, shared = np.unique(np.stack([earlier[both], later[both]]), axis=1, return_counts=True)
    group: dict[tuple[int, int], int] = {}
    members: dict[int, list[tuple[int, int]]] = {}
    for number, key in enumerate([*((0, n) for n in first), *((1, n) for n in second)]):
        group[key], members[number] = number, [key]
    for (a, b), count in zip(pairs.T.tolist(), shared.tolist(), strict=True):
        if count < LEAST_SHARE * min(first[a], second[b]):
            continue
        kept, joined = sorted((group[0, a], group[1, b]))
        if kept != joined:
            for key in members.pop(joined):
                group[key] = kept
                members[kept].append(key)
    return [_match(keys) for _, keys in sorted(members.items())]


def _sizes(numbers: npt.NDArray[np.integer]) -> Mapping[int, int]:
    values, counts = np.unique(numbers[numbers > 0], return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _match(keys: list[tuple[int, int]]) -> LesionMatch:
    earlier, later = (tuple(sorted(number for date, number in keys if date == which)) for which in (0, 1))
    fates = {(0, 1): Fate.NEW, (1, 0): Fate.GONE, (1, 1): Fate.SAME, (1, 2): Fate.SPLIT, (2, 1): Fate.MERGED}
    return LesionMatch(fates.get((min(len(earlier), 2), min(len(later), 2)), Fate.REARRANGED), earlier, later)
