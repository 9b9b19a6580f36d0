"""Which sequence an image is, by its voxels beside those of the others; None where the figures are not clear."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import permutations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.volume import Volume
from hope.stages.intake.quality import shows_brain_only, tissue_mask

MIN_SAMPLES = 1000
"""Fewer common points say nothing."""

MIN_MARGIN = 12.0
"""Other names have to be more likely by this (natural logarithm) before the user is asked (true names: 5.5 at most)."""

WARNING_MARGIN = 8.0
"""More likely by this is a warning where a T2 is given (true names: 4.0 at most); two T1 differ in few figures."""

MIN_MARGIN_WITHOUT_T2W = 24.0
"""The same where no T2 is given: a FLAIR beside two T1 is told less surely (a true case: 19.5)."""

MIN_LEAD = 4.0
"""What an image is instead is said only if every assignment within this of the likeliest says the same."""

MIN_FIT = 0.69
"""Mean log likelihood per feature below which a case is unlike all that were measured, and nothing is said."""

_STEP_MM = 3.0
_TAIL = 0.03
_FLOOR = 0.05


@dataclass(frozen=True)
class FeatureTable:
    """Mean and spread of every feature for every ordered pair of sequences: two arrays (4, 4, 5)."""

    mean: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]


@dataclass(frozen=True)
class VoxelOpinion:
    """What the voxels say about the names of a case's scans.

    Attributes:
        may_be: name given -> sequences that the image may be, one where the voxels tell.
        margin: by how much (natural logarithm) the likeliest names are more likely than those given.
        fit: mean log likelihood per feature under the likeliest names.
    """

    may_be: Mapping[MRSequence, frozenset[MRSequence]]
    margin: float
    fit: float

    @property
    def disagrees(self) -> bool:
        """Whether other names are clearly more likely, and the images are like those that were measured."""
        needed = MIN_MARGIN if MRSequence.T2W in self.may_be or len(self.may_be) < 3 else MIN_MARGIN_WITHOUT_T2W
        return self.margin >= needed and self.fit >= MIN_FIT

    @property
    def uncertain(self) -> bool:
        """Whether other names are so likely that somebody should look."""
        enough = self.margin >= WARNING_MARGIN and MRSequence.T2W in self.may_be and self.fit >= MIN_FIT
        return self.disagrees or enough

    @property
    def misnamed(self) -> list[MRSequence]:
        """The names that no likely assignment keeps; where each is kept by one of them, all that are not clear."""
        wrong = [name for name, seen in self.may_be.items() if name not in seen]
        return wrong or [name for name, seen in self.may_be.items() if seen != {name}]

    def message(self) -> str:
        """What is thought to be what, such as ``t1c looks like t2f and t2f looks like t1c``; or only what it is not."""
        misread = {name: self.may_be[name] for name in self.misnamed}
        parts = [f"{name} looks like {next(iter(seen))}" for name, seen in misread.items() if len(seen) == 1]
        parts += [
            f"{name} does not look like {name}" for name, seen in misread.items() if len(seen) > 1 and name not in seen
        ]
        if not parts:
            return f"{', '.join(misread)} are not all what they are called"
        return " and ".join(parts)


def check_sequences(scans: Mapping[MRSequence, Volume]) -> VoxelOpinion | None:
    """Compare the scans of one session by their voxels, at common places inside the brain.

    Args:
        scans: two or more sequences, float32, roughly aligned in RAS+ world, as one session's are.

    Returns:
        None where too little is common to all, or only one scan is given.
    """
    named = [s for s in SEQUENCES if s in scans]
    if len(named) < 2:
        return None
    values = sample([scans[s] for s in named])
    if values is None:
        return None
    return judge(pair_features(values), named, measured_table())


def judge(features: npt.NDArray[np.float64], named: Sequence[MRSequence], table: FeatureTable) -> VoxelOpinion:
    """Find the order of the names under which the features are most likely.

    Args:
        features: of `pair_features`, in the order of ``named``.
        named: the sequences as they were given.
        table: what was measured.
    """
    scores = {order: _likelihood(features, order, table) for order in permutations(named)}
    best = max(scores.values())
    likely = [order for order, score in scores.items() if score >= best - MIN_LEAD]
    may_be = {name: frozenset(order[i] for order in likely) for i, name in enumerate(named)}
    return VoxelOpinion(may_be, best - scores[tuple(named)], best / features.size)


def sample(scans: Sequence[Volume]) -> npt.NDArray[np.float64] | None:
    """Values of all scans at common world points about 3 mm apart in the inner part of the brain.

    Returns:
        an array of shape (scans, points), None where too few points lie in all of them or one scan is flat there.
    """
    reference = scans[0].reoriented("RAS")
    centre, axes = _inner_brain(reference)
    reach = [np.arange(-a, a + _STEP_MM, _STEP_MM) for a in axes]
    points = np.stack(np.meshgrid(*reach, indexing="ij"), axis=-1).reshape(-1, 3)
    points = points[((points / axes) ** 2).sum(axis=1) <= 1] + centre
    rows = [
        ndimage.map_coordinates(s.data, s.grid.to_voxel(points).T, order=1, cval=np.nan, prefilter=False) for s in scans
    ]
    values = np.stack(rows).astype(np.float64)
    values = values[:, np.isfinite(values).all(axis=0) & (values != 0).all(axis=0)]
    enough = values.shape[1] >= MIN_SAMPLES and all(_middle_half(row) > 0 for row in values)
    return values if enough else None


def pair_features(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How each image behaves beside each other one: array (images, images, 5), the diagonal for an image alone.

    Per ordered pair (a, b): rank correlation; mean rank of b where a is brightest, and where a is darkest; how much
    brighter b's bright tissue stands out than a's. On the diagonal: bright tail over dark tail, and skewness.
    """
    count, points = values.shape
    ranks = np.stack([_ranks(row) / points for row in values])
    scaled = np.stack([(row - np.median(row)) / max(1e-9, _middle_half(row)) for row in values])
    features = np.zeros((count, count, 5))
    for a in range(count):
        # Of a saturated image all voxels at the limit are its brightest.
        top, bottom = (ranks[a] >= np.quantile(ranks[a], 1 - _TAIL)), (ranks[a] <= np.quantile(ranks[a], _TAIL))
        low, high = np.percentile(scaled[a], [1, 99])
        features[a, a, 0] = np.log((high + _FLOOR) / (-low + _FLOOR))
        features[a, a, 1] = float(np.clip(_skew(scaled[a]), -4, 4))
        for b in range(count):
            if a != b:
                difference = scaled[b] - scaled[a]
                ends = np.percentile(difference - np.median(difference), [1, 99])
                features[a, b] = (
                    float(np.corrcoef(ranks[a], ranks[b])[0, 1]),
                    float(ranks[b][top].mean()),
                    float(ranks[b][bottom].mean()),
                    float(np.clip(ends.sum(), -4, 4)),
                    0.0,
                )
    return features


