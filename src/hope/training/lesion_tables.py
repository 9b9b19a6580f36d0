"""The lesion-wise Dice of a case under any thresholds of adaptive rules, from counts that are made once.

The rules remove whole components of one label, or rename all that is left of a label. Whatever they do, the result is
a set of the prediction's single-label components (called parts here) under old or new labels. So a table of how many
voxels each part shares with each true lesion, which parts touch which lesion's surroundings, and which parts touch each
other, is enough to score every choice of thresholds exactly, without looking at a voxel again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import cc3d
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hope.domain.box import bounding_box
from hope.domain.labels import CC, ED, ET, NET, PEDS, REGIONS, region_mask
from hope.evaluation.evaluate import COMPARED
from hope.evaluation.lesionwise import HEADLINE_RULES, RULES, DilationRules, dilate
from hope.stages.postprocess.postprocess import CONNECTIVITY
from hope.stages.postprocess.postprocess_rules import ClusterRules

LABELS: Final = (ET, NET, CC, ED)
REDEFINE_TO: Final = NET
ORDER: Final = (ET, CC, ED)
"""Labels whose share is looked at, in the published order."""

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Effect = tuple[tuple[int, ...], tuple[int, ...]]
"""What thresholds come to in one case: parts kept per label of ``LABELS``, largest first, and the labels renamed."""


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of one cluster, per label of ``LABELS``; 0 never fires.

    Attributes:
        minimum: components with fewer voxels become background.
        share: a label whose share of the whole tumour is below this is renamed to NET.
    """

    minimum: tuple[int, ...] = (0, 0, 0, 0)
    share: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    def rules(self) -> ClusterRules:
        """As the post-processing takes them."""
        return ClusterRules(
            {label: n for label, n in zip(LABELS, self.minimum, strict=True) if n},
            {label: t for label, t in zip(LABELS, self.share, strict=True) if t},
        )


@dataclass(frozen=True)
class RegionTable:
    """Counts of one region of one case, for n parts and z lesions of the truth.

    Attributes:
        values: peds values that make up the region.
        shared: (n, z) voxels that a part shares with a lesion.
        touches: (n, z) whether a part touches the dilated lesion.
        lesion_size: (z,) voxels.
        counted: (z,) whether the lesion is large enough to count.
    """

    values: tuple[int, ...]
    shared: IntArray
    touches: BoolArray
    lesion_size: IntArray
    counted: BoolArray

    @property
    def in_truth(self) -> bool:
        """Whether the truth holds a lesion of this region that counts."""
        return bool(self.counted.any())


