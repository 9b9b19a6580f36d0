"""Quality gates: what is unusual about a scan, in one sentence with the measured figures. Nothing here refuses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.case import HeadState
from hope.domain.qc import QCFlag, Severity
from hope.domain.volume import Volume
from hope.formats.nifti import NiftiFacts

THICK_SLICE_MM = 3.0
"""Slices further apart than this are told of: small parts of a tumour are measured less exactly."""

MAX_BROKEN_SHARE = 1e-3
"""More NaN and infinite voxels than this are a caution, fewer a note."""

MAX_SATURATED_SHARE = 5e-3
"""Largest share of the tissue that may sit at the scan's highest value; conversions to 8 bits cut off 0.1 to 0.2 %."""

MAX_INT16_SHARE = 1e-4
"""The same where that value is the end of int16."""

INT16_MAX = 32767.0
"""Values pressed against this limit come from a conversion that ran out of range."""

OVERFLOW_LOW, OVERFLOW_JUMP, OVERFLOW_SHARE = 0.5, 0.7, 2e-3
"""Values that overflowed reach below 0 by this share of the highest, and neighbours differ by this share of the range
in this share of the places (44 T1 of 22 real cases: in 0.001 at most)."""

MIN_DISTINCT_VALUES = 64
"""Fewer grey levels in the tissue than this is too coarse for texture."""

_MAX_POINTS = 4_000_000  # a head has a quarter of this at 3 mm; impossible spacings have far more

MAX_TOP_SHARE = 0.5
"""Tissue on the superior face over the largest axial section: above this, brain is cut off and not only scalp."""

MIN_COVERAGE_SHARE = 0.55
"""A scan that covers less from foot to head than this share of the head's length from front to back misses brain."""

BRAIN_LEVEL_SHARE = 0.6
"""The brain lies within this share of the head's length below its top; what leaves the scan further down is neck."""

MAX_SIDE_SHARE = 0.25
"""The same on the left, right, anterior and posterior faces, at the level of the brain.

A plane that cuts 7 % off an ellipsoid, 10 mm of 150, leaves a section of this share: what lies further out is scalp.
"""

BRAIN_MAX_ML = 2000.0
"""No brain is larger, a head with its skull is."""

BRAIN_MIN_ZERO_SHARE = 0.3
"""A brain-only image has at least this share of exact zeros around it."""

BRAIN_MAX_FACE_SHARE = 0.1
"""A brain-only image hardly touches the border of the volume; a head leaves through the neck."""

SWAPPED_ASYMMETRY = -0.25
"""Enhancement below this means that the native T1 looks like the one with contrast (52 true pairs: -0.23 and up)."""

UNENHANCED_CORRELATION = 0.97
UNENHANCED_SPREAD = 0.025
"""A t1c that correlates more, and whose log ratio to t1n spreads less, shows no contrast at all."""

_FACES = ("left", "right", "posterior", "anterior", "inferior", "superior")


@dataclass(frozen=True)
class PairEvidence:
    """How a second T1 compares with a first one.

    Attributes:
        asymmetry: 99.5th plus 0.5th percentile of the log ratio about its median: positive when some tissue is much
            brighter in the second, negative when in the first.
        correlation: Pearson correlation of the intensities.
        spread: median absolute log ratio about its median.
        voxels: how many samples were compared.
    """

    asymmetry: float
    correlation: float
    spread: float
    voxels: int


