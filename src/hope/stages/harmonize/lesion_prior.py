"""Where a lesion may be, before any model has looked: bright where nothing should be, on FLAIR or after contrast.

A rough answer for harmonisation, which must learn the healthy brain's intensities and leave the lesion's contrast
alone; it is no segmentation. A voxel is suspected if its neighbourhood is brighter than nearly all of the brain, or
brighter than the same place on the other side, both in units of the brain's own robust spread. Holes count as lesion:
dead cores and cysts are dark.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import cc3d
import fill_voids
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.case import AlignedCase, MRSequence
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.atlas import atlas_white_matter
from hope.stages.masks import box_around
from hope.stages.resample import resample

Mask = npt.NDArray[np.bool_]
Field = npt.NDArray[np.float32]

WORKING_MM = 2.0
"""Voxels are averaged to about this size: a lesion that matters is larger, and noise is not."""

SMOOTHING_MM = 2.0

BRIGHT = 2.6
"""Robust deviations above the brain's median. A normal distribution has 0.5 % there; healthy FLAIR less."""

ASYMMETRIC, LIFTED = 3.0, 1.2
"""Robust deviations above the other side that are suspicious where the place is bright by itself, if less."""

SMALLEST_ML = 0.3
"""Smaller spots are vessels and noise."""

MARGIN_MM = 2.0
"""Grown by this: the rim of a lesion is partly lesion."""

MOST = 0.5
"""If more of the brain than this is suspected, the images are odd and nothing is: half a brain is no outlier."""

_RIM_MM = 4.0
"""The outermost brain holds vessels, meninges and what stripping left; what is bright there needs a core inside."""


SURE_WHITE = 0.8
"""Probability of white matter in the atlas from which a voxel counts as such in any head that lies on it."""

LEAST_ML = 5.0
"""Less of a tissue than this says nothing about it."""


@dataclass(frozen=True)
class Regions:
    """Where what can be measured; (i, j, k) bool on the case's grid.

    Attributes:
        brain: all of the brain.
        lesion: what is suspected.
        healthy: the brain without it, or all of the brain if too little were left to learn from.
        white: healthy white matter after the atlas; the healthy brain where the case does not lie on the atlas.
    """

    brain: Mask
    lesion: Mask
    healthy: Mask
    white: Mask


_known: dict[int, Regions] = {}
"""Of the cases that are still in use, by their identity: a method, its guard and the last check ask for the same."""


def regions_of(case: AlignedCase) -> Regions:
    """Healthy brain, suspected lesion and white matter of a case; found once and kept as long as the case is."""
    known = _known.get(id(case))
    if known is None:
        known = _known[id(case)] = _regions(case)
        weakref.finalize(case, _known.pop, id(case), None)
    return known


def _regions(case: AlignedCase) -> Regions:
    brain = np.asarray(case.brain_mask.data, dtype=bool)
    lesion = suspected_lesion(case).data
    rest: Mask = brain & ~lesion
    healthy = rest if np.count_nonzero(rest) >= MOST * np.count_nonzero(brain) else brain
    tissue = atlas_white_matter()
    if not case.grid.same_as(tissue.grid):
        tissue = resample(tissue, case.grid, Transform.identity(), "linear")
    white = healthy & (tissue.data > SURE_WHITE)
    enough = np.count_nonzero(white) * case.grid.voxel_volume_ml >= LEAST_ML
    return Regions(brain, lesion, healthy, white if enough else healthy)


def healthy_brain(case: AlignedCase) -> Mask:
    """Where a style is to be measured; see `Regions`."""
    return regions_of(case).healthy


def suspected_lesion(case: AlignedCase) -> Volume:
    """Where a lesion may be, bool on the case's grid, inside the brain; empty if nothing stands out.

    Args:
        case: one to four sequences; without t2f and t1c nothing is suspected, since fluid is as bright on t2w.
    """
    brain = case.brain_mask
    out = np.zeros(brain.grid.shape, dtype=bool)
    upright = brain.reoriented("RAS")
    box = box_around(upright, WORKING_MM)
    step = tuple(max(1, round(WORKING_MM / s)) for s in upright.grid.spacing_mm)
    spacing_mm = tuple(s * n for s, n in zip(upright.grid.spacing_mm, step, strict=True))
    mask = _pooled(upright.data[box].astype(np.float32), step) > 0.5
    if not mask.any():
        return brain.with_data(out)
    found = np.zeros(mask.shape, dtype=bool)
    images = {
        s: _smooth(_pooled(v.reoriented("RAS").data[box], step), mask, spacing_mm) for s, v in case.images.items()
    }
    for bright in _evidence(images, mask):
        found |= bright
    found = _components(found, mask, spacing_mm)
    if np.count_nonzero(found) > MOST * np.count_nonzero(mask):
        return brain.with_data(out)
    whole = np.zeros(upright.grid.shape, dtype=bool)
    whole[box] = _unpooled(found, step, whole[box].shape)
    marked = Volume(whole & upright.data, upright.grid).reoriented(brain.grid.orientation)
    return brain.with_data(np.ascontiguousarray(marked.data))