def _inner_brain(canonical: Volume) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Centre (RAS+ mm) and half axes of an ellipsoid that lies inside the brain of an RAS volume."""
    stripped = shows_brain_only(canonical)
    shown = canonical.data != 0 if stripped else tissue_mask(canonical.data)
    step = [max(1, round(_STEP_MM / s)) for s in canonical.grid.spacing_mm]
    shown = ndimage.binary_opening(shown[:: step[0], :: step[1], :: step[2]])
    places = np.argwhere(shown) * step if shown.any() else np.argwhere(np.ones((2, 2, 2)))
    low, high = (canonical.grid.to_world(np.percentile(places, q, axis=0)) for q in (0.5, 99.5))
    length = float(high[1] - low[1])
    centre = (low + high) / 2
    if not stripped:
        centre[2] = high[2] - 0.38 * length
        length *= 0.87
    return centre, length * np.array([0.28, 0.36, 0.24])


@cache
def measured_table() -> FeatureTable:
    """The figures that ship: of public stripped cases of adults, see benchmarks/sequence_check.py."""
    text = files("hope.resources.intake").joinpath("sequence_features.json").read_text(encoding="utf-8")
    facts = json.loads(text)
    return FeatureTable(np.array(facts["mean"]), np.array(facts["spread"]))


def _likelihood(features: npt.NDArray[np.float64], order: Sequence[MRSequence], table: FeatureTable) -> float:
    place = np.ix_([SEQUENCES.index(s) for s in order], [SEQUENCES.index(s) for s in order])
    # A heavy-tailed density: one odd feature must not decide alone.
    distance = (features - table.mean[place]) / table.spread[place]
    return float((-2.5 * np.log1p(distance**2 / 4) - np.log(table.spread[place])).sum())


# scipy.stats has these three, but its import takes as long as reading a scan.


def _ranks(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Ranks (n,) from 1 on; equals share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared: npt.NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return shared


def _middle_half(values: npt.NDArray[np.floating]) -> float:
    """Distance between the quartiles."""
    low, high = np.percentile(values, (25, 75))
    return float(high - low)


def _skew(values: npt.NDArray[np.floating]) -> float:
    """Third standardised moment."""
    apart = values - values.mean()
    return float((apart**3).mean() / (apart**2).mean() ** 1.5)