def scan_flags(scan: Volume, facts: NiftiFacts, sequence: str) -> list[QCFlag]:
    """All remarks on one scan.

    Args:
        scan: float32, finite, any orientation.
        facts: what reading it showed.
        sequence: for the flags, such as ``t1c``.
    """

    def flag(code: str, reason: str, severity: Severity = Severity.CAUTION) -> QCFlag:
        return QCFlag(code, severity, f"{sequence}: {reason}", sequence)

    found: list[QCFlag] = []
    broken = facts.nan_count + facts.inf_count
    if broken:
        share = broken / scan.grid.voxel_count
        kinds = f"{facts.nan_count} NaN and {facts.inf_count} infinite"
        reason = f"{kinds} voxels ({100 * share:.2g} % of the scan) were set to 0"
        found.append(flag("not_finite", reason, Severity.CAUTION if share > MAX_BROKEN_SHARE else Severity.INFO))
    if wrong := _wrong_values(scan.data, facts.integer_valued):
        found.append(flag("values_overflowed", wrong, Severity.WARNING))
    thickest = max(scan.grid.spacing_mm)
    if thickest > THICK_SLICE_MM:
        reason = f"slices lie {thickest:.1f} mm apart: small parts of a tumour are measured less exactly"
        found.append(flag("thick_slices", reason, Severity.INFO))
    canonical = scan.reoriented("RAS")
    tissue = tissue_mask(canonical.data)
    values = canonical.data[tissue]
    if values.size:
        found += [flag(code, reason) for code, reason in _intensity_cautions(values)]
    # Opening within each axial slice (never across thick slices) removes noise; a step of 2 keeps it cheap.
    opened = ndimage.binary_opening(tissue[::2, ::2, :], structure=np.ones((3, 3, 1), dtype=bool))
    length = _head_length_mm(opened, canonical.grid.spacing_mm[1])
    if cut := _border_cautions(opened, round(BRAIN_LEVEL_SHARE * length / canonical.grid.spacing_mm[2])):
        found.append(flag("head_outside_field_of_view", f"the head leaves the field of view: {'; '.join(cut)}"))
    coverage = tissue.shape[2] * canonical.grid.spacing_mm[2]
    if coverage < MIN_COVERAGE_SHARE * length:
        reason = (
            f"the scan covers {coverage:.0f} mm from foot to head of a head that is {length:.0f} mm long (at least "
            f"{100 * MIN_COVERAGE_SHARE:.0f} % of it wanted): brain is missing"
        )
        found.append(flag("head_outside_field_of_view", reason, Severity.WARNING))
    return found


