"""The brain mask: where it comes from, whether it is believable, and whether it cuts abnormal tissue away."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.case import MRSequence
from hope.domain.qc import QCFlag, Severity
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.atlas import atlas_brain
from hope.ports import BrainExtractor
from hope.stages.masks import box_around, cropped, grown, mask_ml, solid
from hope.stages.preprocess.align_check import coarsened
from hope.stages.preprocess.starts import centre_of_ras_mm
from hope.stages.resample import resample

SMALLEST_BRAIN_ML, LARGEST_BRAIN_ML = 250.0, 2300.0
"""A newborn's brain has about 350 ml, a large adult's with its fluid about 2000 ml; field-of-view cuts take some."""

SMALLEST_SHAPE_DICE = 0.75
"""Agreement with a scaled atlas brain, not rotated: true masks measured 0.79 to 0.95, half a brain 0.70 to 0.72."""

SMALLEST_USABLE_DICE = 0.5

MODERATE_DICE = 0.80
GOOD_DICE = 0.95

_SHAPE_SPACING_MM = 4.0
_ZONE_DEPTH_MM = 5.0
_NEAR_MASK_MM = 3.0
_ZONE_REACH_MM = 40.0
_AROUND_CUT_MM = 10.0
_SMALLEST_CUT_ML = 1.0
_BRIGHT_SPREADS = 2.5


@dataclass(frozen=True)
class FoundBrain:
    """A brain mask on one scan's grid.

    Attributes:
        mask: bool volume on the scan's grid.
        shape_dice: agreement with the atlas brain, centred and scaled to the same volume.
        cautions: what speaks against the mask; empty if nothing does.
    """

    mask: Volume
    shape_dice: float
    cautions: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether the mask, though perhaps uncertain, is better than the atlas brain."""
        return self.shape_dice >= SMALLEST_USABLE_DICE and _believable_volume(self.mask)


def find_brain(scan: Volume, extractor: BrainExtractor) -> FoundBrain:
    """Extract the brain from one scan (file order, any orientation) and judge the mask.

    Raises:
        StageError: if the extractor finds no brain.
    """
    return judged(scan.with_data(solid(extractor.extract(scan))))


def judged(mask: Volume) -> FoundBrain:
    """A mask together with what speaks against it: its volume and its shape."""
    volume_ml = mask_ml(mask)
    shape = shape_dice(mask)
    cautions = []
    if not _believable_volume(mask):
        cautions.append(
            f"its volume is {volume_ml:.0f} ml (believable: {SMALLEST_BRAIN_ML:.0f} to {LARGEST_BRAIN_ML:.0f} ml)"
        )
    if shape < SMALLEST_SHAPE_DICE:
        cautions.append(f"its shape agrees with the atlas brain only to a Dice of {shape:.2f}")
    return FoundBrain(mask, shape, tuple(cautions))


def _believable_volume(mask: Volume) -> bool:
    return SMALLEST_BRAIN_ML <= mask_ml(mask) <= LARGEST_BRAIN_ML


def shape_dice(mask: Volume) -> float:
    """Dice of a mask and the atlas brain, laid centre on centre and scaled to one volume (not rotated)."""
    if not mask.data.any():
        return 0.0
    small = coarsened(mask.with_data(mask.data.astype(np.float32)), _SHAPE_SPACING_MM)
    here = small.data > 0.5
    there = resample(atlas_brain(), small.grid, atlas_scaled_onto(mask), "nearest").data
    # The scan's own grid is the judge: what lies beyond its field of view is no fault of the mask.
    return 2.0 * float((here & there).sum()) / max(float(here.sum() + there.sum()), 1.0)


def atlas_scaled_onto(mask: Volume) -> Transform:
    """World of ``mask`` to world of the atlas: centre on centre, scaled to the same volume."""
    atlas = atlas_brain()
    scale = (mask_ml(atlas) / mask_ml(mask)) ** (1 / 3)
    matrix = np.diag([scale, scale, scale, 1.0])
    matrix[:3, 3] = centre_of_ras_mm(atlas) - scale * centre_of_ras_mm(mask)
    return Transform(matrix)


