"""A result as DICOM objects: the user gives the original series again, and nothing of it is kept."""

from __future__ import annotations

from importlib.util import find_spec

from anyio import to_thread

from hope.contract.job import CaseRecord
from hope.contract.outputs import OutputFile, Role
from hope.domain.errors import InputError
from hope.domain.extras import missing_extras
from hope.formats.archive import is_zip
from hope.formats.nifti_clean import WrongTypeError
from hope.jobs.dicom_task import OBJECTS
from hope.web.context import WebContext
from hope.web.reading import UploadReader
from hope.web.series_intake import SeriesIntake, reference_view
from hope.web.uploads import Spool


def can_make_objects() -> bool:
    """Whether the library that writes DICOM objects is installed."""
    return find_spec("highdicom") is not None


class DicomObjects:
    """Makes the objects of one gateway process.

    Args:
        context: stores and tasks.
        intake: runs the task.
        reader: gives the task its slot.
    """

    def __init__(self, context: WebContext, intake: SeriesIntake, reader: UploadReader) -> None:
        self._context, self._intake, self._reader = context, intake, reader

    def check(self, case: CaseRecord) -> None:
        """Whether objects of a case can be made, before the series is sent. Blocks.

        Raises:
            ConflictError: unless the case is done.
            InputError: if the extra [dicom] is not installed.
        """
        if not can_make_objects():
            raise missing_extras("the export of DICOM objects", ["dicom"])
        reference_view(case, self._context.store.artifacts(case.id, public=True))

    async def make(self, case: CaseRecord, spool: Spool) -> bytes:
        """Make the objects of the mask that is current.

        Args:
            case: it is done.
            spool: a zip of the original series.

        Returns:
            a small zip (a mask packs to a hundredth): the segmentation, if there is a tumour, and the report.

        Raises:
            WrongTypeError: if it is no zip.
            InputError: if it does not hold the series that the result was made on.
        """
        if not await to_thread.run_sync(is_zip, spool.path):
            raise WrongTypeError("the upload is not a zip archive", expected="a zip of the original DICOM series")
        folder = spool.directory("in")
        spool.path.rename(folder / "upload.zip")
        wanted = {
            (Role.CORRECTED_SEGMENTATION if case.version else Role.SEGMENTATION): "mask.nii.gz",
            (Role.CORRECTED_FACTS if case.version else Role.FACTS): "result.json",
        }
        for artifact in await to_thread.run_sync(lambda: self._context.store.artifacts(case.id, public=True)):
            role = _role_on_scan(artifact.output)
            if artifact.version == case.version and role in wanted:
                path = folder / wanted.pop(role)
                await to_thread.run_sync(self._context.blobs.fetch, artifact.blob_key, path, artifact.sha256)
        if wanted:
            raise InputError("this version of the result has no facts to export", fix="run the case again")
        given = [str(scan.sequence) for scan in case.series if scan.sequence is not None and scan.facts.get("dicom")]
        async with self._reader.slot(case.session_id):
            await self._intake.run_task("dicom-objects", case, spool.folder, spool, as_dicom=given)
        return await to_thread.run_sync((spool.folder / "out" / OBJECTS).read_bytes)


def _role_on_scan(output: OutputFile | None) -> Role | None:
    """The role of a file, unless it lies in atlas space."""
    return None if output is None or output.space == "atlas" else output.role
