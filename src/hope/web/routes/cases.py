"""Cases: create, look, run, follow, cancel, delete."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Body, Header, Query

from hope.contract.job import CaseRecord, ConflictError
from hope.contract.options import RunOptions
from hope.domain.errors import InputError
from hope.domain.wording import counted
from hope.web.auth.access import Audit, Components, Context, Current, Own
from hope.web.context import WebContext
from hope.web.events import EVENT_SCHEMA, EventStream
from hope.web.problems import BODY, SESSION, problems
from hope.web.schemas import CaseChange, CaseOut, CasesOut, ReceiptOut
from hope.web.serializers import case_out

router = APIRouter(prefix="/api/cases", tags=["cases"])

_LAST_NUMBER = 2**53  # what JSON and every database carry


@router.post(
    "",
    status_code=201,
    operation_id="create_case",
    response_model_exclude_unset=True,
    responses=problems(*SESSION, 409),
)
def create_case(session: Current, context: Context, audit: Audit) -> CaseOut:
    """A new, empty case."""
    most = context.settings.platform.max_session_files
    if len(context.store.cases(session.id)) >= most:
        raise ConflictError(f"the session has {counted(most, 'cases')}, which is the most; delete one first")
    case = context.store.create_case(session.id)
    audit.record(session.owner, "case.create", case.id)
    return case_out(case)


@router.get("", operation_id="list_cases", response_model_exclude_unset=True, responses=problems(401))
def list_cases(session: Current, context: Context) -> CasesOut:
    """All cases of the session."""
    return CasesOut(cases=[case_out(case) for case in context.store.cases(session.id)])


@router.get("/{case_id}", operation_id="get_case", response_model_exclude_unset=True, responses=problems(*SESSION))
async def get_case(own: Own) -> CaseOut:
    """One case: how far it is, its scans, and what came out of it."""
    return case_out(own.case)


@router.patch(
    "/{case_id}",
    operation_id="change_case",
    response_model_exclude_unset=True,
    responses=problems(*SESSION, *BODY),
)
def change_case(own: Own, context: Context, audit: Audit, body: CaseChange) -> CaseOut:
    """Name a case. The name is shown on the page and stands in no file, log or audit entry."""
    changed = context.store.label_case(own.case.id, body.label)
    audit.record(own.session.owner, "case.label", own.case.id)
    return case_out(changed)


@router.delete("/{case_id}", operation_id="delete_case", responses=problems(*SESSION))
async def delete_case(components: Components, own: Own, context: Context, audit: Audit) -> ReceiptOut:
    """Stop the case's work and delete everything of it."""
    receipt = await context.lifecycle.delete_case(own.case)
    components.events.forget(own.case.id)
    outcome = "ok, but scratch of a dead worker unconfirmed" if receipt.unconfirmed else "ok"
    await to_thread.run_sync(audit.record, own.session.owner, "case.delete", own.case.id, outcome)
    return ReceiptOut(**receipt.to_json())


@router.post(
    "/{case_id}/run",
    status_code=202,
    operation_id="run_case",
    response_model_exclude_unset=True,
    responses=problems(*SESSION, 409, *BODY),
)
def run_case(own: Own, context: Context, audit: Audit, body: Annotated[RunOptions | None, Body()] = None) -> CaseOut:
    """Start the four stages. Follow them at /events; a case that is done may be run again."""
    choice = body or RunOptions()
    _check_runnable(own.case, choice, context)
    queued = context.lifecycle.run_case(own.case, choice)
    audit.record(own.session.owner, "case.run", own.case.id)
    return case_out(queued)


@router.post(
    "/{case_id}/cancel",
    operation_id="cancel_case",
    response_model_exclude_unset=True,
    responses=problems(*SESSION, 409),
)
async def cancel_case(own: Own, context: Context, audit: Audit) -> CaseOut:
    """Stop the case's work; its scans stay. A case that is not in work stays as it is."""
    if not own.case.state.in_work:
        return case_out(own.case)
    cancelled = await context.lifecycle.cancel_case(own.case)
    await to_thread.run_sync(audit.record, own.session.owner, "case.cancel", own.case.id)
    return case_out(cancelled)


@router.get(
    "/{case_id}/events",
    operation_id="follow_case",
    response_class=EventStream,
    responses=problems(*SESSION)
    | {
        200: {
            "description": "`id`: number; `event`: series, state, stage, progress, segmentation, or gone when the case "
            "was deleted; `data`: JSON with case_id, at and what the kind tells. A comment every 5 s says that the "
            "stream lives. It ends after an hour; browsers come back by themselves.",
            "content": {"text/event-stream": {"schema": EVENT_SCHEMA}},
        }
    },
)
async def follow_case(
    components: Components,
    own: Own,
    after: Annotated[int, Query(ge=0, le=_LAST_NUMBER, description="number of the last event that you have")] = 0,
    follow: Annotated[bool, Query(description="false ends the stream after what has happened so far")] = True,
    last_event_id: Annotated[str, Header(description="the same as `after`, sent by browsers that come back")] = "",
) -> EventStream:
    """What happens to the case, as Server-Sent Events; first what was missed."""
    if last_event_id.isascii() and last_event_id.isdigit():
        after = max(after, min(int(last_event_id[:17]), _LAST_NUMBER))
    # A proxy that holds the stream back would make progress come in lumps.
    headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
    return EventStream(components.events.stream(own.case.id, own.session.id, after, follow=follow), headers=headers)


def _check_runnable(case: CaseRecord, choice: RunOptions, context: WebContext) -> None:
    if not case.sequences:
        fix = "upload a scan, or say which sequence an uploaded series is"
        raise InputError("the case has no scan of a known sequence", expected="at least one", got="none", fix=fix)
    if choice.model is None:
        return
    known = [str(model["id"]) for model in context.models()]
    if choice.model not in known:
        expected = f"one of {', '.join(known) or '(none installed)'}"
        raise InputError("there is no such model", expected=expected, got=choice.model, fix="see GET /api/models")
