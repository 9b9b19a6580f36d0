"""Label schemas: which number means which tumour part. A schema travels with every model and every mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    """

    name: str
    labels: tuple[Label, ...]
    to_peds: Mapping[int, int]

    @property
    def values(self) -> tuple[int, ...]:
        """All label values, without background."""
        return tuple(label.value for label in self.labels)

    def convert_to_peds(self, mask: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Renumber an integer mask of this schema (any shape) to the peds values.

        Raises:
            ValueError: if the mask holds a value that the schema does not know.
        """
        unknown = sorted(set(np.unique(mask).tolist()) - {0, *self.values})
        if unknown:
            raise ValueError(f"label values {unknown} are not part of the {self.name} scheme {list(self.values)}")
        table = np.zeros(int(max(self.values)) + 1, dtype=np.uint8)
        for value, peds_value in self.to_peds.items():
            table[value] = peds_value
        return table[np.asarray(mask).astype(np.intp)]


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
)
BRATS2021 = LabelSchema(
    "brats2021",
    (
        Label(1, "NCR", "Necrotic tumour core", "#0072B2"),
        Label(2, "ED", "Peritumoural oedema", "#F0E442"),
        Label(4, "ET", "Enhancing tumour", "#D55E00"),
    ),
    {1: NET, 2: ED, 4: ET},
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
