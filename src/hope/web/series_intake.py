"""What takes a child process: scans out of a DICOM archive, the synthetic sample, a corrected mask."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread
from starlette.requests import Request

from hope.contract.job import Artifact, CaseRecord, CaseState, ConflictError, DamagedError, SeriesRecord
from hope.contract.outputs import CORRECTION_FILES, UNKNOWN_VERSION, OutputFile, Role
from hope.contract.report import CaseReport
from hope.domain.case import MRSequence
from hope.domain.errors import InputError
from hope.domain.ids import new_id
from hope.formats.archive import is_zip
from hope.formats.hashing import hash_file
from hope.formats.nifti_clean import WrongTypeError
from hope.web.claims import Claim
from hope.web.context import WebContext
from hope.web.reading import UploadReader
from hope.web.serializers import case_name
from hope.web.storing import NewScan, ScanStorage
from hope.web.uploads import MIB, Spool, Uploads

_SYNTHETIC = "This scan is synthetic: the program made it, it shows nobody."
_GZIP = b"\x1f\x8b"


class SeriesIntake:
    """Runs the tasks of one gateway process and stores what they leave.

    Args:
        context: stores and tasks.
        uploads: checks scans.
        storage: stores them.
        reader: lets children read what came.
    """

    def __init__(self, context: WebContext, uploads: Uploads, storage: ScanStorage, reader: UploadReader) -> None:
        self._context, self._uploads, self._storage, self._reader = context, uploads, storage, reader
        self._sample: tuple[Path, list[Mapping[str, Any]]] | None = None
        self._sample_lock = asyncio.Lock()

    async def archive(self, case: CaseRecord, spool: Spool) -> tuple[list[SeriesRecord], str]:
        """Find the MRI series in a zip of DICOM files and store them beside what the case has, all in one go.

        Returns:
            The stored series, and why some of them are not assigned (empty if all is clear).

        Raises:
            WrongTypeError: if it is no zip.
            InputError: if there is nothing in it that can be used.
        """
        if not await to_thread.run_sync(is_zip, spool.path):
            fix = "zip the DICOM directory; send NIfTI files to /series/t1n and so on"
            raise WrongTypeError("the upload is not a zip archive", expected="a zip of DICOM files", fix=fix)
        spool.path.rename(spool.directory("in") / "upload.zip")
        async with self._reader.slot(case.session_id):
            result = await self.run_task("dicom", case, spool.folder, spool)
            return await self.store_found(case, result, spool)

    async def store_found(
        self, case: CaseRecord, result: Mapping[str, Any], spool: Spool
    ) -> tuple[list[SeriesRecord], str]:
        """Store the series that a task found in a study; returns and raises as `archive`.

        Args:
            case: where they go.
            result: what the task answered.
            spool: its folder, with the scans in ``out``.
        """
        await to_thread.run_sync(_drop, spool.folder / "in", spool.folder / "scratch")
        found = list(result.get("series") or [])
        problem = str(result.get("problem") or "")
        if not found:
            raise InputError(problem or "the archive holds no MRI series", expected="a zip of DICOM files")
        records = await self._store(case, spool.folder / "out", found, spool.folder, spool.claim)
        said = [problem] if problem else []
        for facts, record in zip(found, records, strict=True):
            if facts.get("sequence") and record.sequence is None:
                said.append(f"the case has another {facts['sequence']}; assign {record.key} if it is to take its place")
        return records, "; ".join(said)

    async def sample(self, case: CaseRecord) -> list[SeriesRecord]:
        """Give a case the synthetic sample's scans; they are made once per process."""
        async with self._sample_lock:
            if self._sample is None or not self._sample[0].is_dir():
                self._sample = await self._make_sample()
        made, found = self._sample
        async with self._uploads.claims.claimed(case, 0, len(found)) as claim, self._uploads.folder(claim) as folder:
            return await self._store(case, made, found, folder, claim, _SYNTHETIC)

    async def _make_sample(self) -> tuple[Path, list[Mapping[str, Any]]]:
        async with self._uploads.folder() as folder:
            (folder / "in").mkdir()
            result = await self.run_task("sample", None, folder)
            kept = self._context.scratch / "sample"
            await to_thread.run_sync(lambda: shutil.rmtree(kept, ignore_errors=True))
            (folder / "out").rename(kept)
            return kept, list(result["series"])

    async def run_task(
        self, task: str, case: CaseRecord | None, folder: Path, spool: Spool | None = None, **more: object
    ) -> dict[str, Any]:
        """Let a child do a task: within the policy for uploads if there is one, else as the platform's own work.

        Args:
            task: which one.
            case: whose.
            folder: a private one, with ``in`` filled.
            spool: the upload that is read; None for what is the platform's own.
            more: goes into the job.
        """
        for directory in ("out", "scratch"):
            (folder / directory).mkdir(mode=0o700)
        job = {
            "do": task,
            "in": str(folder / "in"),
            "out": str(folder / "out"),
            "scratch": str(folder / "scratch"),
            "case": case_name(case.id if case else "sample000"),
            "key": case.id if case else "",
            "max_bytes": self._context.settings.platform.max_unpacked_mb * MIB,
            "cache": str(self._context.settings.data_dir / "cache"),
            **more,
        }
        if spool is None:
            done = await self._context.tasks.run(job)
        else:
            limit = await self._uploads.unpacked_limit(spool.claim)
            done = await self._reader.run({**job, "max_bytes": limit}, folder, spool.bytes)
        result: dict[str, Any] = done.get("result") or {}
        return result

    async def _store(
        self, case: CaseRecord, made: Path, found: list[Mapping[str, Any]], folder: Path, claim: Claim, *warnings: str
    ) -> list[SeriesRecord]:
        """Clean each file and store all; a name that a task gives is not trusted to lead elsewhere."""
        new = []
        for number, facts in enumerate(found):
            target = folder / f"clean-{number}.nii"
            key = str(facts["key"])
            scan = await self._uploads.clean(made / Path(str(facts["file"])).name, target, key, claim)
            said = [str(text) for text in facts.get("warnings") or []]
            scan = replace(scan, warnings=tuple(dict.fromkeys((*scan.warnings, *said, *warnings))))
            sequence = MRSequence(facts["sequence"]) if facts.get("sequence") else None
            known = {name: facts.get(name) for name in ("confidence", "reason", "dicom", "whose")}
            new.append(NewScan(target, scan, key, sequence, known))
        await to_thread.run_sync(claim.settle, sum(scan.clean.bytes for scan in new))
        commit = partial(self._context.store.add_series, case.id, upload=claim.id)
        change = await to_thread.run_sync(self._storage.store_scans, case, new, commit)
        return list(change.stored)

    async def checks(self, request: Request, case: CaseRecord) -> Mapping[str, Any]:
        """What a run would say of the scans that the case has now.

        Returns:
            as the task ``checks``: why it would refuse them (empty if it would not), remarks, and thumbnails.

        Raises:
            ConflictError: if a scan is replaced or removed meanwhile.
            GoneError: if the case is deleted meanwhile; nothing of it is left on the disk then.
        """
        given = [record for record in case.series if record.sequence is not None]
        if not given:
            return {"problem": "the case has no scan of a known sequence"}
        async with self._uploads.copies(request, case) as folder, self._reader.slot(case.session_id):
            (folder / "in").mkdir(mode=0o700)
            for record in given:
                await self._fetch_scan(case, record, folder / "in" / f"{record.sequence}.nii")
            said = {
                str(record.sequence): {k: v for k, v in record.facts.items() if k in ("confidence", "reason", "whose")}
                for record in given
            }
            known = {sequence: facts for sequence, facts in said.items() if facts}
            return await self.run_task("checks", case, folder, sources=known, preprocessed=case.choice.preprocessed)

    async def _fetch_scan(self, case: CaseRecord, record: SeriesRecord, path: Path) -> None:
        try:
            await to_thread.run_sync(self._context.blobs.fetch, record.blob_key, path, record.sha256)
        except DamagedError as error:
            now = await to_thread.run_sync(self._context.store.case, case.id)
            if record.blob_key in [one.blob_key for one in now.series]:
                raise
            raise ConflictError("the scans were changed meanwhile; ask again") from error

    def check_may_correct(self, case: CaseRecord, run: int | None = None) -> None:
        """Whether a mask of the case can be corrected, before its bytes are sent. Blocks.

        Args:
            case: as it is now; what is kept later is kept only if it is still in this run.
            run: whose mask was corrected, as far as the caller says.

        Raises:
            ConflictError: unless the case is done, in that run. FullError: if the disk is full.
        """
        if run not in (None, case.run):
            raise ConflictError(
                f"the mask of run {run} was corrected, and the case is in run {case.run} now, perhaps on other scans;"
                " correct the new mask"
            )
        reference_view(case, self._context.store.artifacts(case.id, public=True))
        self._uploads.check_space()

    async def segmentation(
        self, case: CaseRecord, spool: Spool, newest_known: int | None = None
    ) -> tuple[Artifact, dict[str, Any]]:
        """Check and measure a corrected mask, and keep it with its report, picture and table as the next version.

        Raises:
            ConflictError: unless the case is done, or if it has a newer version than the one that is known.
            InputError: if the mask does not lie on the reference scan's grid, or holds other values than labels.
        """
        files = await to_thread.run_sync(lambda: self._context.store.artifacts(case.id, public=True))
        view = reference_view(case, files)
        facts = next((file for file in files if file.output == OutputFile.of(Role.FACTS)), None)
        directory = spool.directory("in")
        for file, name in ((view, "reference.nii.gz"), (facts, "result.json")):
            if file is not None:
                await to_thread.run_sync(self._context.blobs.fetch, file.blob_key, directory / name, file.sha256)
        spool.path.rename(directory / ("mask.nii.gz" if await to_thread.run_sync(_is_gzip, spool.path) else "mask.nii"))
        async with self._reader.slot(case.session_id):
            measured = await self.run_task("segmentation", case, spool.folder, spool)
        made = await to_thread.run_sync(_correction_files, case, spool.folder / "out")
        await to_thread.run_sync(spool.claim.settle, sum(artifact.bytes for _, artifact in made))
        store = self._storage.store_segmentation
        kept = await to_thread.run_sync(store, case, made, measured, spool.claim.id, newest_known)
        return kept, measured


