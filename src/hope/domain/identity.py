"""Whose images are and of which day, as hashes that are compared and never shown."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import combinations

from hope.domain.qc import QCFlag, Severity
from hope.domain.sequence import MRSequence

_MARK_DIGITS = {"patient": 4, "person": 4, "day": 2, "study": 4}
"""Hexadecimal digits of a mark: few, so that many patients and days share one, and none can be found by trying all."""


@dataclass(frozen=True)
class Identity:
    """Whose images and of which day, as hashes: to be compared, never shown. Empty where nothing is said.

    Nothing but `marks` of them is kept.
    """

    patient: str
    person: str
    day: str
    study: str

    def differs(self, other: Identity) -> bool:
        """Whether the two cannot be one examination of one patient; what is not said differs from nothing."""
        if self.is_other_patient(other):
            return True
        return any(a and b and a != b for a, b in ((self.day, other.day), (self.study, other.study)))

    def is_other_patient(self, other: Identity) -> bool:
        """Whether the two are of different patients, by number, or by name and birth date where a number is missing."""
        if self.patient and other.patient:
            return self.patient != other.patient
        return bool(self.person and other.person) and self.person != other.person

    def merged(self, other: Identity) -> Identity:
        """What both say together."""
        return Identity(
            *(getattr(self, name) or getattr(other, name) for name in ("patient", "person", "day", "study"))
        )

    def marks(self, key: str) -> dict[str, str]:
        """A few hexadecimal digits for each hash, to be kept beside a scan: marks of one key alone can be compared.

        Two patients share a mark once in 65,536 times, and two days once in 256 times.

        Args:
            key: a random text that is deleted together with the marks, such as the id of a case.
        """
        said = {name: getattr(self, name) for name in _MARK_DIGITS}
        return {
            name: hmac.digest(key.encode(), f"{name}:{value}".encode(), "sha256").hex()[: _MARK_DIGITS[name]]
            for name, value in said.items()
            if value
        }

    @classmethod
    def of_marks(cls, marks: object) -> Identity:
        """What `marks` gave, to be compared with others of the same key; nobody's if it is nothing of that kind."""
        known = marks if isinstance(marks, Mapping) else {}
        return cls(*(str(known.get(field.name) or "") for field in fields(cls)))


NOBODY = Identity("", "", "", "")
"""An identity of which nothing is said."""


def identity_flags(whose: Mapping[MRSequence, Identity]) -> list[QCFlag]:
    """Say which scans are of other patients or examinations: anything can be put together as one case."""
    flags = []
    for (first, one), (second, two) in combinations(whose.items(), 2):
        if one.is_other_patient(two):
            reason = f"{first} and {second} are of different patients by their DICOM headers: one was mixed up"
            flags.append(QCFlag("different_patients", Severity.WARNING, reason))
        elif one.differs(two):
            reason = f"{first} and {second} are of different days or examinations by their DICOM headers"
            flags.append(QCFlag("different_examinations", Severity.CAUTION, reason))
    return flags
