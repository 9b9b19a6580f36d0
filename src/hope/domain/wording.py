"""Numbers with their nouns, such as ``1 directory`` and ``2 directories``."""

from __future__ import annotations

import re
from typing import Final

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


def _singular(noun: str) -> str:
    return _ONE.get(noun, noun.removesuffix("s"))
