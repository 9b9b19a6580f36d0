"""Codes of what a result states in DICOM objects, as the standard's context groups have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Code(NamedTuple):
    """A coded concept."""

    value: str
    scheme: str
    meaning: str


OWN_SCHEME: Final = "99HOPE"
"""Scheme of the concepts that no published one has; 99 marks private schemes."""

ABNORMAL_STRUCTURE: Final = Code("49755003", "SCT", "Morphologically Abnormal Structure")
NEOPLASM: Final = Code("108369006", "SCT", "Neoplasm")
EDEMA: Final = Code("79654002", "SCT", "Edema")
CYST: Final = Code("367643001", "SCT", "Cyst")
BRAIN: Final = Code("12738006", "SCT", "Brain")
ABSENT: Final = Code("272519000", "SCT", "Absent")
VOLUME: Final = Code("118565006", "SCT", "Volume")
MR_BRAIN: Final = Code("24590-2", "LN", "MR Brain")
CUBIC_CENTIMETRE: Final = Code("cm3", "UCUM", "cubic centimeter")
MILLIMETRE: Final = Code("mm", "UCUM", "millimeter")
NO_UNITS: Final = Code("1", "UCUM", "no units")
LONG_AXIS: Final = Code("103339001", "SCT", "Long Axis")
SHORT_AXIS: Final = Code("103340004", "SCT", "Short Axis")
ARTIFICIAL_INTELLIGENCE: Final = Code("123110", "DCM", "Artificial Intelligence")

TISSUES: Final[Mapping[str, Code]] = {"ET": NEOPLASM, "NET": NEOPLASM, "CC": CYST, "ED": EDEMA}
"""Label key -> what kind of tissue it is. ET and NET share one code: the label's text says which."""

EXPECTED_QUALITY: Final = Code("quality", OWN_SCHEME, "Expected quality of the outline")
EXPECTED_DICE: Final = Code("dice", OWN_SCHEME, "Expected Dice against an expert's outline")
VERDICTS: Final[Mapping[str, Code]] = {
    word: Code(word.replace(" ", "-"), OWN_SCHEME, word) for word in ("likely good", "check", "likely poor")
}
"""Verdict of the expected quality -> its code."""
