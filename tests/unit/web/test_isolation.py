"""Two sessions never see one another: every route of the interface, tried with the other's ids, answers 404."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from tests.unit.web.fakes import Gateway, nifti

from hope.contract.job import CaseState
from hope.domain.ids import new_id
from hope.web.middleware import limits

pytestmark = pytest.mark.anyio

JSON_BODIES = {
    "run_case": {},
    "assign_series": {"t1n": "t1c"},
    "change_case": {"label": "mine"},
    "pull_study": {"study_uid": "1.2"},
    "compare_cases": {"earlier": "{case_id}"},
}
"""What is sent; ``{case_id}`` stands for the case that the path names."""


def operations(gateway: Gateway) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every operation that names a case."""
    for path, methods in gateway.app.openapi()["paths"].items():
        for method, operation in methods.items():
            if "{case_id}" in path:
                yield method.upper(), path, operation


def paths_of(template: str, case_id: str) -> list[str]:
    """The template with the case, and for other parameters values that exist in it."""
    path = template.replace("{case_id}", case_id)
    return [
        path.replace("{sequence}", "t1c").replace("{key}", "t1c").replace("{name}", name)
        for name in ("result.json", "preview.png")
    ]


@pytest.fixture
async def two(gateway: Gateway) -> AsyncIterator[tuple[httpx.AsyncClient, str, str]]:
    """A stranger's client, and another session's finished case and its new one."""
    async with gateway.client() as client:
        tokens = [(await client.post("/api/session")).json()["token"] for _ in range(2)]
    async with gateway.client(tokens[0]) as owner, gateway.client(tokens[1]) as stranger:
        done, new = [(await owner.post("/api/cases")).json()["id"] for _ in range(2)]
        await owner.post(f"/api/cases/{done}/sample")
        await owner.post(f"/api/cases/{done}/run")
        gateway.finish(gateway.store.case(done))
        await owner.put(f"/api/cases/{new}/series/t1c", content=nifti())
        # The stranger's own session works, and has a case of its own.
        assert (await stranger.post("/api/cases")).status_code == 201
        yield stranger, done, new


async def ask(client: httpx.AsyncClient, method: str, path: str, operation: dict[str, Any]) -> httpx.Response:
    body = operation.get("requestBody", {}).get("content", {})
    if "application/json" in body:
        sent = json.dumps(JSON_BODIES[operation["operationId"]]).replace("{case_id}", path.split("/")[3])
        return await client.request(method, path, json=json.loads(sent))
    return await client.request(method, path, content=nifti() if body else None)


async def test_another_sessions_case_does_not_exist(gateway: Gateway, two: tuple[httpx.AsyncClient, str, str]) -> None:
    stranger, done, new = two
    before = (gateway.store.case(done), gateway.store.case(new), gateway.blob_files(), gateway.store.audit())
    tried = set()
    for method, template, operation in operations(gateway):
        for case_id in (done, new):
            for path, unknown in zip(paths_of(template, case_id), paths_of(template, new_id()), strict=True):
                answer = await ask(stranger, method, path, operation)
                other = await ask(stranger, method, unknown, operation)
                assert answer.status_code == other.status_code == 404, (method, template, answer.text)
                # Nothing tells an unknown id from another session's.
                assert answer.content == other.content
                drop = {"x-request-id"}
                assert {k: v for k, v in answer.headers.items() if k not in drop} == {
                    k: v for k, v in other.headers.items() if k not in drop
                }
                tried.add((method, template))
    assert len(tried) >= 16
    assert before == (gateway.store.case(done), gateway.store.case(new), gateway.blob_files(), gateway.store.audit())
    assert gateway.store.case(new).state is CaseState.NEW and gateway.queue.cancelled == []


async def test_the_owner_does_see_them(gateway: Gateway) -> None:
    """The same calls by the owner are not 404: so the test above can fail."""
    async with gateway.client() as client:
        token = (await client.post("/api/session")).json()["token"]
    async with gateway.client(token) as owner:
        case_id = (await owner.post("/api/cases")).json()["id"]
        await owner.post(f"/api/cases/{case_id}/sample")
        await owner.post(f"/api/cases/{case_id}/run")
        gateway.finish(gateway.store.case(case_id))
        last = [("DELETE", "/api/cases/{case_id}"), ("POST", "/api/cases/{case_id}/run")]
        last += [("DELETE", "/api/cases/{case_id}/series/{key}")]  # what others look at is still there
        for method, template, operation in sorted(operations(gateway), key=lambda o: (o[0], o[1]) in last):
            path = paths_of(template, case_id)[0] + ("?follow=false" if template.endswith("/events") else "")
            answer = await ask(owner, method, path, operation)
            if (method, template) in last[1:]:
                assert answer.status_code in (200, 202, 404)  # deleted just before
            else:
                assert answer.status_code != 404, (method, template, answer.text)


async def test_lists_hold_only_ones_own(gateway: Gateway, two: tuple[httpx.AsyncClient, str, str]) -> None:
    stranger, done, new = two
    text = (await stranger.get("/api/cases")).text + (await stranger.get("/api/session")).text
    assert done not in text and new not in text


@pytest.mark.parametrize("case_id", ["x", "%00", "..", "%2e%2e", "A" * 26, "l" * 26, "0" * 4000, "%ff", "'; DROP"])
async def test_odd_ids_do_not_exist_either(
    gateway: Gateway, two: tuple[httpx.AsyncClient, str, str], case_id: str
) -> None:
    stranger, _, _ = two
    answer = await stranger.get(f"/api/cases/{case_id}/files")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_dead_session_sees_nothing(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FAILURES_PER_MINUTE", 1000)  # there are more operations than failures allowed
    async with gateway.client() as client:
        token = (await client.post("/api/session")).json()["token"]
        case_id = (await client.post("/api/cases")).json()["id"]
        await client.delete("/api/session")
    async with gateway.client(token) as client:
        for method, template, operation in operations(gateway):
            answer = await ask(client, method, paths_of(template, case_id)[0], operation)
            assert answer.status_code == 401, (method, template)
