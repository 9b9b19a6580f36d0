"""What the picture of a result says above its slices."""

from __future__ import annotations

from hope.contract.report import CaseReport
from hope.domain.expected_quality import NO_TUMOUR_CODE
from hope.domain.qc import Severity


def notice_of(report: CaseReport) -> str:
    """What the picture says above the slices: how good the result is expected to be, and what speaks against it."""
    missing, expected = report.input.missing, report.expected_quality
    warnings = [flag.code for flag in report.qc if flag.severity == Severity.WARNING]
    said = [f"Expected quality: {expected.verdict}"] if expected else []
    said += ["There may be no tumour at all"] if NO_TUMOUR_CODE in warnings else []
    said += [f"Not given: {', '.join(missing)}; the result is less reliable"] if missing else []
    said += [f"{len(warnings)} warning{'s' * (len(warnings) > 1)} in the report"] if warnings else []
    return "".join(f"{part}. " for part in said).strip()
