"""Harmonisation by landmarks of the histogram (Nyul and Udupa 1999), kept within bounds.

Each sequence gets one rising curve from its own intensities to the style's, fitted at the percentiles of the healthy
brain: the suspected lesion has no say in it, so that a large tumour does not pull the landmarks. One curve for the
whole image cannot draw or wipe out anything: equal voxels stay equal, the brighter stays the brighter. Its slope is
bounded and even, so that no edge is flattened away or blown up, and the lesion keeps its contrast to white matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hope.domain.case import SEQUENCES, AlignedCase, MRSequence
from hope.domain.errors import InputError
from hope.domain.progress import Progress, silent
from hope.domain.style import PERCENTILES, SequenceStyle, Style
from hope.domain.volume import Volume
from hope.stages.harmonize.edges import Edges
from hope.stages.harmonize.lesion_prior import Regions, regions_of

SLOPES = (0.4, 2.5)
"""Least and largest slope, where 1 is plain scaling: no edge is flattened away, and no noise is made into one."""

EDGES_KEPT = 0.96
"""Wanted similarity of edges; the check refuses below 0.95."""

CONTRAST_KEPT = 0.06
"""Share by which the suspected lesion's ratio to white matter may change; the check refuses at 10 %."""

_EVENNESS = tuple(10.0 ** (half / 2) for half in range(-9, 3))
"""Weights of even slopes against hitting the landmarks; the least that keeps the edges is taken."""

_FIRM = 1e3
"""Weight of a ratio that has to be met, against landmarks of weight 1 in all."""

_FULL_SCALE_LOST = 1e-6

Values = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]
Ratio = tuple[Values, Values]


