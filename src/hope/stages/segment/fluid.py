"""Fluid-filled spaces at the brain's surface: cavities after surgery, and large cysts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.box import bounding_box
from hope.domain.case import AlignedCase, MRSequence
from hope.domain.qc import QCFlag, Severity
from hope.domain.volume import Volume
from hope.stages.fluid_spaces import Mask, blocks, robust_scores, wide_parts

CODE: Final = "perhaps_cavity"

LEAST_ML: Final = 2.0
MOST_MIRRORED: Final = 0.35
"""Share of a space whose mirror image is fluid too, from which it counts as a ventricle or a cistern."""
NEAR_SURFACE_MM: Final = 6.0
MARKED: Final = 0.5
"""Share of a space that the model marked as tumour, from which it is part of the outline."""
_STEP_MM: Final = 2.0
_BRIGHT_T2W, _DARK_T2F, _DARK_T1 = 2.0, -0.5, -1.0
"""In robust z-scores of the brain (median, median absolute deviation). These and the figures above were chosen on
synthetic cases with and without cavities and on the training adults (``benchmarks/cavities.py``)."""


@dataclass(frozen=True)
class FluidSpace:
    """One fluid-filled space on one side of the brain that reaches its surface.

    Attributes:
        ml: its volume.
        marked: share of it that lies in the mask.
    """

    ml: float
    marked: float


def surface_fluid(images: Mapping[MRSequence, Volume], brain: Volume, labels: Volume) -> list[FluidSpace]:
    """Find spaces that are bright on T2 and dark on FLAIR and T1, 8 mm wide, on one side, near the brain's surface.

    Args:
        images: scans of one grid; t2w and one more sequence have to be there, else nothing is found.
        brain: what is brain, on the same grid.
        labels: the model's mask on the same grid.

    Returns:
        the largest first.
    """
    if MRSequence.T2W not in images or len(images) < 2:
        return []
    inside = np.asarray(brain.reoriented("RAS").data, dtype=bool)
    box = bounding_box(inside)
    if box is None:
        return []
    step = [max(1, round(_STEP_MM / size)) for size in brain.reoriented("RAS").grid.spacing_mm]
    size = np.array(step) * np.array(brain.reoriented("RAS").grid.spacing_mm)

    def small(volume: Volume) -> npt.NDArray[np.float32]:
        return blocks(np.asarray(volume.reoriented("RAS").data)[box], step)

    tissue = blocks(inside[box], step) > 0.5
    if not tissue.any():
        return []
    scores = {sequence: robust_scores(small(image), tissue) for sequence, image in images.items()}
    fluid = _fluid(scores, tissue)
    marked = blocks(np.asarray(labels.reoriented("RAS").data)[box] > 0, step) > 0.5
    parts = wide_parts(fluid)
    mirrored = ndimage.binary_dilation(fluid, iterations=1)[::-1]
    voxel_ml = float(np.prod(size)) / 1000
    spaces = [parts == number for number in range(1, int(parts.max(initial=0)) + 1)]
    spaces = [s for s in spaces if s.sum() * voxel_ml >= LEAST_ML and mirrored[s].mean() < MOST_MIRRORED]
    if not spaces:
        return []
    depth = _depth_mm(tissue, size)
    found = [
        FluidSpace(float(space.sum()) * voxel_ml, float(marked[space].mean()))
        for space in spaces
        if depth[space].min() <= NEAR_SURFACE_MM
    ]
    return sorted(found, key=lambda space: -space.ml)


def cavity_flags(aligned: AlignedCase, labels: Volume) -> tuple[QCFlag, ...]:
    """What a reader is told of such spaces: one remark on those outside the mask, one on those in it."""
    spaces = surface_fluid(aligned.images, aligned.brain_mask, labels)
    outside = [space for space in spaces if space.marked < MARKED]
    within = [space for space in spaces if space.marked >= MARKED]
    flags = []
    if outside:
        flags.append(
            QCFlag(
                CODE,
                Severity.CAUTION,
                f"{_spaces(outside)} at the brain's surface without a counterpart on the other side, which the model "
                "did not mark: perhaps a cavity after surgery, which is not tumour, or a cyst that the model left out. "
                "Results after surgery were not validated",
            )
        )
    if within:
        flags.append(
            QCFlag(
                CODE,
                Severity.CAUTION,
                f"{_spaces(within)} at the brain's surface was marked as tumour by the model: perhaps a cyst of the "
                "tumour; after surgery perhaps a cavity, which is not tumour. Results after surgery were not validated",
            )
        )
    return tuple(flags)


def _spaces(spaces: list[FluidSpace]) -> str:
    total = sum(space.ml for space in spaces)
    return f"fluid of {total:.0f} ml" if len(spaces) == 1 else f"fluid in {len(spaces)} places, {total:.0f} ml in all,"


def _fluid(scores: Mapping[MRSequence, npt.NDArray[np.float32]], tissue: Mask) -> Mask:
    fluid = tissue & (scores[MRSequence.T2W] > _BRIGHT_T2W)
    if MRSequence.T2F in scores:
        fluid &= scores[MRSequence.T2F] < _DARK_T2F
    native = scores.get(MRSequence.T1N, scores.get(MRSequence.T1C))
    if native is not None:
        fluid &= native < _DARK_T1
    return fluid


def _depth_mm(tissue: Mask, size: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Distance from outside the brain, whose grooves are closed first."""
    padded = np.pad(tissue, 7)
    closed = ndimage.binary_closing(padded, iterations=5)
    return np.asarray(ndimage.distance_transform_edt(closed, sampling=size))[7:-7, 7:-7, 7:-7]
