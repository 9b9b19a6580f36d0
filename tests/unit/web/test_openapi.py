"""The OpenAPI document is the documentation: it is complete, and schemathesis finds nothing that it does not say."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from tests.unit.web.fakes import Gateway, make_gateway
from tests.unit.web.test_api import done_case, new_case
from tools.make_contract import page_types

EXAMPLES = int(os.environ.get("HOPE_SCHEMATHESIS_EXAMPLES", "12"))
PROBLEM = "application/problem+json"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]


_CASE = "/api/cases/{case_id}"
OPERATIONS = [
    ("POST", "/api/session"),
    ("GET", "/api/session"),
    ("PATCH", "/api/session"),
    ("DELETE", "/api/session"),
    ("POST", "/api/session/leave"),
    ("GET", "/api/session/cases.csv"),
    ("GET", "/api/session/results.zip"),
    ("POST", "/api/cases"),
    ("GET", "/api/cases"),
    ("GET", _CASE),
    ("PATCH", _CASE),
    ("DELETE", _CASE),
    ("PUT", f"{_CASE}/series/{{sequence}}"),
    ("GET", f"{_CASE}/series/{{key}}"),
    ("PUT", f"{_CASE}/dicom"),
    ("POST", f"{_CASE}/sample"),
    ("DELETE", f"{_CASE}/series/{{key}}"),
    ("GET", f"{_CASE}/checks"),
    ("PUT", f"{_CASE}/assignments"),
    ("POST", f"{_CASE}/run"),
    ("POST", f"{_CASE}/cancel"),
    ("GET", f"{_CASE}/events"),
    ("GET", f"{_CASE}/files"),
    ("GET", f"{_CASE}/files/{{name}}"),
    ("HEAD", f"{_CASE}/files/{{name}}"),
    ("PUT", f"{_CASE}/segmentation"),
    ("POST", f"{_CASE}/dicom-objects"),
    ("POST", f"{_CASE}/comparison"),
    ("POST", f"{_CASE}/comparison/upload"),
    ("POST", f"{_CASE}/archive"),
    ("POST", "/api/archive/studies"),
    ("GET", f"{_CASE}/segmentations"),
    ("GET", f"{_CASE}/diagnostics"),
    ("GET", "/api/models"),
    ("GET", "/api/vocabulary"),
    ("GET", "/api/whoami"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
]
"""The whole interface. What is in it is checked from outside by others too."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A gateway for all examples; each example has a session and a finished case of its own where it needs one."""
    gateway = make_gateway(
        tmp_path_factory.mktemp("openapi"), max_upload_mb=4, max_unpacked_mb=16, max_session_files=50
    )
    yield gateway
    gateway.store.close()


@pytest.fixture(scope="module")
def api(running: Gateway) -> Any:
    """The document as schemathesis reads it."""
    return schemathesis.openapi.from_asgi("/openapi.json", running.app, headers={"Host": "127.0.0.1"})


class Holder:
    """A session with a finished case, made anew when an example has ended it."""

    def __init__(self) -> None:
        self.token, self.case_id = "", ""

    def renew(self, gateway: Gateway, finished: bool) -> None:
        """See to it that session and case are there; what is deleted at once need not be finished."""
        asyncio.run(self._renew(gateway, finished))

    async def _renew(self, gateway: Gateway, finished: bool) -> None:
        async with gateway.client(self.token or "none") as client:
            there = await client.get(f"/api/cases/{self.case_id or 'none'}")
            if there.status_code == 200 and (there.json()["run"] or not finished):
                return
        async with gateway.client() as client:
            self.token = (await client.post("/api/session")).json()["token"]
            self.case_id = await done_case(gateway, client) if finished else await new_case(client)