@dataclass(frozen=True)
class Curve:
    """A rising, piecewise linear map of relative intensities, through (0, 0).

    Attributes:
        source: knots, ascending from 0.
        target: their images, never falling.
    """

    source: Values
    target: Values

    def __call__(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map values; outside the knots the curve goes on as a straight line.

        Above the last knot it points away from 0, which keeps the ratio of what is very bright to the last landmark.
        """
        x = np.append(self.source, 2 * self.source[-1])
        y = np.append(self.target, 2 * self.target[-1])
        mapped = np.interp(values, x, y)
        above, below = values > x[-1], values < 0
        mapped[above] = values[above] * (y[-1] / x[-1])
        mapped[below] = values[below] * (y[1] / x[1])
        return np.asarray(mapped, dtype=np.float32)


class HistogramHarmonizer:
    """A ``ports.Harmonizer`` of one bounded curve for each sequence."""

    method = "histogram"

    def learn(self, case: AlignedCase) -> Style:
        """The percentiles of the healthy brain; see ``ports.Harmonizer``."""
        healthy = regions_of(case).healthy
        found = {s: style_of(case.images[s], healthy) for s in SEQUENCES if s in case.images}
        sequences = {s: entry for s, entry in found.items() if entry is not None}
        if not sequences:
            raise InputError(
                "no style can be learnt from the case",
                expected="a brain with positive intensities and some contrast",
                fix="give images that were not normalised to zero mean",
            )
        return Style(case.case_id, sequences, note="learnt from one case")

    def apply(self, case: AlignedCase, style: Style, progress: Progress = silent) -> Mapping[MRSequence, Volume]:
        """Map each sequence that case and style share; see ``ports.Harmonizer``."""
        progress("harmonize: look for lesions", 0.0)
        regions = regions_of(case)
        done = {}
        for step, (sequence, volume) in enumerate(case.images.items()):
            progress(f"harmonize: match {sequence}", 0.2 + 0.8 * step / len(case.images))
            own = style_of(volume, regions.healthy)
            if own is None or sequence not in style.sequences:
                continue
            done[sequence] = _matched(volume, own, style.sequences[sequence], regions)
        return done

    def describe(self) -> Mapping[str, object]:
        """Method and bounds, for result.json."""
        return {
            "method": self.method,
            "slopes": list(SLOPES),
            "edges_kept": EDGES_KEPT,
            "contrast_kept_within": CONTRAST_KEPT,
        }


def style_of(volume: Volume, healthy: npt.NDArray[np.bool_]) -> SequenceStyle | None:
    """The intensities of an image at the fixed percentiles of a region, None if it has no positive scale or contrast.

    Args:
        volume: one sequence.
        healthy: (i, j, k) where to look.
    """
    values = volume.data[healthy]
    if not values.size:
        return None
    *levels, median = (float(x) for x in np.percentile(values, [*PERCENTILES, 50.0]))
    if median <= 0 or levels[-1] - levels[0] <= _FULL_SCALE_LOST * median:
        return None
    return SequenceStyle(PERCENTILES, tuple(level / median for level in levels), unit=median)


@dataclass(frozen=True)
class Lesion:
    """Relative intensities whose ratio a curve must keep.

    Attributes:
        lesion: of the suspected lesion, in any order.
        white: of healthy white matter.
    """

    lesion: Values
    white: Values


def fit(
    own: SequenceStyle,
    wanted: SequenceStyle,
    lesion: Lesion | None = None,
    edges: Callable[[Curve], float] | None = None,
) -> Curve:
    """The curve that comes closest to the style's landmarks of those that keep edges and the lesion's contrast.

    Args:
        own: the image's percentiles.
        wanted: the style's percentiles; other percentiles are interpolated.
        lesion: what must keep its ratio, if anything.
        edges: how alike a curve leaves the image's edges, 0 to 1; the more even its slopes, the more alike.
    """
    problem = _Problem(own, wanted)
    ratios = problem.ratios(lesion) if lesion else []
    low, high = 0, len(_EVENNESS) - 1 if edges else 0
    while low < high:
        middle = (low + high) // 2
        if edges and edges(problem.curve(_EVENNESS[middle], ratios)) < EDGES_KEPT:
            low = middle + 1
        else:
            high = middle
    return problem.curve(_EVENNESS[low], ratios)


class _Problem:
    """Least squares over the slopes between the knots: the value at a knot is the sum of slope times step below it."""

    def __init__(self, own: SequenceStyle, wanted: SequenceStyle) -> None:
        goal = np.interp(own.percentiles, wanted.percentiles, wanted.values)
        source, last = np.unique(np.asarray(own.values)[::-1], return_index=True)
        last = len(goal) - 1 - last
        positive = source > _FULL_SCALE_LOST
        self.knots = np.concatenate([[0.0], source[positive]])
        self.goal = goal[last][positive]
        levels = np.concatenate([[0.0], np.asarray(own.percentiles)[last][positive] / 100])
        self.shares = np.diff(levels)
        self.reach = np.stack([self._value_at(x) for x in self.knots[1:]])
        self.weights = np.gradient(levels)[1:]

    def _value_at(self, x: float) -> Values:
        """The curve's value at x as a sum over the slopes; above the last knot it points away from 0."""
        steps = np.clip(x - self.knots[:-1], 0, np.diff(self.knots))
        return np.asarray(steps * max(1.0, x / self.knots[-1]))

    def ratios(self, lesion: Lesion) -> list[Ratio]:
        """Per ratio what the curve makes of its numerator and of white matter, sums over the slopes."""
        white = self._mean_value(lesion.white)
        brightest = lesion.lesion[lesion.lesion >= np.percentile(lesion.lesion, 90)]
        return [(self._mean_value(part), white) for part in (lesion.lesion, brightest)]

    def _mean_value(self, values: Values) -> Values:
        levels = np.percentile(values, np.linspace(0.5, 99.5, 100))
        return np.asarray(np.mean([self._value_at(float(x)) for x in levels], axis=0))

    def _slopes(self, evenness: float, ratios: list[Ratio]) -> Values:
        """Slopes for a weight of evenness; a ratio that would change too much is held at what is allowed."""
        root = np.sqrt(self.weights)
        rows, aims = [self.reach * root[:, None]], [self.goal * root]
        rows.append(np.sqrt(evenness * self.shares)[:, None] * (np.eye(len(self.shares)) - self._mean_slope()))
        aims.append(np.zeros(len(self.shares)))
        slopes = self._least_squares(rows, aims)
        for _ in ratios:
            worst, most = None, CONTRAST_KEPT + 1e-3
            for part, white in ratios:
                before = part.sum() / white.sum()
                change = float((part @ slopes) / (white @ slopes) / before - 1)
                if abs(change) > most:
                    most, worst = abs(change), (part - before * (1 + np.copysign(CONTRAST_KEPT, change)) * white)
            if worst is None:
                break
            rows.append(_FIRM * worst[None])
            aims.append(np.zeros(1))
            slopes = self._least_squares(rows, aims)
        return slopes

    def _mean_slope(self) -> Values:
        return np.asarray(self.shares[None] / self.shares.sum())

    def _least_squares(self, rows: list[Values], aims: list[Values]) -> Values:
        from scipy.optimize import lsq_linear  # half a second that most runs do not need

        found = lsq_linear(np.vstack(rows), np.concatenate(aims), SLOPES, method="bvls")
        return np.asarray(np.clip(found.x, *SLOPES))

    def curve(self, evenness: float, ratios: list[Ratio]) -> Curve:
        """The best curve for a weight of evenness."""
        return Curve(self.knots, np.concatenate([[0.0], self.reach @ self._slopes(evenness, ratios)]))


def _matched(volume: Volume, own: SequenceStyle, wanted: SequenceStyle, regions: Regions) -> Volume:
    edges = Edges(volume, _middle(regions.brain, volume.grid.orientation))
    inside = volume.data[edges.box]
    curve = fit(own, wanted, _lesion_of(volume, own.unit, regions), lambda c: edges.similarity(_mapped(inside, c, own)))
    return volume.with_data(_mapped(volume.data, curve, own) * np.float32(wanted.unit))


def _middle(brain: npt.NDArray[np.bool_], orientation: str) -> npt.NDArray[np.bool_]:
    """The middle third of the brain's axial slices, which stand for all of them: the check looks at the rest."""
    axis = next(i for i, letter in enumerate(orientation) if letter in "SI")
    used = np.flatnonzero(brain.any(axis=tuple(a for a in range(3) if a != axis)))
    part = np.zeros_like(brain)
    if used.size:
        third = len(used) // 3
        kept = [slice(None)] * 3
        kept[axis] = slice(int(used[third]), int(used[-1 - third]) + 1)
        part[tuple(kept)] = brain[tuple(kept)]
    return part


def _mapped(data: Image, curve: Curve, own: SequenceStyle) -> Image:
    """A curve's relative intensities for an image; what is 0 stays 0 and costs nothing."""
    used = data != 0
    out = np.zeros(data.shape, dtype=np.float32)
    out[used] = curve(np.asarray(data[used], dtype=np.float32) / np.float32(own.unit))
    return out


def _lesion_of(volume: Volume, unit: float, regions: Regions) -> Lesion | None:
    if not regions.lesion.any():
        return None
    lesion, white = (
        np.asarray(volume.data[where], dtype=np.float64) / unit for where in (regions.lesion, regions.white)
    )
    return Lesion(lesion, white) if min(lesion.mean(), white.mean()) > 0 else None