def reference_view(case: CaseRecord, files: list[Artifact]) -> Artifact:
    """The file that shows the scan on whose grid the result lies.

    Raises:
        ConflictError: unless the case is done.
    """
    reference = CaseReport.stored(case.result).input.reference if case.result else None
    wanted = OutputFile.of(Role.VIEW, sequence=reference or "")
    view = next((file for file in files if file.output == wanted), None)
    if case.state is not CaseState.DONE or view is None:
        raise ConflictError("the case is not done; a mask can be corrected once there is one")
    return view


def _correction_files(case: CaseRecord, folder: Path) -> list[tuple[Path, Artifact]]:
    """The mask that a task left, and what it made of it, as files to keep. Blocks."""
    prefix = f"cases/{case.id}/{case.run}/corrected/{new_id()}"
    made = []
    for role, left in ((Role.CORRECTED_SEGMENTATION, "mask.nii.gz"), *CORRECTION_FILES.items()):
        path, output = folder / left, OutputFile.of(role)
        if role is Role.CORRECTED_SEGMENTATION or path.is_file():
            name = output.name(case_name(case.id), UNKNOWN_VERSION)
            digest, size = hash_file(path)
            made.append(
                (path, Artifact(name, output.kind, f"{prefix}/{left}", size, digest, None, public=True, output=output))
            )
    return made


def _drop(*folders: Path) -> None:
    """What is not needed any more counts no more."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP
