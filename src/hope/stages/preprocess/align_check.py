"""How well two scans of one head agree under a transform: cheap figures that judge starts and results."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.grid import FloatArray
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.stages.resample import resample

BINS = 32
"""Grey levels that a probe tells apart."""

_PROBE_SPACING_MM = 4.0


@dataclass(frozen=True)
class Agreement:
    """Figures of one alignment.

    Attributes:
        nmi: normalised mutual information (H(a) + H(b)) / H(a, b), 1 (independent) to 2 (same).
        overlap: share (0..1) of the fixed image's probed points that lie within the moving field of view.
    """

    nmi: float
    overlap: float

    @property
    def score(self) -> float:
        """One number to compare alignments by; 0 is none. Little overlap cannot win by agreeing on little."""
        return (self.nmi - 1.0) * self.overlap


@dataclass(frozen=True, eq=False)
class ProbePoints:
    """What a probe looks at in the fixed image, for one moving image after another.

    Attributes:
        points_ras_mm, fixed_bins: as in `Probe`.
    """

    points_ras_mm: FloatArray
    fixed_bins: npt.NDArray[np.intp]

    @classmethod
    def of(cls, fixed: Volume, mask: Volume | None = None) -> ProbePoints:
        """Points of ``fixed`` (within ``mask``, same grid, where given) about every 4 mm."""
        coarse = _levels(coarsened(fixed, _PROBE_SPACING_MM))
        whole = Volume(np.ones(fixed.grid.shape, dtype=bool), fixed.grid)
        inside = resample(mask or whole, coarse.grid, Transform.identity(), "nearest").data > 0
        return cls(coarse.grid.to_world(np.argwhere(inside)), np.rint(coarse.data[inside]).astype(np.intp))

    def against(self, moving: Volume) -> Probe:
        """The probe of these points and ``moving``."""
        return Probe(self.points_ras_mm, self.fixed_bins, _levels(coarsened(moving, _PROBE_SPACING_MM)))


@dataclass(frozen=True, eq=False)
class Probe:
    """The fixed image at a few thousand points, and the moving image to compare with.

    Attributes:
        points_ras_mm: (n, 3) world positions in the fixed space.
        fixed_bins: (n,) grey level of the fixed image, 0..31.
        moving: the moving image, smoothed, on a coarse grid, float32 grey levels 0..31.
    """

    points_ras_mm: FloatArray
    fixed_bins: npt.NDArray[np.intp]
    moving: Volume

    @classmethod
    def between(cls, fixed: Volume, moving: Volume, mask: Volume | None = None) -> Probe:
        """Probe ``fixed`` (within ``mask``, same grid, where given) about every 4 mm."""
        return ProbePoints.of(fixed, mask).against(moving)

    def agreement(self, transform: Transform) -> Agreement:
        """Compare under ``transform`` (fixed world to moving world)."""
        voxel = self.moving.grid.to_voxel(transform.apply(self.points_ras_mm)).T
        last = np.array(self.moving.grid.shape)[:, None] - 1
        seen = ((voxel >= -0.5) & (voxel <= last + 0.5)).all(axis=0)
        if int(seen.sum()) < BINS * BINS // 8:
            return Agreement(1.0, 0.0)
        values = ndimage.map_coordinates(self.moving.data, voxel[:, seen], order=1, mode="nearest")
        nmi = mutual_information(self.fixed_bins[seen], np.rint(values).astype(np.intp), BINS)
        return Agreement(nmi, float(seen.mean()))


def coarsened(volume: Volume, spacing_mm: float) -> Volume:
    """``volume`` on a grid of about ``spacing_mm`` over the same field of view, smoothed where it loses samples."""
    grid = volume.grid.with_spacing([spacing_mm] * 3)
    steps = np.array(grid.spacing_mm) / np.array(volume.grid.spacing_mm)
    # 0.4 sqrt(step^2 - 1) voxels is the blur that turns one box sample into a box of `step` samples, nearly.
    sigma = 0.4 * np.sqrt(np.maximum(steps**2 - 1.0, 0.0))
    smooth = ndimage.gaussian_filter(volume.data.astype(np.float32, copy=False), sigma, mode="nearest", truncate=3.0)
    return resample(Volume(smooth, volume.grid), grid, Transform.identity(), "linear")


def clipped(data: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Intensities without the darkest and brightest half per cent: one hot pixel must not own all grey levels."""
    low, high = (float(x) for x in np.percentile(data, (0.5, 99.5)))
    if high <= low:
        low, high = float(data.min()), float(data.max())
    limited: npt.NDArray[np.float32] = np.clip(data, low, high).astype(np.float32, copy=False)
    return limited


def _levels(volume: Volume) -> Volume:
    data = clipped(volume.data)
    low, high = float(data.min()), float(data.max())
    return volume.with_data((data - low) * np.float32((BINS - 1) / (high - low) if high > low else 0.0))


def mutual_information(one: npt.NDArray[np.intp], two: npt.NDArray[np.intp], bins: int) -> float:
    """Normalised mutual information of grey levels 0..bins-1 at the same points, (n,) each: 1 (independent) to 2."""
    joint = np.bincount(one * bins + two, minlength=bins * bins).reshape(bins, bins) / len(one)
    together = _entropy(joint.ravel())
    apart = _entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))
    return apart / together if together > 0 else 1.0


def _entropy(share: FloatArray) -> float:
    present = share[share > 0]
    return float(-(present * np.log(present)).sum())