def mask_of_stripped(images: list[Volume]) -> npt.NDArray[np.bool_]:
    """Brain mask (i, j, k) of skull-stripped images on one grid: not 0 in any of them, holes filled.

    Raises:
        StageError: if all images are empty.
    """
    shown = images[0].data != 0
    for image in images[1:]:
        shown |= image.data != 0
    return solid(shown)


def joined(mine: FoundBrain, other: FoundBrain, names: tuple[str, str]) -> tuple[FoundBrain, list[QCFlag]]:
    """One mask from two scans' masks on one grid: cutting the brain is worse than keeping some dura.

    Near agreement keeps the first, moderate disagreement takes both together, and of two that contradict each
    other the better shaped is taken; the last two cases are flagged.
    """
    both = float((mine.mask.data & other.mask.data).sum())
    dice = 2.0 * both / max(float(mine.mask.data.sum() + other.mask.data.sum()), 1.0)
    if dice >= GOOD_DICE and not mine.cautions:
        return mine, []
    if dice >= MODERATE_DICE:
        united = judged(mine.mask.with_data(solid(mine.mask.data | other.mask.data)))
        text = f"the brain masks of {names[0]} and {names[1]} agree to a Dice of {dice:.2f}; both together are used"
        return united, [QCFlag("brain_masks_differ", Severity.INFO, text)]
    best, name = max(((mine, names[0]), (other, names[1])), key=lambda pair: pair[0].shape_dice)
    text = (
        f"the brain masks of {names[0]} and {names[1]} agree only to a Dice of {dice:.2f}; "
        f"that of {name} is used, whose shape is nearer to the atlas brain"
    )
    return best, [QCFlag("brain_masks_differ", Severity.WARNING, text)]


def keep_cut_tissue(
    mask: Volume, images: dict[MRSequence, Volume], seen: npt.NDArray[np.bool_]
) -> tuple[Volume, list[QCFlag]]:
    """Look for T2-bright tissue just outside the mask that an atlas brain of this size would hold; keep it.

    Args:
        mask: bool brain mask in atlas space.
        images: uncorrected images on the same grid; t2f is used, else t2w.
        seen: (i, j, k) voxels that the field of view of that image covers.

    Returns:
        The mask, grown by what it seemed to cut, and a flag with the millilitres if there was any.
    """
    name = next((s for s in (MRSequence.T2F, MRSequence.T2W) if s in images), None)
    if name is None or not mask.data.any():
        return mask, []
    box = box_around(mask, _ZONE_REACH_MM)
    small, view, data = cropped(mask, box), seen[box], images[name].data[box]
    inside = resample(atlas_brain(), small.grid, atlas_scaled_onto(mask), "nearest").data
    depth_mm = np.zeros(inside.shape)
    where = box_around(Volume(inside, small.grid), max(small.grid.spacing_mm))
    depth_mm[where] = ndimage.distance_transform_edt(inside[where], sampling=small.grid.spacing_mm)
    middle, spread = _middle_and_spread(data[small.data & view])
    bright = (depth_mm > _ZONE_DEPTH_MM) & ~small.data & view & (data > middle + _BRIGHT_SPREADS * spread)
    parts = cc3d.connected_components(bright, connectivity=26)
    sizes_ml = np.bincount(parts.ravel()) * small.grid.voxel_volume_ml
    if (sizes_ml[1:] < _SMALLEST_CUT_ML).all():
        return mask, []
    touching = np.unique(parts[bright & grown(small, max(_NEAR_MASK_MM, *small.grid.spacing_mm)).data])
    cut = [p for p in touching.tolist() if sizes_ml[p] >= _SMALLEST_CUT_ML]
    if not cut:
        return mask, []
    lost = grown(small.with_data(np.isin(parts, cut)), _AROUND_CUT_MM).data & (depth_mm > _ZONE_DEPTH_MM) & view
    whole = mask.data.copy()
    whole[box] |= lost
    lost_ml = float(sizes_ml[cut].sum())
    text = (
        f"the brain mask left out {lost_ml:.1f} ml of {name}-bright tissue that lies where brain is expected; "
        "it and what surrounds it were added to the mask: look at the picture"
    )
    return mask.with_data(solid(whole)), [QCFlag("brain_mask_may_cut_tissue", Severity.WARNING, text)]


def _middle_and_spread(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    if not len(values):
        return 0.0, float("inf")
    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(values - middle)))
