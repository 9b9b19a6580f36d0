"""Who asks, and for what: the session behind a token, the case behind an id, and nothing of anybody else's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path
from starlette.requests import Request
from starlette.responses import Response

from hope.contract.job import CaseRecord, GoneError, Session
from hope.domain.ids import token_hash
from hope.jobs.audit_log import AuditLog
from hope.settings import Settings
from hope.web.auth.api_tokens import PREFIX
from hope.web.components import GatewayComponents
from hope.web.context import WebContext
from hope.web.errors import ProblemError

COOKIE = "hope_session"

_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{26}")
_NO_SESSION = "there is no session, or it has ended; POST /api/session opens one"


@dataclass(frozen=True)
class OwnCase:
    """A case with the session that it belongs to."""

    session: Session
    case: CaseRecord


async def components_of(request: Request) -> GatewayComponents:
    """What the application is made of. Async, as the two below: it does not block, and a thread would cost more."""
    components: GatewayComponents = request.app.state.components
    return components


async def context_of(components: Annotated[GatewayComponents, Depends(components_of)]) -> WebContext:
    """What `create_app` was given."""
    return components.context


async def audit_of(components: Annotated[GatewayComponents, Depends(components_of)]) -> AuditLog:
    """The audit log."""
    return components.audit


def token_of(request: Request) -> str | None:
    """The capability that comes with a request: the bearer token, else the cookie."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    # An API token may come the same way: it says who calls, not in which session.
    if scheme.lower() == "bearer" and token.strip() and not token.strip().startswith(PREFIX):
        return token.strip()
    return request.cookies.get(COOKIE) or None


def session_of(token: str | None, context: WebContext) -> Session:
    """The living session with this token, marked as used. Blocks.

    Raises:
        ProblemError: 401 if there is none: ``no-session`` without a token, ``session-ended`` with one.
    """
    session = context.store.session_of_token(token_hash(token)) if token else None
    if session is None:
        # A browser that lost its cookie is told from one whose session is gone: the former's data is still there.
        kind = "session-ended" if token else "no-session"
        raise ProblemError(401, kind, _NO_SESSION, {"WWW-Authenticate": "Bearer"})
    return session


def current_session(request: Request, context: Annotated[WebContext, Depends(context_of)]) -> Session:
    """Dependency: the session of this request. Runs in a thread."""
    return session_of(token_of(request), context)


def own_case(
    case_id: Annotated[str, Path(description="id of a case of this session")],
    session: Annotated[Session, Depends(current_session)],
    context: Annotated[WebContext, Depends(context_of)],
) -> OwnCase:
    """Dependency: a case of this session; everybody else's does not exist. Runs in a thread.

    Raises:
        GoneError: if there is none.
    """
    # Databases differ in what they say to odd text; an id of another form cannot exist.
    if not _ID.fullmatch(case_id):
        raise GoneError
    return OwnCase(session, context.store.case(case_id, session.id))


Components = Annotated[GatewayComponents, Depends(components_of)]
Context = Annotated[WebContext, Depends(context_of)]
Audit = Annotated[AuditLog, Depends(audit_of)]
Current = Annotated[Session, Depends(current_session)]
Own = Annotated[OwnCase, Depends(own_case)]


def give_cookie(response: Response, token: str, settings: Settings) -> None:
    """Put the capability into the browser, out of reach of scripts and other sites."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(settings.platform.session_hours * 3600),
        path="/",
        secure=_secure(settings),
        httponly=True,
        samesite="strict",
    )


def take_cookie(response: Response, settings: Settings) -> None:
    """Remove the capability from the browser."""
    response.delete_cookie(COOKIE, path="/", secure=_secure(settings), httponly=True, samesite="strict")


def _secure(settings: Settings) -> bool:
    return not settings.platform.loopback or settings.platform.public_url.startswith("https:")
