"""An archive (PACS) that the operator has named: search it, and take a study's scans into a case."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Request

from hope.web.archive_schemas import StudiesFound, StudyChoice, StudyFound, StudySearch
from hope.web.auth.access import Audit, Components, Current, Own
from hope.web.problems import BODY, SESSION, problems
from hope.web.schemas import SeriesFound
from hope.web.serializers import series_out

router = APIRouter(tags=["archive"])

_ASKED = "asked"
"""Outcome in the audit log: written before the archive is asked, since a search that fails was a search as well."""


@router.post("/api/archive/studies", operation_id="find_studies", responses=problems(401, 409, 502, *BODY))
async def find_studies(
    request: Request, body: StudySearch, session: Current, components: Components, audit: Audit
) -> StudiesFound:
    """Search the archive for MR studies of one patient, or of a date. Neither question nor answer is kept."""
    components.archive.check()
    await to_thread.run_sync(audit.record, session.owner, "archive.search", session.id, _ASKED)
    found = await components.archive.find(request, session, body.patient_id.strip(), body.date)
    return StudiesFound(studies=[StudyFound.model_validate(study) for study in found])


@router.post(
    "/api/cases/{case_id}/archive",
    operation_id="pull_study",
    response_model_exclude_unset=True,
    responses=problems(*SESSION, 409, 502, *BODY),
)
async def pull_study(
    request: Request, body: StudyChoice, own: Own, components: Components, audit: Audit
) -> SeriesFound:
    """Take the MR series of one study into the case, as an upload of its zip would: without names and dates."""
    components.archive.check()
    await to_thread.run_sync(audit.record, own.session.owner, "archive.pull", own.case.id, _ASKED)
    records, problem = await components.archive.pull(request, own.case, body.study_uid)
    found = SeriesFound(series=[series_out(record) for record in records])
    return found.model_copy(update={"problem": problem}) if problem else found
