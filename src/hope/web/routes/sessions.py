"""Sessions: open, look, change, leave, kill."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Body, Request, Response

from hope.contract.job import CaseRecord, CaseState, ConflictError
from hope.domain.errors import InputError
from hope.domain.ids import new_token, token_hash
from hope.web import strict_json
from hope.web.archive import ArchiveFile, files_of, zip_chunks
from hope.web.auth.access import (
    COOKIE,
    Audit,
    Components,
    Context,
    Current,
    give_cookie,
    session_of,
    take_cookie,
    token_of,
)
from hope.web.cases_table import cases_csv
from hope.web.context import WebContext
from hope.web.downloads import streamed
from hope.web.errors import ProblemError
from hope.web.problems import BODY, binary, problems
from hope.web.schemas import ReceiptOut, SessionCreated, SessionIn, SessionOut, SessionPatch
from hope.web.serializers import case_out, session_out
from hope.web.webhooks import checked_targets

router = APIRouter(prefix="/api/session", tags=["session"])

_LONGEST_LEAVE = 4096


@router.post(
    "",
    status_code=201,
    operation_id="create_session",
    response_model_exclude_unset=True,
    responses=problems(401, *BODY),
)
def create_session(
    request: Request,
    response: Response,
    components: Components,
    context: Context,
    audit: Audit,
    body: Annotated[SessionIn | None, Body()] = None,
) -> SessionCreated:
    """Open a session. Browsers get a cookie; programs use the token. Calling without a body accepts the terms."""
    if body is not None and not body.terms_accepted:
        raise InputError(
            "the terms are not accepted", expected="terms_accepted true", fix="read them in /api/vocabulary"
        )
    owner = components.authenticator.principal(request)
    if owner is None:
        audit.record("anonymous", "session.create", "none", "refused")
        raise ProblemError(401, "sign-in", "sign in first; /api/whoami says how", {"WWW-Authenticate": "Bearer"})
    token = new_token()
    session = context.store.create_session(token_hash(token), owner)
    audit.record(owner, "session.create", session.id)
    give_cookie(response, token, context.settings)
    opened = session_out(session, [], context.settings)
    return SessionCreated(**{name: getattr(opened, name) for name in opened.model_fields_set}, token=token)


@router.get("", operation_id="get_session", response_model_exclude_unset=True, responses=problems(401))
def get_session(request: Request, response: Response, session: Current, context: Context) -> SessionOut:
    """The session and its cases. The time of its deletion moves on with every call."""
    _renew_cookie(request, response, context)
    return session_out(session, context.store.cases(session.id), context.settings)


@router.patch("", operation_id="change_session", response_model_exclude_unset=True, responses=problems(401, 404, *BODY))
def change_session(body: SessionPatch, session: Current, context: Context) -> SessionOut:
    """Say whether it ends with the page, and where key steps are told."""
    platform = context.settings.platform
    notify = None if body.notify is None else checked_targets(platform, body.notify.model_dump(exclude_none=True))
    changed = context.store.update_session(session.id, close_with_page=body.close_with_page, notify=notify)
    return session_out(changed, context.store.cases(session.id), context.settings)


@router.delete("", operation_id="delete_session", responses=problems(401, 404))
async def delete_session(
    response: Response, session: Current, components: Components, context: Context, audit: Audit
) -> ReceiptOut:
    """Stop all running work of the session, delete everything in it, and say what was deleted."""
    cases = await to_thread.run_sync(context.store.cases, session.id)
    receipt = await context.lifecycle.delete_session(session.id, "user")
    components.events.forget(*(case.id for case in cases))
    outcome = "ok, but scratch of a dead worker unconfirmed" if receipt.unconfirmed else "ok"
    await to_thread.run_sync(audit.record, session.owner, "session.kill", session.id, outcome)
    take_cookie(response, context.settings)
    return ReceiptOut(**receipt.to_json())


@router.get(
    "/cases.csv",
    operation_id="download_table",
    response_class=Response,
    responses=problems(401) | {200: binary("one row a case, oldest first", "text/csv")},
)
def download_table(session: Current, context: Context, audit: Audit) -> Response:
    """All cases as a table: name, state, volumes of the current mask, expected quality, worst remark."""
    table = cases_csv([case_out(case) for case in context.store.cases(session.id)])
    audit.record(session.owner, "table.download", session.id)
    return Response(table, media_type="text/csv; charset=utf-8", headers=_saved_as("hope-cases.csv"))


@router.get(
    "/results.zip",
    operation_id="download_results",
    response_class=Response,
    responses=problems(401, 404, 409) | {200: binary("a folder for each finished case", "application/zip")},
)
async def download_results(session: Current, context: Context, audit: Audit) -> Response:
    """Every finished case in one zip: masks, report, picture, tables, and one table of all cases at its top.

    It is made while it is sent; a zip that breaks off has no directory, so that no program takes it for whole.
    """
    cases = await to_thread.run_sync(context.store.cases, session.id)
    done = [case for case in cases if case.state is CaseState.DONE]
    if not done:
        raise ConflictError("no case of the session is done; there is nothing to download yet")
    files = await to_thread.run_sync(lambda: [f for case in done for f in _archived(case, context)])
    chunks = zip_chunks(files, cases_csv([case_out(case) for case in cases]), context.blobs)
    response = await streamed(chunks, {"Content-Type": "application/zip", **_saved_as("hope-results.zip")})
    for case in done:
        await to_thread.run_sync(audit.record, session.owner, "file.download", case.id)
    return response


def _archived(case: CaseRecord, context: WebContext) -> list[ArchiveFile]:
    return files_of(case, context.store.artifacts(case.id, public=True))


def _saved_as(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}


@router.post(
    "/leave",
    status_code=204,
    operation_id="leave_session",
    responses=problems(401, 404, *BODY),
    openapi_extra={
        "requestBody": {
            "description": "optional; for pages that close, which cannot send headers",
            "content": {"text/plain": {"schema": {"type": "string", "examples": ['{"token": "..."}']}}},
        }
    },
)
async def leave_session(request: Request, context: Context) -> None:
    """Say that the page closes. A session that ends with its page is deleted 20 s later unless it is used again."""
    token = await _token_in_body(request) or token_of(request)
    session = await to_thread.run_sync(session_of, token, context)
    await to_thread.run_sync(lambda: context.store.update_session(session.id, left=True))


async def _token_in_body(request: Request) -> str | None:
    held = b""
    async for chunk in request.stream():
        held += chunk
        if len(held) > _LONGEST_LEAVE:
            raise ProblemError(413, "too-large", f"the body may have {_LONGEST_LEAVE} bytes at most")
    try:
        said = strict_json.loads(held) if held.strip() else {}
    except ValueError:
        raise ProblemError(400, "json", "the body is not valid JSON") from None
    token = said.get("token") if isinstance(said, dict) else None
    return token if isinstance(token, str) and token.isascii() else None


def _renew_cookie(request: Request, response: Response, context: Context) -> None:
    token = token_of(request)
    if token and token == request.cookies.get(COOKIE):
        give_cookie(response, token, context.settings)
