"""A case compared with an earlier one, or with an earlier result that is uploaded."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from hope.contract.job import CaseRecord
from hope.web.auth.access import Audit, Components, Current, Own, own_case
from hope.web.problems import BODY, SESSION, UPLOAD, binary, body_of_bytes, problems
from hope.web.schemas import ComparisonIn, Days
from hope.web.serializers import case_name

router = APIRouter(prefix="/api/cases/{case_id}", tags=["results"])

_ZIP = binary(
    "a zip of comparison.json, changes.csv, report.html, comparison.png and both dates on one grid", "application/zip"
)


@router.post(
    "/comparison",
    operation_id="compare_cases",
    response_class=Response,
    responses=problems(*SESSION, 409, 507, *BODY) | {200: _ZIP},
)
async def compare_cases(
    request: Request, body: ComparisonIn, own: Own, session: Current, components: Components, audit: Audit
) -> Response:
    """What changed since another finished case of the session, which is the earlier date. Nothing of it is kept."""
    earlier = await to_thread.run_sync(own_case, body.earlier, session, components.context)
    await to_thread.run_sync(components.comparisons.check, own.case, earlier.case)
    made = await components.comparisons.with_case(request, own.case, earlier.case, body.days)
    await to_thread.run_sync(audit.record, own.session.owner, "case.compare", own.case.id)
    return _response(own.case, made)


@router.post(
    "/comparison/upload",
    operation_id="compare_with_upload",
    response_class=Response,
    responses=problems(*UPLOAD) | {200: _ZIP},
    openapi_extra=body_of_bytes(
        "a zip of the t1c in atlas space, the mask and the result.json of an earlier result, under any names",
        "application/zip",
        "application/octet-stream",
    ),
)
async def compare_with_upload(
    request: Request,
    own: Own,
    components: Components,
    audit: Audit,
    days: Annotated[Days | None, Query(description="from the earlier to the later date")] = None,
) -> Response:
    """What changed since an earlier result that is sent as a zip. Neither it nor the comparison is kept."""
    await to_thread.run_sync(components.comparisons.check, own.case)
    async with components.uploads.spooled(request, own.case, "the earlier result") as spool:
        made = await components.comparisons.with_upload(own.case, spool, days)
    await to_thread.run_sync(audit.record, own.session.owner, "case.compare", own.case.id)
    return _response(own.case, made)


def _response(case: CaseRecord, made: bytes) -> Response:
    headers = {
        "Content-Disposition": f'attachment; filename="{case_name(case.id)}-comparison.zip"',
        "Cache-Control": "private, no-store",
    }
    return Response(made, media_type="application/zip", headers=headers)
