"""What became of each lesion between two dates, and what the field of view of either hides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from hope.domain.box import bounding_box
from hope.domain.grid import Grid
from hope.domain.lesion_matching import Fate, LesionMatch, match_lesions
from hope.domain.lesion_size import MeasureRule
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.stages.postprocess.lesions import numbered_lesions
from hope.stages.resample import field_of_view, resample_labels

MOSTLY: Final = 0.5
"""An unlinked lesion with more than this part outside of the other scan is not called new or gone."""
CUT: Final = 0.05
"""From this part outside of the other scan on, a lesion's change is said to be cut off."""

IntArray = npt.NDArray[np.integer]
Shares = dict[int, float]
"""Number of a lesion -> the part of it (0 to 1) that lies outside of the other date's scan."""


def fates_of(
    earlier: Volume, later: Volume, common: Grid, to_earlier: Transform, to_later: Transform, rule: MeasureRule
) -> tuple[list[LesionMatch], list[str]]:
    """Match the lesions of two dates. Each measured lesion stands in exactly one match.

    Args:
        earlier: uint8 peds labels of the earlier date, on the grid of its scan.
        later: likewise of the later date.
        common: the grid whose voxels are used; it is extended so that it holds every lesion of both.
        to_earlier: world of ``common`` to world of ``earlier``, RAS+ mm.
        to_later: world of ``common`` to world of ``later``.
        rule: what a lesion is and how small it may be.

    Returns:
        the matches, and a caution for each lesion of which the other scan does not show all.
    """
    dates = (numbered_lesions(earlier, rule), to_earlier), (numbered_lesions(later, rule), to_later)
    onto = _holding(common, dates)
    first, second = (_laid(numbers, onto, transform) for numbers, transform in dates)
    outside = (
        _outside(first, field_of_view(later.grid, onto, to_later)),
        _outside(second, field_of_view(earlier.grid, onto, to_earlier)),
    )
    matches = [_judged(match, outside) for match in match_lesions(first, second)]
    return matches, _cautions(matches, outside)


def _holding(common: Grid, dates: Sequence[tuple[Volume, Transform]]) -> Grid:
    """The common grid, cut and extended by whole voxels to what all lesions of both dates need."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for numbers, transform in dates:
        box = bounding_box(numbers.data, 1)
        if box is None:
            continue
        part = numbers.grid.cropped([s.start for s in box], [s.stop for s in box])
        corners = common.to_voxel(transform.inverse().apply(part.corners_ras_mm()))
        low, high = np.minimum(low, corners.min(axis=0)), np.maximum(high, corners.max(axis=0))
    if not np.isfinite(low).all():
        return common.cropped([0, 0, 0], [1, 1, 1])
    start, stop = np.floor(low).astype(int) - 1, np.ceil(high).astype(int) + 2
    return common.cropped(start.tolist(), stop.tolist())


def _laid(numbers: Volume, onto: Grid, transform: Transform) -> IntArray:
    """Numbers of the lesions on another grid; what is too thin for its voxels is kept by the nearest ones."""
    laid = resample_labels(numbers, onto, transform).data
    lost = np.setdiff1d(np.unique(numbers.data), np.unique(laid))
    for number in lost:
        places = transform.inverse().apply(numbers.grid.to_world(np.argwhere(numbers.data == number)))
        i, j, k = np.unique(np.rint(onto.to_voxel(places)).astype(int), axis=0).T
        free = laid[i, j, k] == 0
        if not free.any():
            # One voxel of the largest lesion there, which keeps others.
            free[int(np.bincount(laid.ravel())[laid[i, j, k]].argmax())] = True
        laid[i[free], j[free], k[free]] = number
    return laid


def _outside(numbers: IntArray, seen: npt.NDArray[np.bool_]) -> Shares:
    size = np.bincount(numbers.ravel())
    hidden = np.bincount(numbers[~seen], minlength=len(size))
    return {n: float(hidden[n] / size[n]) for n in range(1, len(size)) if size[n]}


def _judged(match: LesionMatch, outside: tuple[Shares, Shares]) -> LesionMatch:
    """A lesion that is linked with nothing is new or gone only where the other date was scanned."""
    if match.fate not in (Fate.NEW, Fate.GONE):
        return match
    hidden = [shares[n] for shares, numbers in zip(outside, (match.earlier, match.later), strict=True) for n in numbers]
    return replace(match, fate=Fate.OUTSIDE) if max(hidden) > MOSTLY else match


def _cautions(matches: Sequence[LesionMatch], outside: tuple[Shares, Shares]) -> list[str]:
    said = []
    for match in matches:
        for shares, numbers, own, other in (
            (outside[0], match.earlier, "earlier", "later"),
            (outside[1], match.later, "later", "earlier"),
        ):
            for number in numbers:
                lesion, part = f"lesion {number} of the {own} date", f"{shares[number]:.0%}"
                if match.fate is Fate.OUTSIDE:
                    unknown = "gone" if own == "earlier" else "new"
                    said.append(
                        f"{lesion} lies outside of the {other} scan ({part} of it): whether it is {unknown} is not "
                        "known, and volumes count it"
                    )
                elif shares[number] > CUT:
                    said.append(f"{part} of {lesion} lies outside of the {other} scan, which may cut off its change")
    return said
