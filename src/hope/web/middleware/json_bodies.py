"""JSON bodies are read here, strictly, before a framework reads them less strictly."""

from __future__ import annotations

import re
from typing import Final

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hope.web import strict_json
from hope.web.errors import problem

_JSON: Final = "application/json"
_WITH_BODY: Final = ("POST", "PUT", "PATCH")
_UPLOAD: Final = re.compile(r"/api/cases/[^/]+/(?:series/[^/]+|dicom|segmentation)/?")


class JsonBodies:
    """Pure ASGI middleware; answers 400 to a body that calls itself JSON and is not what `strict_json` takes.

    It stands inside of `hope.web.middleware.limits`, which limits the length of such bodies. Uploads pass untouched,
    whatever they call themselves.

    Args:
        app: what it protects.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        if scope["type"] != "http" or not _has_json(scope):
            await self._app(scope, receive, send)
            return
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            return  # nobody is there to be answered
        try:
            if body:
                strict_json.loads(body)
        except ValueError as error:
            await problem(400, "json", f"the body is not JSON that this server takes: {error}")(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)


def is_upload(scope: Scope) -> bool:
    """Whether a call's body is streamed to a file by its route."""
    return bool(scope["method"] == "PUT" and _UPLOAD.fullmatch(scope["path"]))


def _has_json(scope: Scope) -> bool:
    if scope["method"] not in _WITH_BODY or is_upload(scope):
        return False
    kind = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
    return kind == _JSON or kind.endswith("+json")


def install_json_bodies(app: FastAPI) -> None:
    """Check the bodies of what was installed before."""
    app.add_middleware(JsonBodies)
