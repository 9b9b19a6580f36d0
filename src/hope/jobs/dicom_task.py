"""The task that makes DICOM objects of a result for the series that its user gives again."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hope.contract.outputs import OutputFile, Role, Space
from hope.contract.report import CaseReport, FileFacts
from hope.domain.extras import missing_extras
from hope.domain.progress import Progress
from hope.formats.archive import extract_zip
from hope.formats.atomic import atomic_output
from hope.jobs.confined import confined
from hope.settings import Settings

if TYPE_CHECKING:
    from hope.export.stored_result import StoredResult

OBJECTS = "objects.zip"
"""What the task leaves in ``out``."""

NOTES = "notes.txt"


def objects(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Leave ``out/objects.zip``: the DICOM objects of a result, and ``notes.txt`` where there is something to say.

    It reads ``in/upload.zip``, the original series and perhaps others; ``in/mask.nii.gz``, peds labels on the reference
    scan's grid; and ``in/result.json``, the report of that mask. The objects carry the identity of the series.

    Args:
        job: also ``max_bytes``, the most that the zip may unpack to, and ``as_dicom``, the sequences that were given as
            DICOM: the reference's series is known by its voxels then.
        progress: called for each step.

    Returns:
        ``{"objects": how many}`` as ``result``.

    Raises:
        InputError: if the extra [dicom] is missing, the zip is unusable, or no series in it is the one of the result.
    """
    if find_spec("highdicom") is None:
        raise missing_extras("the export of DICOM objects", ["dicom"])
    from hope.export.dicom import export_objects

    folder, scratch = Path(job["in"]), Path(job["scratch"])
    with confined(job):
        progress("objects: unpack", 0.0)
        series = extract_zip(folder / "upload.zip", scratch / "unpacked", int(job["max_bytes"]))
        progress("objects: find the series", 0.3)
        secret = Settings.from_environment().site_secret
        result = _result(folder)
        as_dicom = result.report.input.reference in job.get("as_dicom", ())
        made = export_objects(result, series, scratch / "objects", secret=secret, as_dicom=as_dicom)
        with (
            atomic_output(Path(job["out"]) / OBJECTS) as stream,
            zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for path in made.files:
                archive.write(path, path.name)
            if made.notes:
                archive.writestr(NOTES, "".join(f"{note}\n" for note in made.notes))
    return {"artifacts": [], "result": {"objects": len(made.files)}}


def _result(folder: Path) -> StoredResult:
    """The result as it lies in the directory of the job, whatever its files were called before."""
    from hope.export.stored_result import StoredResult

    report = CaseReport.stored(json.loads((folder / "result.json").read_bytes()))
    mask = OutputFile(Role.SEGMENTATION, space=Space.NATIVE)
    listed = FileFacts.model_validate({"name": "mask.nii.gz", "kind": mask.kind, **mask.to_json()})
    return StoredResult(folder, report.model_copy(update={"files": [listed]}))
