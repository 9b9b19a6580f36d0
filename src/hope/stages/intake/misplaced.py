"""Whether registered scans lie alike: one that is mirrored, turned or shifted against the others is told.

Of scans that HOPE registered itself, only a mirror is looked for: a rigid registration mends every other place, and
lays a mirrored head on the others as well as it can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, product

import fill_voids
import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from hope.domain.case import MRSequence
from hope.domain.qc import QCFlag, Severity
from hope.domain.volume import Volume

ALIKE = 0.2
"""Edges of two scans that agree so well lie alike, and nothing is looked for (see docs/benchmarks.md)."""

LEAST_ELSEWHERE = 0.12
"""Edges that agree less than this elsewhere are no evidence."""

LEAST_GAIN = 2.0
"""So many times better two scans agree elsewhere before it is said."""

LEAST_MIRROR_GAIN = 1.2
"""Scans that HOPE registered agree so many times better as mirror images of each other before it is said."""

LEAST_SHIFT_MM = 6.0
"""A shift below this is a matter of registration and of distortion, not of another place."""

_STEP_MM = 3
_MIRROR_REACH = 4
"""The plane between the halves of a registered brain is looked for within so many steps of the atlas's."""

_REACH = 5
"""Shifts are looked for up to so many double steps along each axis."""

_ERODED = 3
_LEAST_INSIDE = 500
_AXES = ("left to right", "front to back", "top to bottom")
_COMPONENTS = tuple((i, j) for i in range(3) for j in range(i, 3))

Edges = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Listing:
    """A way to list the axes of a volume: forwards (1) or backwards (-1)."""

    signs: tuple[int, ...] = (1, 1, 1)

    def of(self, edges: Edges) -> Edges:
        """The edges of a scan as if it had been listed in this way."""
        listed = edges[(slice(None), *(slice(None, None, sign) for sign in self.signs))]
        turned = np.array([self.signs[i] * self.signs[j] for i, j in _COMPONENTS], np.float32)
        return np.asarray(listed * turned[:, None, None, None], np.float32)

    def words(self) -> str:
        """What it is called, such as ``mirrored left to right``."""
        turned = [name for name, sign in zip(_AXES, self.signs, strict=True) if sign < 0]
        return "turned by a half" if len(turned) == 2 else f"mirrored {' and '.join(turned)}"


@dataclass(frozen=True)
class Fit:
    """How two scans agree as they are, and where else they agree best.

    Attributes:
        stated: agreement as they are, 1 at most.
        elsewhere: the best agreement of another listing or place.
        listing: which one.
        shift_mm: how far the second has to be moved then, along the axes of the first.
    """

    stated: float
    elsewhere: float = 0.0
    listing: Listing = Listing()
    shift_mm: tuple[int, int, int] = (0, 0, 0)

    @property
    def apart(self) -> bool:
        """Whether the scans agree clearly better elsewhere."""
        return self.elsewhere >= max(LEAST_ELSEWHERE, LEAST_GAIN * self.stated)

    def words(self) -> str:
        """Where they agree better."""
        if self.listing != Listing():
            return self.listing.words()
        return f"moved by {np.linalg.norm(self.shift_mm):.0f} mm"


def misplaced_flags(scans: Mapping[MRSequence, Volume]) -> list[QCFlag]:
    """A warning for each scan that does not lie as the others do.

    Args:
        scans: registered to each other, of one shape, listed along the same axes, left to right first.
    """
    return _flags(scans, {pair: fit for pair, fit in pair_fits(scans).items() if fit.apart})


def mirrored_flags(scans: Mapping[MRSequence, Volume]) -> list[QCFlag]:
    """A warning for each scan that shows the other scans' mirror image, left for right.

    Args:
        scans: registered to each other on the atlas grid, 0 outside the brain.
    """
    apart = {
        pair: fit
        for pair, fit in mirror_fits(scans).items()
        if fit.elsewhere >= max(LEAST_ELSEWHERE, LEAST_MIRROR_GAIN * fit.stated)
    }
    return _flags(scans, apart)


def mirror_fits(scans: Mapping[MRSequence, Volume]) -> dict[tuple[MRSequence, MRSequence], Fit]:
    """How each two scans agree as they are, and as mirror images of each other, left for right."""
    found = {s: edges for s, scan in scans.items() if (edges := edge_directions(scan.data)) is not None}
    return {(a, b): _mirror_fit(found[a], found[b]) for a, b in combinations(found, 2)}


def _mirror_fit(first: Edges, second: Edges) -> Fit:
    """How two scans agree as they are, and as mirror images of each other."""
    listing = Listing((-1, 1, 1))
    mirrored = listing.of(second)
    steps = range(-_MIRROR_REACH, _MIRROR_REACH + 1)
    scores = {step: float(np.vdot(first, np.roll(mirrored, step, axis=1))) for step in steps}
    best = max(scores, key=lambda step: scores[step])
    return Fit(float(np.vdot(first, second)), scores[best], listing, (best * _STEP_MM, 0, 0))


def _flags(scans: Mapping[MRSequence, Volume], apart: Mapping[tuple[MRSequence, MRSequence], Fit]) -> list[QCFlag]:
    """One warning for the scan that every pair apart has in common, else one for each pair."""
    odd = [s for s in scans if len(apart) > 1 and all(s in pair for pair in apart)]
    flags = []
    if len(odd) == 1:
        best = max(apart.values(), key=lambda fit: fit.elsewhere)
        flags.append(_flag(f"{odd[0]} does not lie as the other scans do", "it", "them", best, str(odd[0])))
    else:
        for (first, second), fit in apart.items():
            flags.append(_flag(f"{first} and {second} do not lie alike", "one of them", "the other", fit))
    return flags


