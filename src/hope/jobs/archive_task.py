"""The tasks that ask an archive over DICOMweb: which studies it has, and the scans of one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hope.domain.errors import PeerError
from hope.domain.progress import Progress
from hope.jobs.confined import confined
from hope.settings import Settings

UNREACHABLE = "unreachable"
"""In a task's result: why the archive cannot be asked, one sentence without an address or identity."""


def find(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Search the archive at HOPE_DICOMWEB_URL.

    Args:
        job: ``patient_id`` and ``date``, as `DicomWeb.find`.
        progress: not called.

    Returns:
        ``{"studies": [{"uid", "date", "series", "images"}]}`` or ``{"unreachable": sentence}`` as ``result``.

    Raises:
        InputError: if there is no archive, or the search is not usable.
    """
    from hope.dicomnet.dicomweb import DicomWeb

    with confined(job):
        archive = DicomWeb(Settings.from_environment().dicom.dicomweb_url)
        try:
            found = archive.find(str(job.get("patient_id") or ""), str(job.get("date") or ""))
        except PeerError as error:
            return _done({UNREACHABLE: str(error)})
    return _done({"studies": [asdict(study) for study in found]})


def pull(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Fetch the MR series of one study, and leave each as a clean NIfTI file; of the DICOM files none stays.

    Args:
        job: ``study_uid``, ``max_bytes``, the most that a scan may take, and ``key`` as for the task ``dicom``.
        progress: called for each step.

    Returns:
        as the task ``dicom``, or ``{"unreachable": sentence}`` as ``result``.

    Raises:
        InputError: if there is no archive, it has no such study, or the study holds no scan.
    """
    from hope.dicomnet.dicomweb import DicomWeb
    from hope.stages.intake.archive_series import series_in_study

    scratch, out = Path(job["scratch"]), Path(job["out"])
    with confined(job):
        archive = DicomWeb(Settings.from_environment().dicom.dicomweb_url)
        progress("archive: fetch the study", 0.0)
        try:
            study = archive.pull(str(job["study_uid"]), scratch / "pulled")
        except PeerError as error:
            return _done({UNREACHABLE: str(error)})
        key = str(job.get("key") or "")
        series, problem = series_in_study(study, scratch, out, int(job["max_bytes"]), progress, key)
    return _done({"series": series, "problem": problem})


def _done(result: dict[str, Any]) -> dict[str, Any]:
    left = [{"name": entry["file"], "kind": "", "public": False} for entry in result.get("series") or []]
    return {"artifacts": left, "result": result}