HOLDER = Holder()
TURN = count()
INPUTS = {"parameters", "requestBody"}


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=str)
def test_nothing_breaks_and_nothing_is_undocumented(
    api: Any, running: Gateway, method: str, path: str, mode: GenerationMode
) -> None:
    """Calls that fit the document, and calls that do not."""

    @given(case=api[path][method].as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def check(case: Any) -> None:
        HOLDER.renew(running, finished=method != "DELETE")
        _aim(case)
        headers = {"Authorization": f"Bearer {HOLDER.token}", "Host": "127.0.0.1"}
        case.call_and_validate(headers=headers, checks=CHECKS)

    try:
        check()
    except Unsatisfiable:
        # What takes no input cannot be called wrongly.
        assert mode is GenerationMode.NEGATIVE and not INPUTS.intersection(api[path][method].definition.raw)


def _aim(case: Any) -> None:
    """Let every second example name things that exist, so that it gets past the door."""
    parameters = case.path_parameters or {}
    if "case_id" in parameters and next(TURN) % 2:
        known = {"case_id": HOLDER.case_id, "name": "result.json", "key": "t1c"}
        parameters.update({name: value for name, value in known.items() if name in parameters})
    if case.path.endswith("/events"):
        case.query = {**(case.query or {}), "follow": "false"}  # the stream would last an hour


def operations(gateway: Gateway) -> list[tuple[str, str, dict[str, Any]]]:
    paths = gateway.app.openapi()["paths"]
    return [(m, path, operation) for path, methods in paths.items() for m, operation in methods.items()]


def test_every_operation_is_described(running: Gateway) -> None:
    names = [operation["operationId"] for _, _, operation in operations(running)]
    assert len(names) == len(set(names)) >= 28
    for method, path, operation in operations(running):
        assert operation.get("description"), (method, path)
        for status, answer in operation["responses"].items():
            assert answer["description"], (method, path, status)
            if int(status) >= 400:
                assert list(answer["content"]) == [PROBLEM], (method, path, status)
    assert "HTTPValidationError" not in running.app.openapi()["components"]["schemas"]


def test_the_contract_of_design_is_there(running: Gateway) -> None:
    """The stable part of the REST interface, checked from outside by others too."""
    there = {(method.upper(), path) for method, path, _ in operations(running)}
    assert there == set(OPERATIONS)


def test_the_pages_types_are_those_of_the_document(running: Gateway, repository: Path) -> None:
    written = (repository / "viewer/src/api/schema.ts").read_text(encoding="utf-8")
    assert written == page_types(running.app.openapi()), "run `make docs`"


def test_no_answer_is_open(running: Gateway) -> None:
    """What the page reads is said in full; facts that models and methods add are the exception."""
    schemas = running.app.openapi()["components"]["schemas"]
    may_grow = {
        "ExpectedQualityFacts",
        "Flag",
        "Harmonization",
        "ModelFacts",
        "Postprocess",
        "Problem",
        "RegionQualityFacts",
        "SequenceHarmonization",
        "VolumeMl",
    }
    with_fields = {name for name, schema in schemas.items() if "properties" in schema}
    closed = {name for name in with_fields if schemas[name].get("additionalProperties") is False}
    assert {"WhoAmIOut", "ModelOut", "FileOut", "CaseOut"} <= closed
    assert with_fields - closed == may_grow


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "(string | null)[]"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "Record<string, number>"),
        ({"$ref": "#/components/schemas/Stage"}, "Stage"),
        ({"enum": ["a", 1]}, "'a' | 1"),
        ({}, "unknown"),
    ],
)
def test_types_of_the_page(schema: dict[str, Any], said: str) -> None:
    document = {"components": {"schemas": {"X": {"properties": {"x": schema}, "required": ["x"]}}}}
    assert f"  x: {said}\n" in page_types(document)


def test_a_schema_without_a_known_type_is_no_type() -> None:
    with pytest.raises(ValueError, match="no type is known"):
        page_types({"components": {"schemas": {"X": {"type": "tuple"}}}})


def test_no_page_of_third_parties_is_served(running: Gateway) -> None:
    async def ask() -> list[httpx.Response]:
        async with running.client() as client:
            return [await client.get(path) for path in ("/docs", "/redoc", "/docs/oauth2-redirect")]

    assert {answer.status_code for answer in asyncio.run(ask())} == {404}


def test_the_gateway_starts_without_heavy_libraries(repository: Path) -> None:
    program = (
        "import sys, hope.web.app\n"
        "loaded = sorted({'torch', 'SimpleITK', 'deepbet', 'nilearn', 'dbos', 'boto3'} & set(sys.modules))\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
