"""Numbers in words for a person: with their nouns, such as ``1 directory`` and ``2 directories``, and millilitres."""

from __future__ import annotations

import math
import re
from typing import Final

LEAST_TENTH_ML: Final = 0.05
"""A volume below this rounds to 0.0 ml."""

_ONE: Final = {
    "directories": "directory",
    "copies": "copy",
    "boxes": "box",
    "series": "series",
    "studies": "study",
    "examinations": "examination",
}
_NOUN: Final = re.compile(r"\b(directories|copies|studies|series|[a-z]+[b-df-hj-np-rtv-z]s|[a-z]+es)\b")
_OTHERS: Final = (
    ("that are ", "that is "),
    ("whose names do not say what they are", "whose name does not say what it is"),
    ("whose names say", "whose name says"),
    ("in directories of their own", "in a directory of its own"),
    ("copy of DICOM images that lie ", "copy of a DICOM image that lies "),
    ("hold ", "holds "),
    ("were ", "was "),
)
"""What else changes in our own phrases where there is one."""


def counted(count: int, many: str) -> str:
    """A number and what it counts: ``many`` is said of one if it is one.

    Args:
        count: how many.
        many: the phrase for several; its first noun in the plural is what is counted, such as ``empty files``.
    """
    if count != 1:
        return f"{count} {many}"
    one = _NOUN.sub(lambda found: _singular(found[1]), many, count=1)
    for several, single in _OTHERS:
        one = one.replace(several, single)
    return f"1 {one}"


def millilitres(ml: float) -> str:
    """A volume to 0.1 ml, without its unit; a smaller one, which would read as nothing, to its first digit."""
    digits = 1 if ml >= LEAST_TENTH_ML or ml <= 0 else -math.floor(math.log10(ml))
    return f"{ml:.{digits}f}"


def _singular(noun: str) -> str:
    return _ONE.get(noun, noun.removesuffix("s"))
