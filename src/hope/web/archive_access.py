"""An archive (PACS) that the operator has named: a user searches it, and takes one study's scans into a case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyio import to_thread
from starlette.requests import Request

from hope.contract.job import CaseRecord, ConflictError, SeriesRecord, Session
from hope.domain.errors import InputError
from hope.jobs.archive_task import UNREACHABLE
from hope.web.context import WebContext
from hope.web.errors import ProblemError
from hope.web.reading import UploadReader, while_connected
from hope.web.series_intake import SeriesIntake
from hope.web.uploads import Uploads


class ArchiveAccess:
    """Asks the archive for one gateway process; children do the asking, within the policy for uploads.

    Args:
        context: settings, stores and tasks.
        uploads: space for what comes.
        intake: runs the tasks and stores scans.
        reader: gives a task its slot.
    """

    def __init__(self, context: WebContext, uploads: Uploads, intake: SeriesIntake, reader: UploadReader) -> None:
        self._context, self._uploads, self._intake, self._reader = context, uploads, intake, reader

    @property
    def is_there(self) -> bool:
        """Whether the operator has named an archive."""
        return bool(self._context.settings.dicom.dicomweb_url)

    def check(self) -> None:
        """Refuse where there is no archive.

        Raises:
            ConflictError: if so.
        """
        if not self.is_there:
            raise ConflictError("this server has no archive; its operator names one by HOPE_DICOMWEB_URL")

    async def find(self, request: Request, session: Session, patient_id: str, date: str) -> list[Mapping[str, Any]]:
        """Search for MR studies; nothing of the question or the answer is kept.

        Args:
            request: who waits for it.
            session: whose slot is used.
            patient_id: one patient's id, or empty.
            date: YYYYMMDD or YYYYMMDD-YYYYMMDD, or empty.

        Raises:
            InputError: if both are empty.
            ProblemError: 502 if the archive does not answer or refuses.
        """
        if not (patient_id or date):
            raise InputError("a search needs a patient or a date", fix="give patient_id or date")
        async with self._uploads.folder() as folder, self._reader.slot(session.id), while_connected(request):
            job = {"do": "archive-find", "patient_id": patient_id, "date": date, "scratch": str(folder)}
            done = await self._reader.run(job, folder, None)
        return list(_result_of(done.get("result") or {})["studies"])

    async def pull(self, request: Request, case: CaseRecord, study_uid: str) -> tuple[list[SeriesRecord], str]:
        """Take the scans of a study into a case beside what it has, all in one go; of the DICOM files none stays.

        Returns:
            The stored series, and why some of them are not assigned (empty if all is clear).

        Raises:
            ConflictError: while the case is in work.
            QuotaError: if the session may not hold them.
            InputError: if the archive has no such study, or there is nothing in it that can be used.
            ProblemError: 502 if the archive does not answer, refuses, or sends other images than it lists.
        """
        await to_thread.run_sync(self._uploads.check_may_upload, case)
        async with self._uploads.space_for(request, case) as spool, self._reader.slot(case.session_id):
            spool.directory("in")
            result = await self._intake.run_task("archive-pull", case, spool.folder, spool, study_uid=study_uid)
            return await self._intake.store_found(case, _result_of(result), spool)


def _result_of(result: Mapping[str, Any]) -> Mapping[str, Any]:
    if UNREACHABLE in result:
        raise ProblemError(502, "archive", str(result[UNREACHABLE]))
    return result