@dataclass(frozen=True)
class CaseScore:
    """Scores of one case under one choice of thresholds, per region.

    Attributes:
        lesionwise: lesion-wise Dice under the headline definition.
        dice: plain Dice.
        mean: of the lesion-wise Dice over the regions.
        voxels: left per label of ``LABELS``.
    """

    lesionwise: npt.NDArray[np.float64]
    dice: npt.NDArray[np.float64]
    mean: float
    voxels: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class CaseTable:
    """One case's parts and counts.

    Attributes:
        label: (n,) peds label of each part.
        size: (n,) voxels of each part.
        edges: (e, 2) pairs of parts that share a face, an edge or a corner.
        regions: the regions that are scored, by key.
    """

    label: npt.NDArray[np.uint8]
    size: IntArray
    edges: IntArray
    regions: Mapping[str, RegionTable]
    _scores: dict[Effect, CaseScore] = field(default_factory=dict)
    _region_scores: dict[tuple[str, bytes], tuple[float, float]] = field(default_factory=dict)

    @property
    def has_tumour(self) -> bool:
        """Whether the prediction marks anything."""
        return bool(self.size.size)

    def score(self, thresholds: Thresholds) -> CaseScore:
        """Scores under these thresholds; thresholds with the same effect are scored once."""
        effect = self._effect(thresholds)
        if effect not in self._scores:
            self._scores[effect] = self._scored(effect)
        return self._scores[effect]

    @cached_property
    def _parts(self) -> tuple[IntArray, ...]:
        """Per label of ``LABELS`` its parts, largest first."""
        return tuple(
            (of_label := np.flatnonzero(self.label == value))[np.argsort(-self.size[of_label], kind="stable")]
            for value in LABELS
        )

    @cached_property
    def _sizes(self) -> tuple[list[int], ...]:
        """Per label the sizes of its parts, negated so that they ascend."""
        return tuple((-self.size[parts]).tolist() for parts in self._parts)

    @cached_property
    def _totals(self) -> tuple[list[int], ...]:
        """Per label the voxels of its 0, 1, 2, ... largest parts."""
        return tuple([0, *np.cumsum(self.size[parts]).tolist()] for parts in self._parts)

    def _effect(self, thresholds: Thresholds) -> Effect:
        kept = tuple(map(bisect_right, self._sizes, (-least for least in thresholds.minimum)))
        voxels = [totals[count] for totals, count in zip(self._totals, kept, strict=True)]
        whole = sum(voxels)
        # Renaming to NET changes no other label's share, so the order plays no part here.
        renamed = [
            value
            for value, count, below in zip(LABELS, voxels, thresholds.share, strict=True)
            if count and value in ORDER and count / whole < below
        ]
        return kept, tuple(renamed)

    def _scored(self, effect: Effect) -> CaseScore:
        kept, renamed = effect
        label = np.zeros_like(self.label)
        for value, parts, count in zip(LABELS, self._parts, kept, strict=True):
            label[parts[:count]] = REDEFINE_TO if value in renamed else value
        rows = []
        for key, region in self.regions.items():
            members = np.isin(label, region.values)
            known = (key, members.tobytes())
            if known not in self._region_scores:
                self._region_scores[known] = self._score_region(members, region)
            rows.append(self._region_scores[known])
        lesionwise, plain = np.array(rows).T
        voxels = np.bincount(label, weights=self.size, minlength=max(LABELS) + 1)
        left = tuple(int(voxels[value]) for value in LABELS)
        return CaseScore(lesionwise, plain, float(lesionwise.mean()), left)

    def _score_region(self, members: BoolArray, region: RegionTable) -> tuple[float, float]:
        """Lesion-wise and plain Dice of one region made of these parts."""
        size, shared = self.size[members], region.shared[members]
        total = int(size.sum()) + int(region.lesion_size.sum())
        plain = 2.0 * int(shared.sum()) / total if total else 1.0
        spot = self._spots(members)
        count = int(spot.max()) + 1 if spot.size else 0
        touches = np.zeros((count, region.lesion_size.size), dtype=np.bool_)
        np.logical_or.at(touches, spot, region.touches[members])
        spot_size = np.bincount(spot, weights=size, minlength=count)
        false = int(np.count_nonzero(~touches.any(axis=1)))
        lesions = int(np.count_nonzero(region.counted)) + false
        if not lesions:
            return 1.0, plain
        # A part that shares a voxel with a lesion touches it, so every shared voxel is in a chosen spot.
        dices = 2.0 * shared.sum(axis=0) / (spot_size @ touches + region.lesion_size)
        return float(dices[region.counted].sum()) / lesions, plain

    def _spots(self, members: BoolArray) -> IntArray:
        """Number from 0 of the joined component that each member belongs to."""
        count = int(np.count_nonzero(members))
        number = np.cumsum(members) - 1
        inner = self.edges[members[self.edges].all(axis=1)]
        if not inner.size:
            return np.arange(count)
        pairs = number[inner]
        graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
        return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def make_table(prediction: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], scheme: str) -> CaseTable:
    """Count everything that scoring needs.

    Args:
        prediction: (i, j, k) mask in peds values.
        truth: (i, j, k) mask on the same grid, in peds values already.
        scheme: label scheme the truth was drawn in; it says which regions are compared.
    """
    box = bounding_box((prediction > 0) | (truth > 0))
    if box is None:
        box = (slice(0, 1), slice(0, 1), slice(0, 1))
    inside, true = np.ascontiguousarray(prediction[box]), np.ascontiguousarray(truth[box])
    parts = cc3d.connected_components(inside, connectivity=CONNECTIVITY).astype(np.int64)
    size = np.bincount(parts.ravel())
    label = np.zeros(size.size, dtype=np.uint8)
    label[parts[parts > 0]] = inside[parts > 0]
    pairs = [pair for pair in cc3d.region_graph(parts.astype(np.uint32), connectivity=CONNECTIVITY) if min(pair) > 0]
    return CaseTable(
        label[1:],
        size[1:],
        np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2) - 1,
        {key: _make_region(parts, true, key, size.size - 1) for key in COMPARED[scheme]},
    )


def _make_region(parts: IntArray, truth: npt.NDArray[np.uint8], key: str, count: int) -> RegionTable:
    rules = RULES[HEADLINE_RULES]
    if not isinstance(rules, DilationRules) or rules.merge_prediction:
        raise TypeError("the table holds for lesions by dilation of the truth alone")
    mask = region_mask(truth, key)
    grown = dilate(mask, rules.dilations).astype(np.uint8)
    zones: IntArray = cc3d.connected_components(grown, connectivity=CONNECTIVITY).astype(np.int64)
    lesions = zones * mask
    number = int(zones.max())
    lesion_size = np.bincount(lesions.ravel(), minlength=number + 1)[1:]
    values = REGIONS.get(key) or tuple(label.value for label in PEDS.labels if label.key == key)
    return RegionTable(
        values,
        _shared(parts, lesions, count, number),
        _shared(parts, zones, count, number) > 0,
        lesion_size,
        lesion_size > rules.ignored_voxels,
    )


def _shared(parts: IntArray, lesions: IntArray, count: int, number: int) -> IntArray:
    """Voxels shared by each of ``count`` parts and ``number`` lesions."""
    both = (parts > 0) & (lesions > 0)
    codes = (parts[both] - 1) * max(number, 1) + lesions[both] - 1
    return np.bincount(codes, minlength=count * number).reshape(count, number).astype(np.int64)