def _evidence(images: dict[MRSequence, Field], mask: Mask) -> list[Mask]:
    found = []
    if MRSequence.T2F in images:
        z = _deviation(images[MRSequence.T2F], mask)
        found.append(_candidates(z, mask))
    if MRSequence.T1C in images:
        t1c = images[MRSequence.T1C]
        z = _deviation(t1c, mask)
        bright = z > BRIGHT
        if MRSequence.T1N in images:
            # What was bright before contrast is fat, blood or myelin.
            gained = _deviation(_relative(t1c, mask) - _relative(images[MRSequence.T1N], mask), mask)
            bright = (gained > BRIGHT) & (z > LIFTED)
        found.append(bright & mask)
    return found


def _candidates(z: Field, mask: Mask) -> Mask:
    return ((z > BRIGHT) | ((_between_sides(z, mask) > ASYMMETRIC) & (z > LIFTED))) & mask


def _relative(image: Field, mask: Mask) -> Field:
    median = float(np.median(image[mask]))
    return image / np.float32(median) if median > 0 else image


def _deviation(image: Field, mask: Mask) -> Field:
    """Robust deviations from the median inside the mask; 0 everywhere for an image without contrast."""
    values = image[mask]
    median = np.median(values)
    # From the lower half too: a large lesion widens the upper one.
    spread = 1.4826 * float(np.median(np.abs(values - median)))
    if spread <= 1e-6 * max(abs(float(median)), 1e-6):
        return np.zeros(image.shape, dtype=np.float32)
    return ((image - median) / spread).astype(np.float32)


def _between_sides(z: Field, mask: Mask) -> Field:
    """How much brighter a place is than its mirror image; the first axis runs from left to right."""
    where = np.flatnonzero(mask.any(axis=(1, 2)))
    centre = round(2 * float(np.average(where, weights=mask.sum(axis=(1, 2))[where])))
    mirror = centre - np.arange(z.shape[0])
    inside = (mirror >= 0) & (mirror < z.shape[0])
    other = z[np.clip(mirror, 0, z.shape[0] - 1)]
    both = mask & mask[np.clip(mirror, 0, z.shape[0] - 1)] & inside[:, None, None]
    return np.where(both, z - other, np.float32(0))


def _components(found: Mask, mask: Mask, spacing_mm: tuple[float, ...]) -> Mask:
    """Parts of some size that reach into the brain, holes filled, grown a little."""
    depth_mm = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    parts = cc3d.connected_components(found, connectivity=6)
    if parts.max() == 0:
        return found
    sizes = np.bincount(parts.ravel())
    deep = np.bincount(parts.ravel(), weights=(depth_mm > _RIM_MM).ravel())
    smallest = SMALLEST_ML * 1000 / float(np.prod(spacing_mm))
    keep = (sizes >= smallest) & (deep >= smallest / 2)
    keep[0] = False
    kept = np.asarray(fill_voids.fill(keep[parts])).astype(bool)
    if not kept.any():
        return kept
    grown = ndimage.distance_transform_edt(~kept, sampling=spacing_mm) <= MARGIN_MM
    return np.asarray(grown & mask)


def _smooth(image: Field, mask: Mask, spacing_mm: tuple[float, ...]) -> Field:
    """Gaussian mean over the mask's voxels alone."""
    sigma = [SMOOTHING_MM / s for s in spacing_mm]
    inside = mask.astype(np.float32)
    weight = ndimage.gaussian_filter(inside, sigma, truncate=2)
    return np.asarray(ndimage.gaussian_filter(image * inside, sigma, truncate=2) / np.maximum(weight, 1e-3))


def _pooled(data: Field, step: tuple[int, ...]) -> Field:
    """Means of blocks; the last ones are filled up with zeros."""
    wide = [(0, -n % s) for n, s in zip(data.shape, step, strict=True)]
    padded = np.pad(data, wide)
    blocks = [part for n, s in zip(padded.shape, step, strict=True) for part in (n // s, s)]
    return np.asarray(padded.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32))


def _unpooled(coarse: Mask, step: tuple[int, ...], shape: tuple[int, ...]) -> Mask:
    for axis, n in enumerate(step):
        coarse = np.repeat(coarse, n, axis=axis)
    return coarse[tuple(slice(0, n) for n in shape)]
