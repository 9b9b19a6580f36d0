"""The region that the features describe: the largest connected part of the whole tumour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cc3d
import numpy as np
import numpy.typing as npt

from hope.domain.box import Box, bounding_box
from hope.domain.errors import StageError
from hope.domain.labels import region_mask
from hope.domain.volume import Volume

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ORIENTATION: Final = "LPS"
"""The orientation of BraTS files. Slice, column and row mean the planes of such a file."""

CONNECTIVITY: Final = 26

LEAST_DIRECTIONS: Final = 2
"""A region has to be wider than one voxel along at least so many axes, or its texture is not defined."""


@dataclass(frozen=True)
class Region:
    """A mask cut out along its bounding box, axes in the order (k, j, i) of the file: slice, row, column.

    Attributes:
        inside: (k, j, i) mask; every face of the box touches it.
        box: where the box lies in the (k, j, i) volume.
        spacing_mm: distance between voxel centres along k, j, i.
    """

    inside: BoolArray
    box: Box
    spacing_mm: tuple[float, float, float]

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in cubic millimetres."""
        return float(np.prod(self.spacing_mm))

    def values_of(self, image: Volume) -> npt.NDArray[np.generic]:
        """(n,) voxels of an image in ``ORIENTATION`` inside the region; k slowest, i fastest."""
        return np.asarray(image.data.transpose(2, 1, 0)[self.box][self.inside])


def largest_region(labels: Volume) -> Region:
    """The largest 26-connected part of the labels of the whole tumour.

    Of parts of one size it is the one that comes first in the file.

    Args:
        labels: uint8 peds labels in ``ORIENTATION``.

    Raises:
        StageError: if there is no tumour, or the largest part is a single voxel or a straight row of voxels along an
            axis, which have no texture.
    """
    tumour = region_mask(labels.data, "WT").transpose(2, 1, 0)
    box = bounding_box(tumour)
    if box is None:
        raise StageError("radiomics needs a tumour, and the labels have none: every voxel is background")
    parts = cc3d.connected_components(np.ascontiguousarray(tumour[box]), connectivity=CONNECTIVITY)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    in_file_order = parts[parts > 0]
    largest = in_file_order[np.argmax(sizes[in_file_order] == sizes.max())]
    within = bounding_box(parts == largest) or box
    extent = [span.stop - span.start for span in within]
    if sum(width > 1 for width in extent) < LEAST_DIRECTIONS:
        raise StageError(
            f"radiomics needs a tumour wider than one voxel along at least {LEAST_DIRECTIONS} axes, but the largest "
            f"connected part has {sizes.max()} voxel(s) and measures {' x '.join(str(n) for n in reversed(extent))}"
        )
    if sizes.max() == labels.grid.voxel_count:
        raise StageError("radiomics needs a tumour with something around it, but the labels mark every voxel")
    i, j, k = labels.grid.spacing_mm
    where = tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(box, within, strict=True))
    return Region(parts[within] == largest, (where[0], where[1], where[2]), (k, j, i))
