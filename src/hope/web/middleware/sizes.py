"""How long a query, the headers and a JSON body may be."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Message, Receive, Scope

from hope.web.errors import problem
from hope.web.middleware.json_bodies import is_upload

LONGEST_JSON_BODY: Final = 64 * 1024
LONGEST_QUERY: Final = 8 * 1024
LONGEST_HEADERS: Final = 32 * 1024
"""Names and values of all headers, cookies among them. h11 limits only those that come in pieces."""


def too_long(scope: Scope) -> Response | None:
    """The answer to a call whose query or headers are longer than any that this server needs; None if they are not."""
    close = {"Connection": "close"}
    if len(scope["query_string"]) > LONGEST_QUERY:
        return problem(414, "too-long", f"the query is longer than {LONGEST_QUERY // 1024} KiB", headers=close)
    if sum(len(name) + len(value) for name, value in scope["headers"]) > LONGEST_HEADERS:
        return problem(431, "too-long", f"the headers are longer than {LONGEST_HEADERS // 1024} KiB", headers=close)
    return None


async def capped(scope: Scope, headers: Headers, receive: Receive) -> Receive | None:
    """A ``receive`` for the app; None if the body is too long. Uploads pass: their routes count while they stream.

    A body that says its length is held to it by the server; one that does not is read here, as far as it may be long.
    """
    if is_upload(scope):
        return receive
    length = headers.get("content-length", "")
    if length:
        return receive if length.isdecimal() and int(length) <= LONGEST_JSON_BODY else None
    if "transfer-encoding" not in headers:
        return receive
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LONGEST_JSON_BODY:
            return None
        more = message.get("more_body", False)
    whole: list[Message] = [{"type": "http.request", "body": b"".join(parts), "more_body": False}]

    async def replay() -> Message:
        return whole.pop() if whole else await receive()

    return replay
