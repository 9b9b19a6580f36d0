"""What came out of a case: files, masks and their corrections, diagnostics."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from hope.contract.job import CaseRecord
from hope.contract.outputs import OutputFile, Role, Space
from hope.contract.report import CaseReport
from hope.web.auth.access import Audit, Components, Context, Own, OwnCase
from hope.web.context import WebContext
from hope.web.diagnostics import DiagnosticsOut, diagnostics_of
from hope.web.downloads import download
from hope.web.errors import ProblemError
from hope.web.problems import SESSION, UPLOAD, binary, body_of_bytes, problems
from hope.web.schemas import FilesOut, SegmentationSaved, SegmentationsOut, SegmentationVersion
from hope.web.serializers import case_name, file_out

router = APIRouter(prefix="/api/cases/{case_id}", tags=["results"])

Name = Annotated[str, Path(description="name of a file of GET /files")]
Inline = Annotated[bool, Query(description="show it in the browser instead of saving it")]
NewestKnown = Annotated[
    int | None,
    Query(
        ge=0, le=2**31, description="the newest version that you know; if there is a newer one nothing is kept (409)"
    ),
]
OfRun = Annotated[
    int | None,
    Query(
        ge=1,
        le=2**31,
        description="`run` of the case whose mask was corrected; if the case was run again nothing is kept (409)",
    ),
]
_FILE = problems(*SESSION) | {
    200: binary("the bytes, by their own content type", "*/*"),
    304: {"description": "unchanged"},
}


@router.get("/files", operation_id="list_files", response_model_exclude_unset=True, responses=problems(*SESSION))
def list_files(own: Own, context: Context) -> FilesOut:
    """What can be downloaded now: nothing before the last stage is done, then the result and every correction."""
    artifacts = context.store.artifacts(own.case.id, public=True)
    return FilesOut(files=[file_out(artifact) for artifact in artifacts])


@router.get("/files/{name}", operation_id="download_file", response_class=Response, responses=_FILE)
async def download_file(
    request: Request, name: Name, own: Own, context: Context, audit: Audit, inline: Inline = False
) -> Response:
    """One file."""
    response = await _file(request, name, own, context, inline)
    await to_thread.run_sync(audit.record, own.session.owner, "file.download", own.case.id)
    return response


@router.head("/files/{name}", operation_id="look_at_file", response_class=Response, responses=_FILE)
async def look_at_file(request: Request, name: Name, own: Own, context: Context, inline: Inline = False) -> Response:
    """Size, hash and type of a file without its bytes."""
    return await _file(request, name, own, context, inline)


async def _file(request: Request, name: str, own: OwnCase, context: WebContext, inline: bool) -> Response:
    artifacts = await to_thread.run_sync(lambda: context.store.artifacts(own.case.id, public=True))
    found = next((artifact for artifact in artifacts if artifact.name == name), None)
    if found is None:
        raise ProblemError(404, "no-file", "the case has no file of that name; GET /files lists those there are")
    return await download(
        request,
        context.blobs,
        name=found.name,
        blob_key=found.blob_key,
        size=found.bytes,
        sha256=found.sha256,
        inline=inline,
    )


@router.put(
    "/segmentation",
    operation_id="save_segmentation",
    response_model_exclude_unset=True,
    responses=problems(*UPLOAD),
    openapi_extra=body_of_bytes("a .nii or .nii.gz label volume (0 to 4) on the reference scan's own grid"),
)
async def save_segmentation(
    request: Request,
    own: Own,
    components: Components,
    audit: Audit,
    newest_known: NewestKnown = None,
    run: OfRun = None,
) -> SegmentationSaved:
    """Keep a corrected mask as a new version, measure it, and make its report, picture and table.

    The newest version is the current one: `volumes_ml` and `version` of the case are its own from now on.
    """
    uploads, intake = components.uploads, components.intake
    await to_thread.run_sync(intake.check_may_correct, own.case, run)
    async with uploads.spooled(request, own.case, "the segmentation") as spool:
        artifact, measured = await intake.segmentation(own.case, spool, newest_known)
    await to_thread.run_sync(audit.record, own.session.owner, "segmentation.save", own.case.id)
    return SegmentationSaved(
        version=artifact.version,
        name=artifact.name,
        volumes_ml=measured.get("volumes_ml") or {},
        warnings=list(measured.get("warnings") or []),
    )


@router.post(
    "/dicom-objects",
    operation_id="make_dicom_objects",
    response_class=Response,
    responses=problems(*UPLOAD) | {200: binary("a zip of the objects", "application/zip")},
    openapi_extra=body_of_bytes("a zip of the original DICOM series", "application/zip", "application/octet-stream"),
)
async def make_dicom_objects(request: Request, own: Own, components: Components, audit: Audit) -> Response:
    """The current mask as a DICOM segmentation and its figures as a structured report, for the series that is sent.

    The objects carry the identity that the series has. Neither they nor the series are kept.
    """
    await to_thread.run_sync(components.objects.check, own.case)
    async with components.uploads.spooled(request, own.case, "the series") as spool:
        made = await components.objects.make(own.case, spool)
    await to_thread.run_sync(audit.record, own.session.owner, "dicom.export", own.case.id)
    name = f"{case_name(own.case.id)}-dicom.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
    return Response(made, media_type="application/zip", headers=headers)


@router.get(
    "/segmentations", operation_id="list_segmentations", response_model_exclude_unset=True, responses=problems(*SESSION)
)
def list_segmentations(own: Own, context: Context) -> SegmentationsOut:
    """All versions of the mask with their volumes, the model's first."""
    return SegmentationsOut(versions=_versions(own.case, context))


def _versions(case: CaseRecord, context: WebContext) -> list[SegmentationVersion]:
    artifacts = context.store.artifacts(case.id, public=True)
    measured = context.store.segmentation_results(case.id)
    first = OutputFile(Role.SEGMENTATION, space=Space.NATIVE)
    volumes = CaseReport.stored(case.result).volumes_ml if case.result else {}
    found = [
        SegmentationVersion(version=0, name=a.name, made_by="model", volumes_ml=volumes)
        for a in artifacts
        if a.output == first
    ]
    masks = (a for a in artifacts if a.output == OutputFile.of(Role.CORRECTED_SEGMENTATION))
    corrected = sorted(masks, key=lambda a: a.version)
    return found + [
        SegmentationVersion(
            version=a.version,
            name=a.name,
            made_by="user",
            volumes_ml=measured.get(a.version, {}).get("volumes_ml") or {},
        )
        for a in corrected
    ]


@router.get("/diagnostics", operation_id="get_diagnostics", responses=problems(*SESSION))
def get_diagnostics(own: Own, context: Context) -> DiagnosticsOut:
    """What helps to find out why a case failed: states, problems, versions, events; no scan, no name, no id."""
    return diagnostics_of(own.case, context.store)