def background_of(data: npt.NDArray[np.float32]) -> float:
    """The value around a head: the median of the volume's eight corners, 0 for most scans, below it once normalised."""
    edge = [max(1, n // 16) for n in data.shape]
    ends = [(slice(None, e), slice(-e, None)) for e in edge]
    corners = [data[i, j, k].ravel() for i in ends[0] for j in ends[1] for k in ends[2]]
    return float(np.median(np.concatenate(corners)))


def tissue_mask(data: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Voxels (i, j, k) brighter than half of Otsu's threshold: the head without air and noise.

    Of a normalised image, whose values go below 0, either what differs from its even background, or what is brighter.
    """
    background = background_of(data)
    if float(data.min()) < 0:
        if float((data[::2, ::2, ::2] == background).mean()) > BRAIN_MIN_ZERO_SHARE:
            return np.asarray(data != background)
        data = data - np.float32(min(background, 0.0))
    top = float(np.percentile(data[::2, ::2, ::2], 99.5))
    if not top > 0:
        return np.asarray(data > 0)
    counts, edges = np.histogram(np.clip(data[::2, ::2, ::2], 0, top), bins=256)
    centres = (edges[1:] + edges[:-1]) / 2
    below, mass = np.cumsum(counts), np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass[-1] * below / below[-1] - mass) ** 2 / (below * (below[-1] - below))
    threshold = float(centres[int(np.nanargmax(np.where(np.isfinite(between), between, -1)))])
    return np.asarray(data > 0.5 * threshold)


def shows_brain_only(scan: Volume) -> bool:
    """Whether all but the brain was set to exactly 0: many zeros, no more than a brain, and nothing at the border."""
    data = scan.reoriented("RAS").data
    shown = data != background_of(data)
    count = np.count_nonzero(shown)
    if 1 - count / shown.size < BRAIN_MIN_ZERO_SHARE or count * scan.grid.voxel_volume_ml > BRAIN_MAX_ML:
        return False
    return max(_face_shares(shown)) <= BRAIN_MAX_FACE_SHARE


def compare_pair(first: Volume, second: Volume) -> PairEvidence:
    """Compare two T1 scans at common world positions about 3 mm apart (roughly aligned, as in one session).

    Args:
        first: float32, the one thought native.
        second: float32, the one thought enhanced; any grid.

    Returns:
        what was measured; no evidence where too little is common, or the first covers far more than a head.
    """
    canonical = first.reoriented("RAS")
    steps = [max(1, round(3.0 / s)) for s in canonical.grid.spacing_mm]
    axes = [np.arange(0, n, step) for n, step in zip(canonical.data.shape, steps, strict=True)]
    if math.prod(len(axis) for axis in axes) > _MAX_POINTS:
        return PairEvidence(0.0, 0.0, 0.0, 0)
    points = canonical.grid.to_world(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3))
    one = canonical.data[:: steps[0], :: steps[1], :: steps[2]]
    two = ndimage.map_coordinates(
        second.data, second.grid.to_voxel(points).T, order=1, cval=0.0, prefilter=False
    ).reshape(one.shape)
    positive = (one > 0) & (two > 0)
    if not positive.any():
        return PairEvidence(0.0, 0.0, 0.0, 0)
    # A fifth of the bright end leaves out air, bone and noise, where ratios mean nothing.
    both = (one > 0.2 * np.percentile(one[positive], 99)) & (two > 0.2 * np.percentile(two[positive], 99))
    # At the surface, ratios only tell how two grids cut it.
    both = ndimage.binary_erosion(both)
    if both.sum() < 500:
        return PairEvidence(0.0, 0.0, 0.0, int(both.sum()))
    one, two = one[both].astype(np.float64), two[both].astype(np.float64)
    ratio = np.log(two / one)
    ratio -= np.median(ratio)
    low, high = np.percentile(ratio, [0.5, 99.5])
    varied = one.std() > 0 and two.std() > 0
    correlation = float(np.corrcoef(one, two)[0, 1]) if varied else 0.0
    return PairEvidence(float(low + high), correlation, float(np.median(np.abs(ratio))), int(both.sum()))


def contrast_flags(t1n: Volume, t1c: Volume) -> list[QCFlag]:
    """Remarks on whether t1c really is the T1 with contrast and t1n the one without."""
    pair = compare_pair(t1n, t1c)
    if pair.voxels and pair.asymmetry < SWAPPED_ASYMMETRY:
        reason = (
            f"t1n and t1c may be swapped: the brightest tissue of t1n stands out {np.exp(-pair.asymmetry):.1f} times "
            f"more than that of t1c (expected the other way round)"
        )
        return [QCFlag("t1_contrast_odd", Severity.WARNING, reason)]
    if pair.voxels and pair.correlation > UNENHANCED_CORRELATION and pair.spread < UNENHANCED_SPREAD:
        reason = (
            f"t1c looks like t1n (correlation {pair.correlation:.3f}, typical difference {100 * pair.spread:.1f} %): "
            f"perhaps no contrast was given, or one scan was used twice"
        )
        return [QCFlag("t1_contrast_odd", Severity.WARNING, reason)]
    return []


def _intensity_cautions(values: npt.NDArray[np.float32]) -> list[tuple[str, str]]:
    cautions = []
    highest = float(values.max())
    saturated = np.count_nonzero(values == highest) / values.size
    limit = MAX_INT16_SHARE if highest == INT16_MAX else MAX_SATURATED_SHARE
    if saturated > limit:
        reason = f"{100 * saturated:.2f} % of the tissue has the highest value {highest:g}: bright parts are saturated"
        cautions.append(("saturated", reason))
    levels = _grey_levels(values[:: max(1, values.size // 500_000)])
    if levels < MIN_DISTINCT_VALUES:
        cautions.append(
            ("low_dynamic_range", f"the tissue has only {levels} grey levels (at least {MIN_DISTINCT_VALUES} wanted)")
        )
    return cautions


def _wrong_values(data: npt.NDArray[np.float32], whole: bool) -> str:
    """What is wrong with values that no scanner gives: inverted ones, or such as overflowed; else empty."""
    low, high = float(data.min()), float(data.max())
    if high <= 0:
        return f"no value is above 0 (from {low:.4g} to {high:.4g}): the intensities were inverted or shifted"
    # Normalised scans reach as far below 0, but not in whole numbers.
    if not whole or low >= -OVERFLOW_LOW * high:
        return ""
    jumps = np.abs(np.diff(data[:, ::3, ::3], axis=0)) > OVERFLOW_JUMP * (high - low)
    if float(jumps.mean()) <= OVERFLOW_SHARE:
        return ""
    return (
        f"values jump from one end of their range to the other ({low:.4g} to {high:.4g}) between neighbours "
        f"in {100 * float(jumps.mean()):.1f} % of the places, as numbers do that overflowed a 16-bit "
        "type: convert it again"
    )


def _grey_levels(values: npt.NDArray[np.float32]) -> int:
    """The number of different values if it is below ``MIN_DISTINCT_VALUES``; else a number that is not below it."""
    few = np.unique(values[:: max(1, values.size // 5_000)]).size
    return few if few >= MIN_DISTINCT_VALUES else np.unique(values).size


def _face_shares(mask: npt.NDArray[np.bool_]) -> list[float]:
    """Area on each face, in the order of ``_FACES``, over the largest parallel section of an RAS mask."""
    shares = []
    columns = mask.sum(axis=2)
    for sections in (columns.sum(axis=1), columns.sum(axis=0), mask.sum(axis=(0, 1))):
        largest = max(1, int(sections.max()))
        shares += [float(sections[0]) / largest, float(sections[-1]) / largest]
    return shares


def _head_length_mm(opened: npt.NDArray[np.bool_], spacing_mm: float) -> float:
    """How far the head reaches from front to back in its largest axial section, in mm.

    Args:
        opened: every second voxel along x and y of an RAS mask.
        spacing_mm: of the whole mask along y.
    """
    area = opened.sum(axis=(0, 1))
    if not area.any():
        return 0.0
    rows = np.flatnonzero(opened[:, :, int(area.argmax())].any(axis=0))
    return float(rows[-1] - rows[0] + 1) * 2 * spacing_mm


def _border_cautions(opened: npt.NDArray[np.bool_], brain_slices: int) -> list[str]:
    """On which faces of an RAS mask tissue is cut off, in words.

    Args:
        opened: the head, without noise.
        brain_slices: how many axial slices from the top of the head down the brain takes up.
    """
    filled = np.flatnonzero(opened.any(axis=(0, 1)))
    if not filled.size:
        return []
    level = opened[:, :, max(0, int(filled[-1]) + 1 - brain_slices) : int(filled[-1]) + 1]
    shares = [*_face_shares(level)[:4], 0.0, _face_shares(opened)[5]]
    limits = (MAX_SIDE_SHARE,) * 4 + (1.0, MAX_TOP_SHARE)
    return [
        f"{face} side ({100 * share:.0f} % of the largest section is tissue there, limit {100 * limit:.0f} %)"
        for face, share, limit in zip(_FACES, shares, limits, strict=True)
        if share > limit
    ]


def head_state_of(scans: list[Volume]) -> tuple[HeadState, bool]:
    """What the scans show together, and whether they disagree (then FULL is assumed).

    A defaced head cannot be told from a whole one by this cheap look: both count as FULL.
    """
    stripped = [shows_brain_only(scan) for scan in scans]
    return (HeadState.BRAIN if all(stripped) else HeadState.FULL), any(stripped) and not all(stripped)
