"""Quality-control flags: what is uncertain about an input or a result, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar


class Severity(StrEnum):
    """How much a flag matters: a fact of the scan, something to look at, or something that is likely wrong."""

    INFO = "info"
    CAUTION = "caution"
    WARNING = "warning"


@dataclass(frozen=True)
class QCFlag:
    """One caution with its reason. What makes a case impossible is an InputError, not a flag.

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


class _Rated(Protocol):
    """What has a code and a severity: a QCFlag, and a flag as result.json holds it."""

    @property
    def code(self) -> str: ...
    @property
    def severity(self) -> str: ...


_R = TypeVar("_R", bound=_Rated)

WORST_CODES = (
    "scans_changed",
    "different_patients",
    "all_removed",
    "brain_extraction_failed",
    "registration_uncertain",
    "sequence_misplaced",
    "not_on_atlas",
    "brain_not_covered",
    "sequence_odd",
    "t1_contrast_odd",
    "unlike_training",
    "head_state_differs",
    "brain_mask_from_atlas",
    "brain_mask_uncertain",
    "missing_sequence",
    "expected_accuracy",
)
"""The order of flags of one severity; codes that are not here come after these, in the order of the result."""


def worst_first(flags: Iterable[_R]) -> list[_R]:
    """Flags by severity, then by the fixed order of WORST_CODES: terminal, report and page begin with the same one."""
    grades = [str(severity) for severity in reversed(Severity)]

    def rank(flag: _R) -> tuple[int, int]:
        grade = grades.index(str(flag.severity)) if str(flag.severity) in grades else len(grades)
        code = WORST_CODES.index(flag.code) if flag.code in WORST_CODES else len(WORST_CODES)
        return grade, code

    return sorted(flags, key=rank)
