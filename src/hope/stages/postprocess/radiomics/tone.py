"""Neighbouring grey tone difference (NGTDM): how far each voxel's level is from the mean of its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from hope.stages.postprocess.radiomics.intensity import GreyLevels
from hope.stages.postprocess.radiomics.lines import Direction

COARSEST: Final = 1e6
"""Coarseness where no voxel differs from its neighbours."""


def ngtdm_features(levels: GreyLevels, along: Sequence[Direction]) -> dict[str, float]:
    """The five features of the differences between each voxel and its up to 26 neighbours inside the region."""
    of_voxels = levels.of_voxels
    n = of_voxels.size
    neighbours, sums = np.zeros(n), np.zeros(n)
    for direction in along:
        for one, other in (direction.pairs, direction.pairs[::-1]):
            neighbours += np.bincount(one, minlength=n)
            sums += np.bincount(one, weights=of_voxels[other], minlength=n)
    # A connected region of two voxels or more leaves no voxel without a neighbour.
    difference = np.bincount(levels.index, weights=np.abs(of_voxels - sums / neighbours))
    share = np.bincount(levels.index) / n
    i, count = levels.numbers, levels.numbers.size
    apart = i[:, None] - i[None, :]
    weighted = share * difference
    coarse, total = float(weighted.sum()), float(difference.sum())
    steps = float(np.abs((i * share)[:, None] - (i * share)[None, :]).sum())
    contrast = float((share[:, None] * share[None, :] * apart**2).sum()) * total / n
    pairs = (weighted[:, None] + weighted[None, :]) / (share[:, None] + share[None, :])
    strength = float(((share[:, None] + share[None, :]) * apart**2).sum())
    return {
        "Busyness": coarse / steps if steps else 0.0,
        "Coarseness": 1.0 / coarse if coarse else COARSEST,
        "Complexity": float((np.abs(apart) * pairs).sum()) / n,
        "Contrast": contrast / (count * (count - 1)) if count > 1 else 0.0,
        "Strength": strength / total if total else 0.0,
    }
