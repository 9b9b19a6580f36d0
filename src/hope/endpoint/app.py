"""The two addresses that SageMaker knows: GET /ping and POST /invocations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hope.endpoint.invocation import Invocations
from hope.endpoint.payload import MOST_BYTES
from hope.endpoint.problems import Problem
from hope.endpoint.readiness import READY, Readiness, kept

INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"
AGAIN_SECONDS = 10
"""What Retry-After says where a later call may succeed."""

_MEDIA_TYPE = "application/problem+json"


def create_app(invocations: Invocations, readiness: Readiness) -> Starlette:
    """The application; the self-test runs from its start to its end.

    Args:
        invocations: does the work.
        readiness: says whether it can be done.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        invocations.failed = readiness.recheck
        async with kept(readiness):
            yield

    async def ping(request: Request) -> Response:
        ready = readiness.state == READY and not invocations.closed
        return JSONResponse({"state": "closing" if invocations.closed else readiness.state}, 200 if ready else 503)

    async def invoke(request: Request) -> Response:
        raw = b""
        try:
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > MOST_BYTES:
                    return _problem(Problem(413, "too-large", f"the body is larger than {MOST_BYTES // 2**20} MiB"))
        except ClientDisconnect:
            return _problem(Problem(400, "cut-off", "the connection ended before the body did"))
        if readiness.state != READY:
            return _problem(Problem(503, "not-ready", f"the endpoint is {readiness.state}; call again"))
        result = await invocations.invoke(raw, request.headers.get(INFERENCE_ID, ""))
        return _problem(result) if isinstance(result, Problem) else JSONResponse(result)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - the registration below says so
        words = {404: "only /ping and /invocations are here", 405: "GET /ping and POST /invocations are all there is"}
        return _problem(Problem(error.status_code, "http", words.get(error.status_code, str(error.detail))))

    async def on_error(request: Request, error: Exception) -> Response:
        return _problem(Problem(500, "internal", "the endpoint failed; nothing is wrong with the call"))

    return Starlette(
        routes=[Route("/ping", ping, methods=["GET"]), Route("/invocations", invoke, methods=["POST"])],
        exception_handlers={HTTPException: on_http, Exception: on_error},
        lifespan=lifespan,
    )


def _problem(problem: Problem) -> Response:
    headers = {"Retry-After": str(AGAIN_SECONDS)} if problem.again else None
    return JSONResponse(problem.to_json(), problem.status, headers=headers, media_type=_MEDIA_TYPE)
