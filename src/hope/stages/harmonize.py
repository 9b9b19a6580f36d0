"""Harmonisation: bringing scans of different sites to one intensity style. No harmonizer exists in this version."""

from __future__ import annotations

from hope.domain.case import AlignedCase, HarmonizedCase
from hope.domain.qc import QCFlag, Severity

NONE = "none"
NOTE = "images were passed on unchanged: this version has no harmonizer"


def harmonize(case: AlignedCase, requested: bool | None = None) -> HarmonizedCase:
    """Pass the images on unchanged, and say so.

    Args:
        case: aligned images.
        requested: True if the user asked for harmonisation, which then becomes a warning in the result.
    """
    flags = (
        (QCFlag("not_harmonized", Severity.WARNING, f"harmonisation was asked for, but {NOTE}"),) if requested else ()
    )
    return HarmonizedCase(case, case.images, NONE, flags)
