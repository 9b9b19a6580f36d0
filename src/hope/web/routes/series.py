"""Scans of a case: upload, assign, sample, download."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Path, Request
from starlette.responses import Response

from hope.contract.report import Flag
from hope.domain.case import MRSequence
from hope.web.auth.access import Audit, Components, Context, Own
from hope.web.downloads import download, etags
from hope.web.errors import ProblemError
from hope.web.problems import BODY, SESSION, UPLOAD, binary, body_of_bytes, problems
from hope.web.schemas import AssignmentsIn, CaseOut, ChecksOut, SeriesFound, SeriesStored
from hope.web.serializers import case_name, case_out, series_out, series_stored
from hope.web.storing import NewScan

router = APIRouter(prefix="/api/cases/{case_id}", tags=["scans"])


@router.put(
    "/series/{sequence}",
    operation_id="upload_series",
    response_model_exclude_unset=True,
    responses=problems(*UPLOAD, 412),
    openapi_extra=body_of_bytes("a .nii or .nii.gz file; its content decides", "application/octet-stream"),
)
async def upload_series(
    request: Request,
    sequence: MRSequence,
    own: Own,
    components: Components,
    audit: Audit,
    if_match: Annotated[str, Header(description="the ETag of the one scan that this one replaces")] = "",
) -> SeriesStored:
    """Upload one scan, streamed. It is checked at once, and stored without its name and without any text in it.

    It replaces the scan that has this sequence under this very key, or the one that `If-Match` names. Any other scan
    stays; if it had the sequence, it is unassigned. The answer says which scan was replaced or unassigned.
    """
    uploads, key = components.uploads, str(sequence)
    await to_thread.run_sync(uploads.check_may_upload, own.case)
    async with uploads.spooled(request, own.case, key, key) as spool:
        new = NewScan(*await uploads.read(own.case, spool, key), key, sequence)
        await to_thread.run_sync(spool.claim.settle, new.clean.bytes)
        match = etags(if_match) if if_match else None
        commit = lambda records: components.context.store.put_series(own.case.id, records[0], match, spool.claim.id)  # noqa: E731
        change = await to_thread.run_sync(components.storage.store_scans, own.case, [new], commit)
    await to_thread.run_sync(audit.record, own.session.owner, "series.upload", own.case.id)
    return series_stored(change)


@router.put(
    "/dicom",
    operation_id="upload_dicom",
    response_model_exclude_unset=True,
    responses=problems(*UPLOAD),
    openapi_extra=body_of_bytes("a zip of DICOM files, in any folders", "application/zip", "application/octet-stream"),
)
async def upload_dicom(request: Request, own: Own, components: Components, audit: Audit) -> SeriesFound:
    """Upload a study as a zip of DICOM files. The series in it are converted and, where it is clear, assigned.

    All of them are stored or none. They replace nothing: a sequence that a scan of the case has already stays with it.
    """
    uploads = components.uploads
    await to_thread.run_sync(uploads.check_may_upload, own.case)
    async with uploads.spooled(request, own.case, "the archive") as spool:
        records, problem = await components.intake.archive(own.case, spool)
    await to_thread.run_sync(audit.record, own.session.owner, "series.upload", own.case.id)
    found = SeriesFound(series=[series_out(record) for record in records])
    return found.model_copy(update={"problem": problem}) if problem else found


@router.post(
    "/sample",
    operation_id="use_sample",
    response_model_exclude_unset=True,
    responses=problems(*SESSION, 409, 413, 507),
)
async def use_sample(own: Own, components: Components, audit: Audit) -> SeriesFound:
    """Give the case four synthetic scans, to try the platform without any patient's."""
    await to_thread.run_sync(components.uploads.check_may_upload, own.case)
    records = await components.intake.sample(own.case)
    await to_thread.run_sync(audit.record, own.session.owner, "series.sample", own.case.id)
    return SeriesFound(series=[series_out(record) for record in records])


@router.get(
    "/checks",
    operation_id="check_scans",
    response_model_exclude_unset=True,
    responses=problems(*SESSION, 409, 507),
)
async def check_scans(request: Request, own: Own, components: Components) -> ChecksOut:
    """What intake says of the scans that are there now, before a run: whether it would refuse them, and remarks.

    With a small picture of each, which shows no face: one slice above the eyes, without skin and skull.
    """
    said = await components.intake.checks(request, own.case)
    remarks = [Flag.model_validate(remark) for remark in said.get("remarks") or []]
    found = ChecksOut(remarks=remarks, thumbnails=said.get("thumbnails") or {})
    return found.model_copy(update={"problem": problem}) if (problem := said.get("problem")) else found


@router.put(
    "/assignments",
    operation_id="assign_series",
    response_model_exclude_unset=True,
    responses=problems(*SESSION, 409, *BODY),
)
def assign_series(body: AssignmentsIn, own: Own, context: Context) -> CaseOut:
    """Say which stored series is which sequence, all at once or not at all."""
    return case_out(context.store.assign_series(own.case.id, body.root))


@router.delete(
    "/series/{key}",
    operation_id="delete_series",
    response_model_exclude_unset=True,
    responses=problems(*SESSION, 409, 422),
)
def delete_series(
    key: Annotated[str, Path(description="key of a stored series", max_length=64)],
    own: Own,
    components: Components,
    audit: Audit,
) -> CaseOut:
    """Delete the one scan under this key, whichever sequence it is. The key is not given again."""
    removed = components.context.store.delete_series(own.case.id, key)
    components.storage.drop([removed.blob_key])
    audit.record(own.session.owner, "series.delete", own.case.id)
    return case_out(components.context.store.case(own.case.id))


@router.get(
    "/series/{key}",
    operation_id="download_series",
    response_class=Response,
    responses=problems(*SESSION) | {200: binary("the scan as it is stored: .nii"), 304: {"description": "unchanged"}},
)
async def download_series(
    request: Request,
    key: Annotated[str, Path(description="key of a stored series")],
    own: Own,
    context: Context,
    audit: Audit,
) -> Response:
    """The stored scan: your voxels and position, nothing else of your file."""
    record = next((series for series in own.case.series if series.key == key), None)
    if record is None:
        raise ProblemError(404, "no-file", "the case has no series of that key")
    response = await download(
        request,
        context.blobs,
        name=f"{case_name(own.case.id)}-{record.key}.nii",
        blob_key=record.blob_key,
        size=record.bytes,
        sha256=record.sha256,
        inline=False,
    )
    await to_thread.run_sync(audit.record, own.session.owner, "file.download", own.case.id)
    return response
