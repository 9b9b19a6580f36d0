"""Quality-control flags: what is doubtful about an input or a result, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a flag matters: a fact of the scan, something to look at, or something that is likely wrong."""

    INFO = "info"
    CAUTION = "caution"
    WARNING = "warning"


@dataclass(frozen=True)
class QCFlag:
    """One doubt, said aloud. What makes a case impossible is an InputError, not a flag.

    Attributes:
        code: stable machine name, such as ``thick_slices``.
        severity: how much it matters.
        reason: one sentence with the measured figures.
        sequence: ``t1n``, ``t1c``, ``t2w``, ``t2f``, or empty for the whole case.
    """

    code: str
    severity: Severity
    reason: str
    sequence: str = ""

    def to_json(self) -> dict[str, str]:
        """Plain JSON values."""
        return {"code": self.code, "severity": str(self.severity), "sequence": self.sequence, "reason": self.reason}


OLD_CODES = {
    "brain_mask_doubtful": "brain_mask_uncertain",
    "registration_doubtful": "registration_uncertain",
    "identified_with_doubt": "identification_uncertain",
}
"""Codes in results of version 0.1 and what they are called now; read for one version."""
