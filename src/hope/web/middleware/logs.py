"""Logs without identity: JSON lines on stderr that name routes, never ids, file names, queries, bodies or addresses.

Every request gets a random id; it is answered as ``X-Request-Id`` and stands in every line that the request caused, so
that a user's complaint leads to the lines without anybody's data in them.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import secrets
import sys
import time
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hope.web.middleware.repeated_lines import CountingHandler

log = logging.getLogger("hope.web.requests")

REQUEST_ID: ContextVar[str] = ContextVar("hope_request_id", default="")
UNKNOWN_ROUTE: Final = "(none)"
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
QUIET_ROUTES: Final = frozenset({"/healthz", "/readyz", "/metrics"})

_FACTS: Final = (
    "route",
    "method",
    "status",
    "ms",
    "error",
    "where",
    "stage",
    "run",
    "attempt",
    "count",
    "bytes",
    "repeated",
)
"""What a record may carry in ``extra``; everything else that libraries attach stays out."""

_FRAMES: Final = 12
_REDACTIONS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), mark)
    for pattern, mark in (
        (r"://[^/\s@]*@", "://(secret)@"),
        (r"\?[^\s\"'<>]+", "?(query)"),
        (r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+", "(e-mail)"),
        (r"\bBearer\s+\S+", "Bearer (secret)"),
        (r"(?<![\w-])[\w-]{40,}(?![\w-])", "(secret)"),
        (r"(?<![a-z0-9])[0-9a-hjkmnp-tv-z]{26}(?![a-z0-9])", "(id)"),
        (r"\bcase-[0-9a-z]{8}\b", "case-(id)"),
        (r"[^\s\"'/\\=:(,]+\.(?:nii|dcm|zip|mz3|ima|mgz|hdr|img)(?:\.gz)?\b", "(file)"),
        (r"(?<![\d.])(?!127\.|0\.0\.0\.0)\d{1,3}(?:\.\d{1,3}){3}(?![\d.])", "(address)"),
    )
)
_MAY_BE_IPV6: Final = re.compile(r"(?<![0-9a-f:])[0-9a-f]{0,4}:[0-9a-f:.]*[0-9a-f:]", re.IGNORECASE)


def redacted(text: str) -> str:
    """The text without what could name a case, a person, a secret, a file or a client."""
    for pattern, mark in _REDACTIONS:
        text = pattern.sub(mark, text)
    return _MAY_BE_IPV6.sub(_without_ipv6, text)


def _without_ipv6(found: re.Match[str]) -> str:
    """The mark for an address of another machine; a time of day and this machine's own address stay."""
    for candidate in (found.group(), found.group().strip(":")):
        try:
            address = ipaddress.IPv6Address(candidate)
        except ValueError:
            continue
        return found.group() if address.is_loopback or address.is_unspecified else "(address)"
    return found.group()


class JsonLines(logging.Formatter):
    """One JSON object per record: time, level, event, logger, request id, and the facts that are allowed.

    Of an exception it writes the types and the places in code. Its message may hold a path or a parameter of a query.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": redacted(_message(record)),
            "logger": record.name,
        }
        request_id = REQUEST_ID.get()
        if request_id and not hasattr(record, "repeated"):
            line["request_id"] = request_id
        for name in _FACTS:
            value = getattr(record, name, None)
            if value is not None:
                line[name] = redacted(value) if isinstance(value, str) else _plain(value)
        if record.exc_info and record.exc_info[1] is not None:
            line["error"], line["where"] = error_facts(record.exc_info[1])
        return json.dumps(line, ensure_ascii=True)


def error_facts(error: BaseException) -> tuple[str, str]:
    """Type names of an exception and of those it came from, and its places in code; no message, no values."""
    kinds: list[str] = []
    link: BaseException | None = error
    while link is not None and len(kinds) < 5:
        kinds.append(type(link).__name__)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return " < ".join(kinds), " ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames)


def configure_logging(level: str = "info") -> None:
    """Send every logger's records to stderr as JSON lines; what repeats is counted.

    Call it before uvicorn and DBOS start, and start uvicorn with ``log_config=None``; calling it again is fine.

    Args:
        level: debug, info, warning or error.
    """
    handler = CountingHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # A level that a library, or an earlier configuration, has set would hide lines that the operator asked for.
    for name in list(logging.Logger.manager.loggerDict):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate, logger.disabled = [], True, False
        logger.setLevel(logging.NOTSET)
    # Every start would tell of plugins and transactions.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # DBOS adds a console handler of its own unless its logger has one.
    engine = logging.getLogger("dbos")
    engine.handlers, engine.propagate = [handler], False
    # It tells at every start which of its own parts it has.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    # These write whole addresses, paths and queries.
    for name in ("uvicorn.access", "httpx", "httpcore", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # These would write sign-in secrets at debug level.
    logging.getLogger("authlib").setLevel(max(logging.INFO, root.level))
    logging.captureWarnings(True)


def route_template(scope: Scope) -> str:
    """The matched route as it was declared, such as ``/api/cases/{case_id}``; valid after the app has answered."""
    included = scope.get("fastapi", {}).get("effective_route_context")
    for route in (included, scope.get("route")):
        path = getattr(route, "path_format", None) or getattr(route, "path", None)
        if path:
            return str(path)
    return UNKNOWN_ROUTE


class RequestLog:
    """Pure ASGI middleware: gives each request its id and logs one line when the answer is complete."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass HTTP on; see the class."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        mark = REQUEST_ID.set(request_id)
        begun, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        error: BaseException | None = None
        try:
            await self._app(scope, receive, sending)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._log(scope, status, time.perf_counter() - begun, error)
            REQUEST_ID.reset(mark)

    def _log(self, scope: Scope, status: int, seconds: float, error: BaseException | None) -> None:
        route = route_template(scope)
        facts: dict[str, Any] = {
            "route": route,
            "method": method_of(scope),
            "status": status,
            "ms": round(seconds * 1000, 1),
        }
        failed = isinstance(error, Exception)
        if isinstance(error, Exception):
            facts["error"], facts["where"] = error_facts(error)
        quiet = route in QUIET_ROUTES and status < 400 and not failed
        level = logging.ERROR if failed or status >= 500 else logging.DEBUG if quiet else logging.INFO
        log.log(level, "request", extra=facts)


def method_of(scope: Mapping[str, Any]) -> str:
    """The request's method; ``other`` for one that nobody knows, so that clients cannot invent labels."""
    method = str(scope.get("method", ""))
    return method if method in METHODS else "other"


def install_logs(app: FastAPI) -> None:
    """Log requests. Install it last, so that it stands outside of everything else."""
    app.add_middleware(RequestLog)


def _message(record: logging.LogRecord) -> str:
    """The record's text in one line; a record with wrong arguments must not stop the program."""
    try:
        text = record.getMessage()
    except (TypeError, ValueError, KeyError):
        text = str(record.msg)
    return " ".join(text.split())


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float) else redacted(str(value))
