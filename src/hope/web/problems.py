"""How routes declare their problems in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from hope import DISCLAIMER
from hope.web.errors import MEDIA_TYPE
from hope.web.schemas import Problem

_WORDS = {
    400: "the call is malformed",
    401: "no session, or it has ended",
    403: "the call comes from another site",
    404: "no such session, case or file: unknown, deleted, or another session's",
    408: "the header or the body came too slowly",
    409: "it does not fit the case's state",
    412: "what was to be replaced is not there any more",
    413: "too large, or too many",
    414: "the query is too long",
    415: "another kind of file",
    421: "not a name of this server",
    422: "the input is wrong, and the user can mend it",
    429: "too many calls; Retry-After says when",
    431: "the headers are too long",
    500: "the server's fault",
    502: "the archive does not answer, or refuses",
    503: "a part of the server does not answer",
    507: "the server has no room",
}

EVERYWHERE = (400, 403, 408, 413, 414, 421, 429, 431, 500, 503, 507)
"""What any call may meet before or after its route."""

BODY = (400, 413, 422)
SESSION = (401, 404)
UPLOAD = (400, 401, 404, 408, 409, 413, 415, 422, 507)

Responses = dict[int | str, dict[str, Any]]

_DESCRIPTION = (
    "Paediatric brain tumour segmentation from raw MRI. Open a session, create a case, upload scans, run it, follow "
    f"its events, download what comes out, delete it all. Errors are RFC 9457 problems. {DISCLAIMER}"
)


UNLIMITED = (414, 429, 431)
"""What a probe of an orchestrator never meets."""


def problems(*statuses: int, probe: bool = False) -> Responses:
    """The ``responses`` of a route that may answer with these problems.

    Args:
        statuses: besides `EVERYWHERE`.
        probe: whether it is a probe, which is never limited.
    """
    wanted = sorted({*statuses, *EVERYWHERE} - {*(UNLIMITED if probe else ())})
    return {status: {"description": _WORDS[status], "content": {MEDIA_TYPE: {"schema": _REF}}} for status in wanted}


_REF = {"$ref": "#/components/schemas/Problem"}


def binary(description: str, media_type: str = "application/octet-stream") -> dict[str, Any]:
    """An OpenAPI content of bytes; of any type (``*/*``) without a schema, which JSON among them would not fit."""
    schema = {} if media_type == "*/*" else {"schema": {"type": "string", "format": "binary"}}
    return {"description": description, "content": {media_type: schema}}


def body_of_bytes(description: str, *media_types: str) -> dict[str, Any]:
    """``openapi_extra`` of a route whose body is streamed and never parsed."""
    schema = {"schema": {"type": "string", "format": "binary"}}
    content = dict.fromkeys(media_types or ("application/octet-stream",), schema)
    return {"requestBody": {"description": description, "required": True, "content": content}}


def install_openapi(app: FastAPI) -> None:
    """Let /openapi.json say what is really answered: problems as problem+json, and none of FastAPI's own errors."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title="HOPE", version=app.version, description=_DESCRIPTION, routes=app.routes)
            components = schema.setdefault("components", {})
            models = components.setdefault("schemas", {})
            for name in ("HTTPValidationError", "ValidationError"):
                models.pop(name, None)
            models["Problem"] = Problem.model_json_schema()
            components["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer", "description": "the token of POST /api/session"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "hope_session"},
            }
            for path, operations in schema["paths"].items():
                for operation in operations.values():
                    _complete(operation, path)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _complete(operation: dict[str, Any], path: str) -> None:
    responses = operation["responses"]
    if MEDIA_TYPE not in responses.get("422", {}).get("content", {}):
        responses.pop("422", None)  # FastAPI's own, which is never sent
        if operation.get("parameters") or "requestBody" in operation:
            responses["422"] = problems(422)[422]
    if "401" in responses and path != "/api/session":
        operation["security"] = [{"bearer": []}, {"cookie": []}]
