"""Did harmonisation keep the anatomy? Three measures of each sequence, and a limit for each."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hope.domain.case import AlignedCase, MRSequence
from hope.domain.style import SequenceStyle, Style
from hope.domain.volume import Volume
from hope.stages.harmonize.edges import Edges
from hope.stages.harmonize.histogram import style_of
from hope.stages.harmonize.lesion_prior import LEAST_ML, Regions, regions_of

LEAST_EDGE_SSIM = 0.95
"""Below this, edges were flattened, blown up or moved: a curve whose slope varies by less than a third stays above."""

MOST_CONTRAST_CHANGE = 0.10
"""How bright a lesion is beside white matter is what a reader goes by; scans of one patient vary about as much."""

WORSE = 1.02
"""A distance to the style that grows by more than this factor means that the method went the wrong way."""

SMALLEST_LESION_ML = LEAST_ML / 10


@dataclass(frozen=True)
class AnatomyCheck:
    """What became of one sequence.

    Attributes:
        edge_ssim: structural similarity of the gradient magnitudes before and after, 1 if only scaled.
        contrast_before, contrast_after: mean of the suspected lesion over that of white matter; None without a lesion.
        distance_before, distance_after: mean distance of the healthy brain's percentiles to the style's
            (the 1-Wasserstein distance), in units of the brain's median; None if an image has no positive scale.
        reason: why the result must not be used; empty if it may.
    """

    edge_ssim: float
    contrast_before: float | None
    contrast_after: float | None
    distance_before: float | None
    distance_after: float | None
    reason: str = ""

    def to_json(self) -> dict[str, object]:
        """Plain JSON values."""
        figures: dict[str, object] = {
            "edge_ssim": round(self.edge_ssim, 4),
            "lesion_to_white_before": _rounded(self.contrast_before),
            "lesion_to_white_after": _rounded(self.contrast_after),
            "distance_before": _rounded(self.distance_before),
            "distance_after": _rounded(self.distance_after),
        }
        return {**figures, "reason": self.reason} if self.reason else figures


class _Before:
    """What is measured of a sequence before, once for all that it is brought to."""

    def __init__(self, asked: _Asked, like: Edges | None = None) -> None:
        self.asked = asked
        self._like = like

    @cached_property
    def edges(self) -> Edges:
        volume, regions, _ = self.asked
        return Edges(volume, regions.brain, self._like)

    @cached_property
    def contrast(self) -> float | None:
        volume, regions, _ = self.asked
        return _contrast(volume, regions)

    @cached_property
    def distance(self) -> float | None:
        return style_distance(*self.asked)


def guard(case: AlignedCase, style: Style) -> Callable[[MRSequence, Volume], bool]:
    """The check for methods that ask it while they choose how far to go: whether an image of the case may be used.

    It may be asked about different sequences by several threads at once.
    """
    regions = regions_of(case)
    known: dict[MRSequence, _Before] = {}
    for sequence, image in case.images.items():
        if sequence in style.sequences:
            first = next(iter(known.values()), None)
            known[sequence] = _Before((image, regions, style.sequences[sequence]), first.edges if first else None)

    def passes(sequence: MRSequence, after: Volume) -> bool:
        before = known[sequence]
        if after is before.asked[0]:
            return not _measured(before, after).reason
        _checked[after] = before
        # Edges take longest: where the rest says no already, they are looked at only if this is the last try.
        rest = _rest(before, after)
        if _objections(1.0, *rest):
            return False
        found = _measured(before, after, rest)
        _checked[after] = before.asked, found
        return not found.reason

    return passes


def check_anatomy(before: Volume, after: Volume, regions: Regions, style: SequenceStyle) -> AnatomyCheck:
    """Measure one sequence before and after.

    Args:
        before: the sequence as it was.
        after: the same harmonized, on the same grid.
        regions: healthy brain, suspected lesion and white matter, found before.
        style: what it was brought to.
    """
    asked, known = (before, regions, style), _checked.get(after)
    known_for = known.asked if isinstance(known, _Before) else known[0] if known else None
    if known is None or known_for is None or any(one is not other for one, other in zip(known_for, asked, strict=True)):
        return _measured(_Before(asked), after)
    if isinstance(known, _Before):
        # Kept without the edges, which are larger than the images.
        known = _checked[after] = asked, _measured(known, after)
    return known[1]


_Asked = tuple[Volume, Regions, SequenceStyle]
_Rest = tuple[float | None, float | None, float | None, float | None]
_checked: weakref.WeakKeyDictionary[Volume, _Before | tuple[_Asked, AnatomyCheck]] = weakref.WeakKeyDictionary()
"""What a guard found of images that are still in use, or what it compares them with: the last check asks the same."""


def _measured(before: _Before, after: Volume, rest: _Rest | None = None) -> AnatomyCheck:
    rest = rest or _rest(before, after)
    figures = before.edges.similarity(after.data[before.edges.box]), *rest
    return AnatomyCheck(*figures, reason="; ".join(_objections(*figures)))


def _rest(before: _Before, after: Volume) -> _Rest:
    """Contrast and distance, before and after."""
    _, regions, style = before.asked
    return before.contrast, _contrast(after, regions), before.distance, style_distance(after, regions, style)


def _objections(
    similarity: float,
    contrast_before: float | None,
    contrast_after: float | None,
    distance_before: float | None,
    distance_after: float | None,
) -> list[str]:
    said = []
    if not similarity >= LEAST_EDGE_SSIM:
        said.append(f"its edges changed (edge similarity {similarity:.3f}, at least {LEAST_EDGE_SSIM} is wanted)")
    if contrast_before is not None and contrast_after is not None:
        change = abs(contrast_after / contrast_before - 1)
        if not change <= MOST_CONTRAST_CHANGE:
            said.append(
                f"a suspected lesion's ratio to white matter changed by {change:.0%} "
                f"(from {contrast_before:.2f} to {contrast_after:.2f}, at most {MOST_CONTRAST_CHANGE:.0%} is allowed)"
            )
    elif contrast_before is not None:
        said.append("a suspected lesion has no brightness left")
    if distance_after is None:
        said.append("no positive scale is left in the brain")
    elif distance_before is not None and distance_after > WORSE * distance_before:
        said.append(
            f"it came no nearer to the style (distance {distance_before:.3f} before, {distance_after:.3f} after)"
        )
    return said


def style_distance(volume: Volume, regions: Regions, style: SequenceStyle) -> float | None:
    """1-Wasserstein distance of the healthy brain to a style, both in units of their median; None without a scale."""
    own = style_of(volume, regions.healthy)
    if own is None:
        return None
    wanted = np.interp(own.percentiles, style.percentiles, style.values)
    share = np.asarray(own.percentiles) / 100
    gap = np.abs(np.asarray(own.values) - wanted)
    return float(np.trapezoid(gap, share) / (share[-1] - share[0]))


def _contrast(volume: Volume, regions: Regions) -> float | None:
    if np.count_nonzero(regions.lesion) * volume.grid.voxel_volume_ml < SMALLEST_LESION_ML:
        return None
    lesion, white = (float(volume.data[where].mean(dtype=np.float64)) for where in (regions.lesion, regions.white))
    return lesion / white if min(lesion, white) > 0 else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
