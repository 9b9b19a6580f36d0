"""Values of a DICOM header that are what the standard says they are; the others count as not given."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.valuerep import PersonName

from hope.domain.errors import InputError

_TEXTS = frozenset(["AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"])
_NUMBERS = frozenset(["DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"])
_WITHOUT_EXTENSIONS = ("ISO_IR 192", "GB18030", "GBK")
"""Character sets that stand alone."""
_DEFAULT = "ISO 2022 IR 6"


def character_set(dataset: Dataset) -> list[str]:
    """SpecificCharacterSet as the standard wants it in a new object; empty for the default repertoire.

    An empty value among several is the default repertoire, and several are named by their ISO 2022 terms.

    Raises:
        InputError: if a value is no term of the standard.
    """
    value: Any = dataset.get("SpecificCharacterSet") or ""
    terms = [str(term).strip() for term in ([value] if isinstance(value, str) else value)]
    if any(term not in python_encoding for term in terms):
        raise InputError(
            "the DICOM series states a character set that the standard does not have",
            fix="correct its SpecificCharacterSet, or export the series again",
        )
    if terms[0] in _WITHOUT_EXTENSIONS:
        return terms[:1]
    extended = [term.replace("ISO_IR", "ISO 2022 IR") if term else _DEFAULT for term in terms]
    extended = [term for term in dict.fromkeys(extended) if term not in ("ISO 2022 IR 192", *_WITHOUT_EXTENSIONS)]
    if len(terms) > 1 and len(extended) > 1:
        return extended
    (term,) = extended
    if term == _DEFAULT:
        return []
    plain = term.replace("ISO 2022 IR", "ISO_IR")
    return [plain] if plain in python_encoding else [_DEFAULT, term]


def one_name(value: Any) -> Any:
    """The first name that is not empty of a value that holds several; other values as they are."""
    if not isinstance(value, MultiValue | list):
        return value
    return next((name for name in value if str(name)), "")


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
