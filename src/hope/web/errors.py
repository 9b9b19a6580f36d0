"""Exceptions -> RFC 9457 problems: one table, one sentence each, never a traceback."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hope.contract.job import ConflictError, DamagedError, FencedError, GoneError
from hope.contract.scans import BusyError, ChangedError, QuotaError
from hope.domain.errors import BundleError, HopeError, InputError, OutputError, StageError
from hope.formats.atomic import FULL, output_error
from hope.formats.nifti_clean import TooLargeError, WrongTypeError
from hope.web.middleware.logs import METHODS, error_facts

log = logging.getLogger("hope.web")

MEDIA_TYPE = "application/problem+json"

GONE = "there is no such session or case, or it has been deleted"
"""The same words whether an id is unknown, deleted or another session's: the answer must not tell which."""

_TABLE: tuple[tuple[type[HopeError], int, str], ...] = (
    (GoneError, 404, "gone"),
    (ConflictError, 409, "conflict"),
    (ChangedError, 412, "changed"),
    (FencedError, 409, "conflict"),
    (BusyError, 429, "busy"),
    (QuotaError, 413, "too-large"),
    (TooLargeError, 413, "too-large"),
    (WrongTypeError, 415, "wrong-type"),
    (InputError, 422, "input"),
    (OutputError, 507, "storage"),
    (BundleError, 500, "model"),
    (DamagedError, 500, "damaged"),
    (StageError, 500, "stage"),
    (HopeError, 500, "internal"),
)
_AWAY = "the platform's database or file store does not answer; nothing is wrong with your call; try again in a moment"
_AWAY_SECONDS = 5
_OURS = "the server failed while it answered; nothing is wrong with your call; try again, or tell whoever runs it"


class ProblemError(Exception):
    """An answer that belongs to HTTP alone, such as 401; what the domain refuses is a HopeError.

    Args:
        status: HTTP status.
        name: last part of the problem's type.
        detail: one sentence.
        headers: extra response headers.
    """

    def __init__(self, status: int, name: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.name, self.detail, self.headers = status, name, detail, dict(headers or {})


def problem(
    status: int,
    name: str,
    detail: str,
    parts: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An RFC 9457 answer.

    Args:
        status: HTTP status.
        name: last part of the type URI; empty for ``about:blank``.
        detail: one sentence.
        parts: what, expected, got, fix; empty ones are left out.
        headers: extra response headers.
    """
    content: dict[str, Any] = {
        "type": f"/problems/{name}" if name else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _printable(detail),
        **{key: _printable(value) for key, value in (parts or {}).items() if value},
    }
    return JSONResponse(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def of_domain(error: HopeError) -> JSONResponse:
    """The answer to what the domain refused."""
    status, name = next((status, name) for kind, status, name in _TABLE if isinstance(error, kind))
    if isinstance(error, InputError):
        parts = {key: " ".join(str(getattr(error, key)).split()) for key in ("what", "expected", "got", "fix")}
        return problem(status, name, error.message(), parts)
    if status >= 500:
        log_failure("a request failed", error)
    later = {"Retry-After": str(_AWAY_SECONDS)} if status == 429 else {}
    return problem(status, name, GONE if isinstance(error, GoneError) else str(error) or _OURS, headers=later)


def install_errors(app: FastAPI) -> None:
    """Answer every exception with a problem."""

    async def on_domain(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HopeError)  # noqa: S101 - the registration below says so
        return of_domain(error)

    async def on_away(request: Request, error: Exception) -> JSONResponse:
        # Not the error's own words: they name hosts.
        log_failure("a store does not answer", error)
        return problem(503, "away", _AWAY, headers={"Retry-After": str(_AWAY_SECONDS)})

    async def on_os_error(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, OSError) and error.errno in FULL:
            return of_domain(output_error("what the call needs", error))
        raise error

    async def on_problem(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ProblemError)  # noqa: S101
        return problem(error.status, error.name, error.detail, headers=error.headers)

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, StarletteHTTPException)  # noqa: S101
        detail = _HTTP_DETAILS.get(error.status_code) or str(error.detail)
        headers = {"Allow": ", ".join(_methods(request))} if error.status_code == 405 else error.headers
        return problem(error.status_code, "", detail, headers=headers)

    async def on_invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return _invalid(error)

    async def on_disconnect(request: Request, error: Exception) -> JSONResponse:
        # Nobody hears it, but logs and metrics then count a 400 instead of a failure of ours.
        return problem(400, "cut-off", "the connection ended before the upload did")

    app.add_exception_handler(HopeError, on_domain)
    app.add_exception_handler(ConnectionError, on_away)
    app.add_exception_handler(OSError, on_os_error)
    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(StarletteHTTPException, on_http)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(ClientDisconnect, on_disconnect)


def _methods(request: Request) -> list[str]:
    """The methods that the request's path takes, over all routes; the framework names those of one route."""
    asked = {name: request.scope[name] for name in ("type", "path", "root_path", "headers")}

    def takes(method: str) -> bool:
        scope = {**asked, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in METHODS if takes(method)]


_HTTP_DETAILS = {
    404: "there is nothing at this address",
    405: "this address does not take that method",
}


def _invalid(error: RequestValidationError) -> JSONResponse:
    """Word the first thing that is wrong with a call's parameters or JSON body."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return problem(400, "json", "the body is not valid JSON")
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path")) or "the body"
    what = f"{_printable(place)[:80]} is not usable"
    expected = str(first["msg"])[:200]
    expected = expected[:1].lower() + expected[1:]
    return problem(422, "input", f"{what} ({expected})", {"what": what, "expected": expected})


class Sending:
    """Passes messages on and remembers whether the response has begun, after which no other can be sent.

    Attributes:
        begun: whether it has.
    """

    def __init__(self, send: Send) -> None:
        self._send, self.begun = send, False

    async def __call__(self, message: Message) -> None:
        """Send a message."""
        self.begun = self.begun or message["type"] == "http.response.start"
        await self._send(message)


class UnexpectedErrors:
    """Innermost middleware: what nobody foresaw becomes a 500 problem, or cuts the connection if an answer has begun.

    The log tells the exception's types and places, not its text, which may hold ids or names.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass HTTP on; see the class."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sending = Sending(send)
        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            log_failure("an answer was cut off" if sending.begun else "unexpected error", error)
            if not sending.begun:
                await problem(500, "internal", _OURS)(scope, receive, send)
            # An answer that has begun stays incomplete: the server closes the connection, and the client knows.


def log_failure(event: str, error: BaseException) -> None:
    """Log that something failed: the error's types and places in code, without its text."""
    kinds, places = error_facts(error)
    log.error(event, extra={"error": kinds, "where": places})


def _printable(text: str) -> str:
    """The text in one line, with what UTF-8 cannot carry replaced."""
    return " ".join(text.encode("utf-8", "replace").decode().split())
