"""A case beside an earlier one: compared in one request by a child process, and nothing of it is kept."""

from __future__ import annotations

from pathlib import Path

from anyio import to_thread
from starlette.requests import Request

from hope.contract.job import CaseRecord, CaseState, ConflictError
from hope.contract.outputs import OutputFile, Role, Space
from hope.domain.errors import InputError
from hope.formats.archive import is_zip
from hope.formats.nifti_clean import WrongTypeError
from hope.jobs.comparison_task import FACTS, IMAGE, MADE, MASK, UPLOAD
from hope.web.context import WebContext
from hope.web.reading import UploadReader
from hope.web.series_intake import SeriesIntake
from hope.web.uploads import Spool, Uploads


class Comparisons:
    """Compares the cases of one gateway process.

    Args:
        context: stores and tasks.
        uploads: gives folders that a deletion empties.
        intake: runs the task.
        reader: gives the task its slot.
    """

    def __init__(self, context: WebContext, uploads: Uploads, intake: SeriesIntake, reader: UploadReader) -> None:
        self._context, self._uploads, self._intake, self._reader = context, uploads, intake, reader

    def check(self, *cases: CaseRecord) -> None:
        """Whether cases can be compared. Blocks.

        Raises:
            ConflictError: unless they are done.
            InputError: for a case and itself.
            FullError: if the disk is full.
        """
        if len({case.id for case in cases}) < len(cases):
            raise InputError("a case is compared with another one", got="the same case twice")
        if any(case.state is not CaseState.DONE for case in cases):
            raise ConflictError("only finished cases can be compared; wait until they are done")
        self._uploads.check_space()

    async def with_case(self, request: Request, later: CaseRecord, earlier: CaseRecord, days: int | None) -> bytes:
        """Compare with another case of the session; the current mask of each counts.

        Args:
            request: who waits for it; its body was read.
            later: that `check` lets pass.
            earlier: likewise.
            days: between them, where they are known.

        Returns:
            a zip: the files of `hope compare`, and both dates on one grid.

        Raises:
            InputError: if a case lacks a file, they have no sequence in common, or cannot be laid on each other.
            GoneError, BusyError, QuotaError, FullError, ClientDisconnect: as `Uploads.space_for`.
        """
        async with self._uploads.space_for(request, later) as spool, self._uploads.held(earlier):
            given = {"earlier": await self._fetch(earlier, spool.directory("in") / "earlier")}
            return await self._compare(later, spool, given, days)

    async def with_upload(self, later: CaseRecord, spool: Spool, days: int | None) -> bytes:
        """Compare with a result that was uploaded as a zip of its files; returns and raises as `with_case`.

        Raises:
            WrongTypeError: if it is no zip.
        """
        if not await to_thread.run_sync(is_zip, spool.path):
            raise WrongTypeError(
                "the upload is not a zip archive", expected="a zip of a result's t1c in atlas space, mask, result.json"
            )
        folder = spool.directory("in") / "earlier"
        folder.mkdir()
        spool.path.rename(folder / UPLOAD)
        return await self._compare(later, spool, {}, days)

    async def _compare(self, later: CaseRecord, spool: Spool, given: dict[str, list[str]], days: int | None) -> bytes:
        sequences = {**given, "later": await self._fetch(later, spool.folder / "in" / "later")}
        async with self._reader.slot(later.session_id):
            await self._intake.run_task("comparison", later, spool.folder, spool, sequences=sequences, days=days)
        return await to_thread.run_sync((spool.folder / "out" / MADE).read_bytes)

    async def _fetch(self, case: CaseRecord, folder: Path) -> list[str]:
        """Put the current mask, its facts and the images of a case into a new folder; returns their sequences."""
        folder.mkdir()
        facts, mask = OutputFile.of(Role.FACTS), OutputFile(Role.SEGMENTATION, space=Space.NATIVE)
        if case.version:
            facts, mask = OutputFile.of(Role.CORRECTED_FACTS), OutputFile.of(Role.CORRECTED_SEGMENTATION)
        wanted = {facts: FACTS, mask: MASK}
        sequences = []
        for artifact in await to_thread.run_sync(lambda: self._context.store.artifacts(case.id, public=True)):
            output = artifact.output
            if output is None:
                continue
            name = wanted.pop(output, None) if artifact.version == case.version else None
            if output.role is Role.IMAGE:
                name = IMAGE.format(sequence=output.sequence)
                sequences.append(output.sequence)
            if name is not None:
                await to_thread.run_sync(self._context.blobs.fetch, artifact.blob_key, folder / name, artifact.sha256)
        if wanted or not sequences:
            # Corrections of earlier versions have no facts; to run the case again would give the correction up.
            fix = "save the corrected mask once more" if case.version else "run it again"
            raise InputError("a case has no facts or no scans to compare", fix=fix)
        return sequences
