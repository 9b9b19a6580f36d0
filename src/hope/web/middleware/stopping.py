"""Requests that are in work when the server has to stop: told so, instead of failing."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from hope.web.errors import Sending, problem

RETRY_SECONDS = 5
"""Another gateway answers at once; one that starts anew needs about this long."""


class Stopping:
    """Pure ASGI middleware: a request that is cancelled because the server stops is answered with 503.

    The server waits a few seconds for requests in work, then cancels them. What they were storing is taken back by
    then, as it is when a sender hangs up. An answer that has begun is cut off.
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
        except asyncio.CancelledError:
            if sending.begun:
                raise
            headers = {"Retry-After": str(RETRY_SECONDS), "Connection": "close"}
            refusal = problem(503, "stopping", "the server is stopping; send the request again", headers=headers)
            await refusal(scope, receive, send)


def install_stopping(app: FastAPI) -> None:
    """Answer what is cancelled. Install it after everything that reads a request's body."""
    app.add_middleware(Stopping)
