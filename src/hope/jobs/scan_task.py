"""The task that reads one uploaded NIfTI file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hope.formats.nifti_clean import clean_nifti
from hope.jobs.confined import confined

UPLOAD, CLEAN = "upload", "scan.nii"
"""Names of the file before and after."""


def scan(job: Mapping[str, Any]) -> dict[str, Any]:
    """Leave ``in/upload`` as a clean scan in ``out``.

    Args:
        job: also ``what``, its role, for sentences, and ``max_bytes``, the most that its voxels may take.

    Returns:
        what `CleanScan.from_json` reads, as ``result``.

    Raises:
        InputError: as `clean_nifti`.
    """
    with confined(job):
        source, target = Path(job["in"]) / UPLOAD, Path(job["out"]) / CLEAN
        clean = clean_nifti(source, target, str(job["what"]), int(job["max_bytes"]))
    return {"artifacts": [{"name": CLEAN, "kind": "", "public": False}], "result": clean.to_json()}
