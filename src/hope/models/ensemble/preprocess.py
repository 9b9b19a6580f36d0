"""From the images of a case to what a group of networks was trained on, with the facts to come back.

nnU-Net (v1 and v2): reorder the axes, crop to the box of all nonzero voxels, normalise each channel, resample. v2
normalises first and divides by max(deviation, 1e-8); v1 resamples first, divides by deviation + 1e-8, and sets what
lies outside of its nonzero mask to 0. Written from the behaviour of nnunetv2 2.8, with which the tests compare it, and
of nnunet 1.7, which cannot be installed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from torch import Tensor

from hope.domain.box import Box, box_of
from hope.domain.case import HarmonizedCase, MRSequence
from hope.domain.errors import StageError
from hope.domain.grid import Grid, Shape
from hope.domain.volume import Volume
from hope.models.ensemble.resample import resample_image, resample_output, separate_axis, shape_at
from hope.models.ensemble.spec import Group, Method, Preprocessing, Resampling

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

FILE_ORDER = "LPS"
"""The order in which BraTS files store their voxels, and so the one that the published networks were trained in."""
_TINY = 1e-8


class CaseImages:
    """The images of a case as arrays (x, y, z) in `FILE_ORDER`; views where possible."""

    def __init__(self, case: HarmonizedCase) -> None:
        self._images = case.images
        self._own = case.aligned.grid
        self.grid: Grid = self._own.reoriented(FILE_ORDER)
        self._nonzero: dict[frozenset[str], Mask] = {}

    def channel(self, name: str) -> Image:
        """One sequence, float32."""
        data = self._images[MRSequence(name)].reoriented(FILE_ORDER).data
        return np.asarray(data, dtype=np.float32)

    def nonzero(self, names: Sequence[str]) -> Mask:
        """Where any of these sequences is not 0; found once.

        Raises:
            StageError: if that is nowhere, or an image holds NaN or infinity.
        """
        key = frozenset(names)
        if key not in self._nonzero:
            mask = np.zeros(self.grid.shape, dtype=bool)
            for name in sorted(key):
                image = self.channel(name)
                if not np.isfinite(image).all():
                    raise StageError(f"the {name} image holds voxels that are not finite; make it again without them")
                mask |= image != 0
            if not mask.any():
                raise StageError("all images are 0 everywhere, so there is nothing to segment")
            self._nonzero[key] = mask
        return self._nonzero[key]

    def in_own_order(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring an array (x, y, z) in `FILE_ORDER` back to the axes of the case's own grid."""
        return np.ascontiguousarray(Volume(data, self.grid).reoriented(self._own.orientation).data)


@dataclass(frozen=True)
class Layout:
    """Where a group's network grid lies in the case; enough to bring an answer back.

    Attributes:
        order: for each axis of the network's arrays the axis (0 x, 1 y, 2 z) of `CaseImages`.
        box: of the crop, in voxels of the case, axes in the network's order.
        cropped: shape of the crop.
        shape: shape of the network's grid.
        spacing_mm: of the case, in the network's order.
        wanted_mm: of the network's grid.
    """

    order: tuple[int, int, int]
    box: Box
    cropped: Shape
    shape: Shape
    spacing_mm: tuple[float, ...]
    wanted_mm: tuple[float, ...]

    def to_network(self, image: Image, how: Resampling) -> Image:
        """Resample one cropped channel."""
        return resample_image(
            image, self.shape, separate_axis(self.spacing_mm, self.wanted_mm, how.force_separate_z), how
        )

    def from_network(self, output: Tensor, how: Resampling) -> Tensor:
        """Resample network output (classes, *shape) back to (classes, *cropped)."""
        axis = separate_axis(self.wanted_mm, self.spacing_mm, how.force_separate_z)
        return resample_output(output, self.cropped, axis, how)


