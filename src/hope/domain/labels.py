"""Label schemas: which number means which tumour part. A schema travels with every model and every mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Label:
    """One tumour part.

    Attributes:
        value: the number in the mask.
        key: short field name, such as ET.
        name: what a person reads.
        colour: sRGB hex, chosen to be told apart by colour-blind readers.
    """

    value: int
    key: str
    name: str
    colour: str


@dataclass(frozen=True)
class LabelSchema:
    """A named set of labels.

    Attributes:
        name: ``peds``, ``brats2023`` or ``brats2021``.
        labels: the labels in order of their values.
        to_peds: this schema's value -> the peds value with the closest meaning.
        may_be: this schema's value -> every peds value that such a voxel may have, where that is more than one; adult
            schemes do not tell a necrotic core (our NET) from a cyst (our CC).
    """

    name: str
    labels: tuple[Label, ...]
    to_peds: Mapping[int, int]
    may_be: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def values(self) -> tuple[int, ...]:
        """All label values, without background."""
        return tuple(label.value for label in self.labels)

    def convert_to_peds(self, mask: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Renumber an integer mask of this schema (any shape) to the peds values.

        Raises:
            ValueError: if the mask holds a value that the schema does not know.
        """
        return self._renumbered(mask, {0: 0, **self.to_peds})

    def label_sets(self, mask: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """The set of peds values that each voxel of an integer mask of this schema (any shape) may have.

        Returns:
            Bit sets of the mask's shape: bit v is set where the voxel may have the peds value v; bit 0 is background.

        Raises:
            ValueError: if the mask holds a value that the schema does not know.
        """
        sets = {value: self.may_be.get(value, (peds,)) for value, peds in self.to_peds.items()}
        return self._renumbered(mask, {0: label_set(0), **{value: label_set(*peds) for value, peds in sets.items()}})

    def _renumbered(self, mask: npt.NDArray[Any], numbers: Mapping[int, int]) -> npt.NDArray[np.uint8]:
        unknown = sorted(set(np.unique(mask).tolist()) - {0, *self.values})
        if unknown:
            raise ValueError(f"label values {unknown} are not part of the {self.name} scheme {list(self.values)}")
        table = np.zeros(int(max(self.values)) + 1, dtype=np.uint8)
        for value, number in numbers.items():
            table[value] = number
        return table[np.asarray(mask).astype(np.intp)]


def label_set(*values: int) -> int:
    """The bit set of some peds values; 0 is background."""
    return sum(1 << value for value in set(values))


def surely_in(sets: npt.NDArray[np.uint8], values: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Where every member of a bit set (any shape) is one of ``values``."""
    return np.asarray((sets & np.uint8(0xFF ^ label_set(*values))) == 0)


def undecided(sets: npt.NDArray[np.uint8], values: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Where a bit set (any shape) has members that are among ``values`` and members that are not."""
    return np.asarray((sets & np.uint8(label_set(*values))) != 0) & ~surely_in(sets, values)


def first_of_sets(sets: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The lowest peds value of each bit set (any shape); the value itself where the set has one member."""
    lowest = np.zeros(256, dtype=np.uint8)
    lowest[1:] = [(number & -number).bit_length() - 1 for number in range(1, 256)]
    return lowest[sets]


ET, NET, CC, ED = 1, 2, 3, 4

PEDS = LabelSchema(
    "peds",
    (
        Label(ET, "ET", "Enhancing tumour", "#D55E00"),
        Label(NET, "NET", "Non-enhancing tumour", "#0072B2"),
        Label(CC, "CC", "Cystic component", "#009E73"),
        Label(ED, "ED", "Peritumoural oedema", "#F0E442"),
    ),
    {ET: ET, NET: NET, CC: CC, ED: ED},
)
BRATS2023 = LabelSchema(
    "brats2023",
    (
        Label(1, "NETC", "Non-enhancing tumour core", "#0072B2"),
        Label(2, "SNFH", "Surrounding FLAIR hyperintensity", "#F0E442"),
        Label(3, "ET", "Enhancing tumour", "#D55E00"),
    ),
    {1: NET, 2: ED, 3: ET},
    {1: (NET, CC)},
)
BRATS2021 = LabelSchema(
    "brats2021",
    (
        Label(1, "NCR", "Necrotic tumour core", "#0072B2"),
        Label(2, "ED", "Peritumoural oedema", "#F0E442"),
        Label(4, "ET", "Enhancing tumour", "#D55E00"),
    ),
    {1: NET, 2: ED, 4: ET},
    {1: (NET, CC)},
)
SCHEMAS: Mapping[str, LabelSchema] = {schema.name: schema for schema in (PEDS, BRATS2023, BRATS2021)}

REGIONS: Mapping[str, tuple[int, ...]] = {"ET": (ET,), "TC": (ET, NET, CC), "WT": (ET, NET, CC, ED)}
"""Composite regions in peds values: TC tumour core, WT whole tumour; ET stands alone."""

REGION_NAMES: Mapping[str, str] = {"ET": "Enhancing tumour", "TC": "Tumour core", "WT": "Whole tumour"}


def region_mask(mask: npt.NDArray[Any], region: str) -> npt.NDArray[np.bool_]:
    """Voxels of a peds mask (any shape) that belong to a region of ``REGIONS`` or to a label key."""
    values = REGIONS.get(region) or tuple(label.value for label in PEDS.labels if label.key == region)
    if not values:
        raise ValueError(f"unknown region {region!r}; known: {sorted(REGIONS)} and {[x.key for x in PEDS.labels]}")
    return np.isin(mask, values)
