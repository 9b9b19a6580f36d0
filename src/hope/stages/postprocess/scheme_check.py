"""Which label scheme a mask is in: by its values, and by which label lies inside which."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.box import bounding_box
from hope.domain.errors import InputError
from hope.domain.labels import BRATS2021, BRATS2023, PEDS, SCHEMAS
from hope.domain.volume import Volume

ENCLOSED = 0.6
"""Of the faces of what lies in the core, so many touch what surrounds it (label 1 of 34 adults: 0.72 and more)."""

HARDLY_OUTSIDE = 0.4
"""Of the faces of what lies inside, at most so many touch the background (enhancing tumour of 40 adults: 0.29)."""

OUTERMOST = 0.5
"""Of the faces of oedema, at least so many touch the background (40 adults: 0.66)."""


def to_peds(labels: Volume, scheme: str, what: str) -> tuple[Volume, str]:
    """A mask of any scheme in peds labels, and what speaks for another scheme (empty if nothing does).

    Args:
        labels: uint8, as the file holds them.
        scheme: the scheme that it is said to be in.
        what: its role, for messages.

    Raises:
        InputError: if it holds a value that the scheme does not have.
    """
    try:
        renumbered = SCHEMAS[scheme].convert_to_peds(labels.data)
    except ValueError as error:
        values = {0, *np.unique(labels.data).tolist()}
        fitting = [name for name, other in SCHEMAS.items() if values <= {0, *other.values}]
        known = ", ".join(f"{label.value} {label.key}" for label in SCHEMAS[scheme].labels)
        raise InputError(
            f"{what} holds labels that are not of the {scheme} scheme",
            expected=f"0 background, {known}",
            got=", ".join(str(value) for value in sorted(values - {0})),
            fix=f"its labels would fit --scheme {' or '.join(fitting)}" if fitting else "",
        ) from error
    likelier = likelier_scheme(labels.data, scheme)
    note = (
        f"the labels lie in one another as those of the {likelier} scheme do, not of {scheme}: look at it, and say "
        f"--scheme {likelier} if that is so"
        if likelier
        else ""
    )
    return labels.with_data(renumbered), note


def likelier_scheme(labels: npt.NDArray[np.uint8], scheme: str) -> str:
    """The scheme under which oedema is outermost and the core inside; empty if that is so in the one named, or unclear.

    Args:
        labels: (i, j, k) of values that the scheme has.
        scheme: as named.
    """
    box = bounding_box(labels, 1)
    if box is None:
        return ""
    cut = labels[box]
    touching = _touching(cut)
    for adult, enhancing in ((BRATS2021, 4), (BRATS2023, 3)):
        inside = touching[enhancing, 0] <= HARDLY_OUTSIDE and touching[1, enhancing] >= ENCLOSED
        outermost = touching[2, 0] >= OUTERMOST
        # A child's nodule lies in a cyst and that in its wall just so, but a wall is thinner than its cyst.
        if scheme == PEDS.name and inside and outermost and _half_width(cut == 2) >= _half_width(cut == enhancing):
            return adult.name if set(np.unique(labels).tolist()) <= {0, *adult.values} else ""
    inside = touching[2, 0] <= HARDLY_OUTSIDE and touching[2].sum() > 0
    if scheme == BRATS2021.name and inside and touching[4, 0] >= OUTERMOST:
        return PEDS.name
    return ""


def _half_width(part: npt.NDArray[np.bool_]) -> float:
    """Voxels from the innermost place of a part to its edge."""
    return float(ndimage.distance_transform_edt(np.pad(part, 1)).max())


def _touching(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Of the faces of each label (row), the share that touches each other label or the background (column)."""
    size = int(labels.max()) + 1
    pairs = np.zeros((max(size, 5), max(size, 5)))
    for axis in range(3):
        ahead, behind = np.moveaxis(labels, axis, 0)[1:], np.moveaxis(labels, axis, 0)[:-1]
        differ = ahead != behind
        np.add.at(pairs, (ahead[differ], behind[differ]), 1)
        np.add.at(pairs, (behind[differ], ahead[differ]), 1)
    faces: npt.NDArray[np.float64] = pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1)
    return faces
