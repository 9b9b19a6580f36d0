"""Values of a DICOM header that are what the standard says they are; the others count as not given."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.valuerep import PersonName

_TEXTS = frozenset(["AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"])
_NUMBERS = frozenset(["DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"])


def drop_unusable(dataset: Dataset) -> None:
    """Convert every value once, those in sequences too, and delete what cannot be read or is of another kind.

    Files state any VR for any element: a text where a sequence belongs would else be met wherever it is used.
    """
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            usable = _fits(element)
        except MemoryError:
            raise
        except Exception:
            # Foreign bytes make pydicom raise nearly anything; all of it means that the value cannot be read.
            usable = False
        if not usable:
            del dataset[tag]
        elif isinstance(element.value, Sequence):
            for item in element.value:
                drop_unusable(item)


def _fits(element: DataElement) -> bool:
    """Whether a value is of the kind that its element has; of private elements nothing is known."""
    value: Any = element.value
    try:
        kind = dictionary_VR(element.tag)
    except KeyError:
        return True
    if kind == "SQ" or isinstance(value, Sequence):
        return kind == "SQ" and isinstance(value, Sequence)
    values = list(value) if isinstance(value, MultiValue | list) else [value]
    if kind in _TEXTS:
        return all(v is None or isinstance(v, str | PersonName) for v in values)
    if kind in _NUMBERS:
        return all(v is None or isinstance(v, int | float | Decimal | str) for v in values)
    return True
