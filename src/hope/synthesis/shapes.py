"""Shapes of real tumours: their labels, turned, scaled and put where a synthetic lesion would grow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.labels import first_of_sets, label_set
from hope.synthesis.fields import Field, FieldMaker
from hope.synthesis.tumours import random_rotation


@dataclass(frozen=True)
class LesionShape:
    """The parts of one real tumour, without its image.

    Attributes:
        sets: (i, j, k) uint8 bit sets of the peds values that each voxel may have, RAS; bit 0 is background.
        spacing_mm: isotropic voxel size.
    """

    sets: npt.NDArray[np.uint8]
    spacing_mm: float

    def placed(self, centre_mm: npt.NDArray[np.float64], brain: Field, fields: FieldMaker) -> npt.NDArray[np.uint8]:
        """The tumour in peds labels on the block of ``fields``, inside the brain.

        It is turned and mirrored at random and scaled by 0.6 to 1.25. Where a voxel may be one of several labels, one
        of them is drawn for the whole tumour.

        Args:
            centre_mm: where its middle comes to lie, millimetres of the block.
            brain: (i, j, k) brain fraction of the block.
            fields: randomness and shape.
        """
        tumour = np.argwhere(self.sets != label_set(0))
        if not len(tumour):
            return np.zeros(fields.shape, dtype=np.uint8)
        middle = (tumour.min(axis=0) + tumour.max(axis=0)) / 2
        scale = fields.uniform(0.6, 1.25) * self.spacing_mm / fields.spacing_mm
        linear = random_rotation(fields.rng) @ np.diag([fields.rng.choice([-1.0, 1.0]), 1, 1]) / scale
        offset = middle - linear @ (centre_mm / fields.spacing_mm)
        moved = ndimage.affine_transform(
            self.sets, linear, offset, output_shape=fields.shape, order=0, mode="constant", cval=label_set(0)
        )
        labels = _decided(moved, fields.rng)
        return np.where(brain > 0.5, labels, 0).astype(np.uint8)


def _decided(sets: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """One label per bit set: the same for all voxels with that set."""
    labels = first_of_sets(sets)
    for code in np.unique(sets):
        members = [value for value in range(8) if int(code) >> value & 1]
        if len(members) > 1:
            labels[sets == code] = rng.choice(members)
    return labels
