"""Three matrices of one build: how many dependences (GLDM), runs (GLRLM) or zones (GLSZM) have a level and a size.

The features of all three follow the same formulas under different names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cc3d
import numpy as np

from hope.stages.postprocess.radiomics.intensity import TINY, GreyLevels
from hope.stages.postprocess.radiomics.lines import Direction
from hope.stages.postprocess.radiomics.region import CONNECTIVITY, BoolArray, FloatArray, IntArray

DEPENDENCE: Final[Mapping[str, str]] = {
    "DependenceEntropy": "entropy",
    "DependenceNonUniformity": "size non-uniformity",
    "DependenceNonUniformityNormalized": "size non-uniformity normalised",
    "DependenceVariance": "size variance",
    "GrayLevelNonUniformity": "level non-uniformity",
    "GrayLevelVariance": "level variance",
    "HighGrayLevelEmphasis": "high",
    "LargeDependenceEmphasis": "large",
    "LargeDependenceHighGrayLevelEmphasis": "large high",
    "LargeDependenceLowGrayLevelEmphasis": "large low",
    "LowGrayLevelEmphasis": "low",
    "SmallDependenceEmphasis": "small",
    "SmallDependenceHighGrayLevelEmphasis": "small high",
    "SmallDependenceLowGrayLevelEmphasis": "small low",
}
RUN: Final[Mapping[str, str]] = {
    "GrayLevelNonUniformity": "level non-uniformity",
    "GrayLevelNonUniformityNormalized": "level non-uniformity normalised",
    "GrayLevelVariance": "level variance",
    "HighGrayLevelRunEmphasis": "high",
    "LongRunEmphasis": "large",
    "LongRunHighGrayLevelEmphasis": "large high",
    "LongRunLowGrayLevelEmphasis": "large low",
    "LowGrayLevelRunEmphasis": "low",
    "RunEntropy": "entropy",
    "RunLengthNonUniformity": "size non-uniformity",
    "RunLengthNonUniformityNormalized": "size non-uniformity normalised",
    "RunPercentage": "share",
    "RunVariance": "size variance",
    "ShortRunEmphasis": "small",
    "ShortRunHighGrayLevelEmphasis": "small high",
    "ShortRunLowGrayLevelEmphasis": "small low",
}
ZONE: Final[Mapping[str, str]] = {
    "GrayLevelNonUniformity": "level non-uniformity",
    "GrayLevelNonUniformityNormalized": "level non-uniformity normalised",
    "GrayLevelVariance": "level variance",
    "HighGrayLevelZoneEmphasis": "high",
    "LargeAreaEmphasis": "large",
    "LargeAreaHighGrayLevelEmphasis": "large high",
    "LargeAreaLowGrayLevelEmphasis": "large low",
    "LowGrayLevelZoneEmphasis": "low",
    "SizeZoneNonUniformity": "size non-uniformity",
    "SizeZoneNonUniformityNormalized": "size non-uniformity normalised",
    "SmallAreaEmphasis": "small",
    "SmallAreaHighGrayLevelEmphasis": "small high",
    "SmallAreaLowGrayLevelEmphasis": "small low",
    "ZoneEntropy": "entropy",
    "ZonePercentage": "share",
    "ZoneVariance": "size variance",
}


@dataclass(frozen=True)
class SizeTable:
    """Counts per grey level and size.

    Attributes:
        counts: (m, s) how many have level ``levels[row]`` and size ``sizes[column]``.
        levels: (m,) grey levels.
        sizes: (s,) the sizes that occur, in voxels.
    """

    counts: FloatArray
    levels: FloatArray
    sizes: FloatArray


def size_table(levels: FloatArray, level_index: IntArray, size: IntArray) -> SizeTable:
    """Count things of which the level's position (things,) and the size in voxels (things,) are known."""
    sizes, column = np.unique(size, return_inverse=True)
    counts = np.bincount(level_index * sizes.size + column.ravel(), minlength=levels.size * sizes.size)
    return SizeTable(counts.reshape(levels.size, sizes.size).astype(np.float64), levels, sizes.astype(np.float64))


def describe(table: SizeTable) -> dict[str, float]:
    """The sixteen numbers that the three classes choose theirs from."""
    counts, i, j = table.counts, table.levels, table.sizes
    per_level, per_size = counts.sum(axis=1), counts.sum(axis=0)
    total = counts.sum()
    shares = counts / total
    i2, j2 = i**2, j**2
    facts = {
        "small": (per_size / j2).sum() / total,
        "large": (per_size * j2).sum() / total,
        "low": (per_level / i2).sum() / total,
        "high": (per_level * i2).sum() / total,
        "small low": (counts / (i2[:, None] * j2)).sum() / total,
        "small high": (counts * i2[:, None] / j2).sum() / total,
        "large low": (counts * j2 / i2[:, None]).sum() / total,
        "large high": (counts * (i2[:, None] * j2)).sum() / total,
        "level non-uniformity": (per_level**2).sum() / total,
        "level non-uniformity normalised": (per_level**2).sum() / total**2,
        "size non-uniformity": (per_size**2).sum() / total,
        "size non-uniformity normalised": (per_size**2).sum() / total**2,
        "level variance": _variance(per_level / total, i),
        "size variance": _variance(per_size / total, j),
        "entropy": -(shares * np.log2(shares + TINY)).sum(),
        "share": total / (per_size * j).sum(),
    }
    return {name: float(value) for name, value in facts.items()}


def _variance(shares: FloatArray, values: FloatArray) -> float:
    return float((shares * (values - (shares * values).sum()) ** 2).sum())


def gldm_features(levels: GreyLevels, along: Sequence[Direction]) -> dict[str, float]:
    """Dependence: a voxel and those of its 26 neighbours that have the same level."""
    dependent = np.ones(levels.index.size, dtype=np.int64)
    for direction in along:
        first, second = direction.pairs
        same = levels.index[first] == levels.index[second]
        for ends in (first, second):
            dependent += np.bincount(ends[same], minlength=dependent.size)
    facts = describe(size_table(levels.numbers, levels.index, dependent))
    return {name: facts[fact] for name, fact in DEPENDENCE.items()}


def glrlm_features(levels: GreyLevels, along: Sequence[Direction]) -> dict[str, float]:
    """Runs: voxels of one level in a row; described per direction, then averaged.

    A direction none of whose lines meets two voxels can have no runs and is left out.
    """
    facts = []
    for direction in along:
        if direction.has_long_line:
            sorted_levels = levels.index[direction.order]
            goes_on = direction.joined & (sorted_levels[1:] == sorted_levels[:-1])
            last = np.flatnonzero(np.append(~goes_on, True))
            facts.append(describe(size_table(levels.numbers, sorted_levels[last], np.diff(last, prepend=-1))))
    return {name: float(np.mean([one[fact] for one in facts])) for name, fact in RUN.items()}


def glszm_features(levels: GreyLevels, inside: BoolArray) -> dict[str, float]:
    """Zones: 26-connected voxels of one level."""
    painted = np.zeros(inside.shape, dtype=np.uint16)
    painted[inside] = levels.index + 1
    zone = cc3d.connected_components(painted, connectivity=CONNECTIVITY)[inside]
    size = np.bincount(zone)[1:]
    level_index = np.zeros(size.size, dtype=np.int64)
    level_index[zone - 1] = levels.index
    facts = describe(size_table(levels.numbers, level_index, size))
    return {name: facts[fact] for name, fact in ZONE.items()}