def lay_out(images: CaseImages, group: Group) -> Layout:
    """Find where the group's grid lies, without touching an intensity.

    Raises:
        StageError: if the images are empty.
    """
    prep = group.preprocessing
    base = (2, 1, 0) if prep.axes == "zyx" else (0, 1, 2)
    i, j, k = (base[axis] for axis in prep.transpose)
    order = (i, j, k)
    spacing = tuple(images.grid.spacing_mm[axis] for axis in order)
    mask = images.nonzero(group.channels).transpose(order)
    box = box_of(mask if prep.method is Method.NNUNET else np.ones_like(mask))
    a, b, c = (part.stop - part.start for part in box)
    wanted = prep.spacing_mm or spacing
    return Layout(order, box, (a, b, c), shape_at((a, b, c), spacing, wanted), spacing, wanted)


def prepare(images: CaseImages, group: Group, layout: Layout) -> Image:
    """Network input (channels, *layout.shape)."""
    prep = group.preprocessing
    out = np.empty((len(group.channels), *layout.shape), dtype=np.float32)
    inside = _inside(images, group, layout) if any(prep.nonzero_only) else None
    resampled = inside
    if inside is not None and not prep.normalise_first:
        # nnU-Net v1 resamples its mask linearly in plane; half and above is inside.
        resampled = layout.to_network(inside.astype(np.float32), Resampling(1, 0, prep.images.force_separate_z)) >= 0.5
    for number, name in enumerate(group.channels):
        image = np.array(images.channel(name).transpose(layout.order)[layout.box], order="C")
        if prep.method is Method.NONZERO_CHANNEL:
            out[number] = layout.to_network(_over_nonzero(image), prep.images)
        elif prep.normalise_first:
            out[number] = layout.to_network(_normalised(image, inside, prep, number), prep.images)
        else:
            out[number] = _normalised(layout.to_network(image, prep.images), resampled, prep, number)
    return out


def _inside(images: CaseImages, group: Group, layout: Layout) -> Mask:
    """The nonzero mask within the box with its holes filled: background that does not reach the border by faces."""
    mask = images.nonzero(group.channels).transpose(layout.order)[layout.box]
    regions, count = ndimage.label(~mask)
    reaches_border = np.zeros(count + 1, dtype=bool)
    for axis in range(3):
        for end in (0, -1):
            reaches_border[regions.take(end, axis=axis)] = True
    reaches_border[0] = False
    return np.asarray(~reaches_border[regions])


def _normalised(image: Image, inside: Mask | None, prep: Preprocessing, number: int) -> Image:
    """One channel by nnU-Net's rules; ``image`` is overwritten."""
    scheme, limited = prep.schemes[number], prep.nonzero_only[number] and inside is not None
    if scheme == "ZScoreNormalization":
        where: Mask | slice = inside if limited and inside is not None else slice(None)
        values = image[where]
        # In single precision like the original: the networks' inputs are then the same to the last bit.
        mean, deviation = values.mean(), values.std()
        image[where] = (values - mean) / (max(deviation, _TINY) if prep.normalise_first else deviation + _TINY)
    elif scheme == "CTNormalization":
        known = prep.intensities[str(number)]
        np.clip(image, known["percentile_00_5"], known["percentile_99_5"], out=image)
        image -= known["mean"]
        image /= max(known["std"], _TINY)
    elif scheme == "RescaleTo01Normalization":
        image -= image.min()
        image /= max(float(image.max()), _TINY)
    if limited and not prep.normalise_first and scheme != "NoNormalization":
        image[~np.asarray(inside)] = 0
    return image


def _over_nonzero(image: Image) -> Image:
    """Zero mean and unit deviation over the nonzero voxels, which alone change; a constant channel becomes 0 there.

    MONAI's NormalizeIntensity(nonzero=True, channel_wise=True) in other words.
    """
    nonzero = image != 0
    values = image[nonzero]
    if values.size:
        image[nonzero] = (values - values.mean(dtype=np.float64)) / (values.std(dtype=np.float64) or 1.0)
    return image