def _flag(what: str, which: str, others: str, fit: Fit, sequence: str = "") -> QCFlag:
    reason = (
        f"{what}: {fit.words()}, {which} would agree with {others} far better (edges {fit.elsewhere:.2f} instead of "
        f"{fit.stated:.2f}, 1 at most): look at both, and correct or register the one that is wrong"
    )
    return QCFlag("sequence_misplaced", Severity.WARNING, reason, sequence)


def pair_fits(scans: Mapping[MRSequence, Volume]) -> dict[tuple[MRSequence, MRSequence], Fit]:
    """How each two scans agree; elsewhere only where they do not agree as they are."""
    found = {s: edges for s, scan in scans.items() if (edges := edge_directions(scan.data)) is not None}
    return {(a, b): fit_of(found[a], found[b]) for a, b in combinations(found, 2)}


def edge_directions(data: npt.NDArray[np.float32]) -> Edges | None:
    """Directions of the edges inside the head or brain: contrast does not count, nor does the outline.

    Returns:
        six components (6, i, j, k) of a symmetric matrix without trace at each place, 3 voxels apart; norm 1 over all;
        None where too little is shown.
    """
    coarse = _averaged(data)
    inner = ndimage.binary_erosion(fill_voids.fill(coarse > 0), iterations=_ERODED)
    if np.count_nonzero(inner) < _LEAST_INSIDE:
        return None
    slopes = np.stack(np.gradient(coarse)).astype(np.float32)
    steepness = np.sqrt((slopes**2).sum(axis=0))
    usual = float(np.median(steepness[inner]))
    slopes *= inner / np.sqrt(steepness**2 + max(usual, 1e-6) ** 2)
    third = (slopes**2).sum(axis=0) / 3
    edges = np.stack(
        [slopes[i] * slopes[j] * np.float32(2**0.5) if i != j else slopes[i] ** 2 - third for i, j in _COMPONENTS]
    )
    norm = float(np.linalg.norm(edges))
    return np.asarray(edges / norm, np.float32) if norm > 0 else None


def fit_of(first: Edges, second: Edges) -> Fit:
    """How two scans' edges agree as they are; and if that is not well, where else they do."""
    stated = float(np.vdot(first, second))
    if stated >= ALIKE:
        return Fit(stated)
    listing, shift = _best_place(_halved(first), _halved(second))
    best = Fit(stated)
    moved = listing.of(second)
    for around in product((-1, 0, 1), repeat=3):
        steps = [2 * s + a for s, a in zip(shift, around, strict=True)]
        i, j, k = (step * _STEP_MM for step in steps)
        if listing == Listing() and np.linalg.norm((i, j, k)) < LEAST_SHIFT_MM:
            continue
        score = float(np.vdot(first, np.roll(moved, steps, axis=(1, 2, 3))))
        if score > best.elsewhere:
            best = Fit(stated, score, listing, (i, j, k))
    return best


def _best_place(first: Edges, second: Edges) -> tuple[Listing, tuple[int, int, int]]:
    """The listing and the shift, in steps, under which two scans agree best; not the one as they are."""
    padded = [int(fft.next_fast_len(n + _REACH, real=True)) for n in first.shape[1:]]
    fixed = fft.rfftn(first, padded, axes=(1, 2, 3))
    reach = np.arange(-_REACH, _REACH + 1)
    best, highest, shift = Listing(), -1.0, (0, 0, 0)
    for listing in (Listing(signs) for signs in product((1, -1), repeat=3)):
        moving = fft.rfftn(listing.of(second), padded, axes=(1, 2, 3))
        agreement = fft.irfftn((fixed * moving.conj()).sum(axis=0), padded)
        near = agreement[np.ix_(*(reach % n for n in padded))]
        if listing == Listing():
            near[_REACH, _REACH, _REACH] = -1
        at = int(near.argmax())
        if float(near.flat[at]) > highest:
            i, j, k = (int(reach[index]) for index in np.unravel_index(at, near.shape))
            best, highest, shift = listing, float(near.flat[at]), (i, j, k)
    return best, shift


def _halved(edges: Edges) -> Edges:
    """Means of blocks of 2 x 2 x 2 places, alike from both ends."""
    for axis in (3, 2, 1):
        count, left = divmod(edges.shape[axis], 2)
        # A mirror of an odd length would move the blocks by a place: the middle place goes instead.
        kept = np.delete(edges, count, axis=axis) if left else edges
        listed = np.moveaxis(kept, axis, 0)
        edges = np.moveaxis(listed[0::2] + listed[1::2], 0, axis)
    return np.ascontiguousarray(edges / 8, np.float32)


def _averaged(data: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Means of blocks of 3 x 3 x 3 voxels; what is left over is dropped at both ends."""
    # Sums of slices, the last axis first: files list it slowest, and a mean over blocks takes five times as long.
    for axis in (2, 1, 0):
        count, left = divmod(data.shape[axis], _STEP_MM)
        listed = np.moveaxis(data, axis, 0)[left // 2 :]
        total = listed[0 : count * _STEP_MM : _STEP_MM].copy()
        for number in range(1, _STEP_MM):
            total += listed[number : count * _STEP_MM : _STEP_MM]
        data = np.moveaxis(total, 0, axis)
    return np.ascontiguousarray(data / np.float32(_STEP_MM**3), np.float32)
