"""Figures for Prometheus: by route template, without ids, and only for those who may see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import StreamingResponse
from tests.unit.web.settings_for import EVERYWHERE, settings_for

from hope.domain.ids import new_id
from hope.web.auth.api_tokens import append_line, new_api_token
from hope.web.auth.auth import Authenticator
from hope.web.errors import install_errors
from hope.web.middleware.metrics import Metrics, install_metrics


class Store:
    """Counts as a store does, or fails."""

    def __init__(self) -> None:
        self.figures = {"cases_new": 3, "cases_running": 2, "sessions": 4, "attempts_running": 1}
        self.broken = False
        self.asked = 0

    def counts(self) -> dict[str, int]:
        self.asked += 1
        if self.broken:
            raise OSError("cannot reach /secret/place")
        return self.figures


def app_of(store: Store, authenticator: Authenticator | None = None) -> FastAPI:
    app, router = FastAPI(), APIRouter(prefix="/cases")
    install_errors(app)

    @router.get("/{case_id}/files/{name}")
    def file(case_id: str, name: str) -> str:
        return "0123456789"

    @router.put("/{case_id}/dicom")
    async def upload(request: Request) -> dict[str, int]:
        return {"bytes": sum([len(chunk) async for chunk in request.stream()])}

    @router.get("/{case_id}/broken")
    def broken(case_id: str) -> None:
        raise RuntimeError(case_id)

    @router.get("/{case_id}/events")
    def events(case_id: str) -> StreamingResponse:
        return StreamingResponse(iter([b"data: 1\n\n"]), media_type="text/event-stream")

    app.include_router(router, prefix="/api")
    install_metrics(app, store, authenticator)
    return app


def client_of(app: FastAPI, peer: str = "127.0.0.1") -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1:8080", client=(peer, 5000), raise_server_exceptions=False)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples(answer.text)


def requests_of(figures: dict[Any, float], **labels: str) -> float:
    return figures.get(("hope_http_requests_total", tuple(sorted(labels.items()))), 0.0)


def test_requests_are_counted_by_route_template(tmp_path: Path) -> None:
    client = client_of(app_of(Store()))
    case_id = new_id()
    for name in ("a.nii.gz", "b.nii.gz"):
        client.get(f"/api/cases/{case_id}/files/{name}?q=secret")
    client.get(f"/nothing/{case_id}")
    client.post(f"/api/cases/{case_id}/files/a.nii.gz")
    client.get(f"/api/cases/{case_id}/broken")
    text = client.get("/metrics").text
    for secret in (case_id, "a.nii.gz", "b.nii.gz", "secret"):
        assert secret not in text
    figures = samples(text)
    route = "/api/cases/{case_id}/files/{name}"
    assert requests_of(figures, method="GET", route=route, status="200") == 2
    assert requests_of(figures, method="POST", route=route, status="405") == 1
    assert requests_of(figures, method="GET", route="(none)", status="404") == 1
    assert requests_of(figures, method="GET", route="/api/cases/{case_id}/broken", status="500") == 1
    assert figures["hope_http_request_seconds_count", (("method", "GET"), ("route", route))] == 2


def test_clients_cannot_invent_labels() -> None:
    client = client_of(app_of(Store()))
    for number in range(20):
        client.request(f"ODD{number}", f"/odd/{number}")
    figures = scrape(client)
    assert requests_of(figures, method="other", route="(none)", status="404") == 20
    assert len([name for name, _ in figures if name == "hope_http_requests_total"]) == 1


def test_bytes_in_and_out_are_counted() -> None:
    client = client_of(app_of(Store()))
    client.put("/api/cases/x/dicom", content=iter([b"x" * 40_000, b"x" * 60_000]))
    figures = scrape(client)
    assert figures["hope_received_bytes_total", ()] == 100_000
    assert figures["hope_sent_bytes_total", ()] == len('{"bytes":100000}')


def test_event_streams_are_counted_while_open_and_not_timed() -> None:
    async def go() -> tuple[float, float, float]:
        metrics, app = Metrics(Store()), FastAPI()
        step = asyncio.Event()

        @app.get("/events")
        async def events() -> StreamingResponse:
            async def body() -> AsyncIterator[bytes]:
                yield b"data: 1\n\n"
                await step.wait()

            return StreamingResponse(body(), media_type="text/event-stream")

        from hope.web.middleware.metrics import RequestMetrics

        begun = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                begun.set()

        scope = {"type": "http", "method": "GET", "path": "/events", "query_string": b"", "headers": []}
        listening = asyncio.create_task(RequestMetrics(app, metrics)({**scope}, receive, send))
        await asyncio.wait_for(begun.wait(), 10)

        def now() -> float:
            return metrics.registry.get_sample_value("hope_event_listeners") or 0.0

        during = now()
        step.set()
        await asyncio.wait_for(listening, 10)
        after = now()
        # One that is cut off counts down too.
        step.clear()
        begun.clear()
        listening = asyncio.create_task(RequestMetrics(app, metrics)({**scope}, receive, send))
        await asyncio.wait_for(begun.wait(), 10)
        listening.cancel()
        await asyncio.wait([listening])
        labels = {"method": "GET", "route": "/events"}
        assert metrics.registry.get_sample_value("hope_http_request_seconds_count", labels) is None
        return during, after, now()

    assert asyncio.run(go()) == (1, 0, 0)


def test_the_store_is_asked_at_each_scrape_and_not_before() -> None:
    store = Store()
    client = client_of(app_of(store))
    assert store.asked == 0
    figures = scrape(client)
    assert figures["hope_cases", (("state", "running"),)] == 2
    assert figures["hope_cases", (("state", "new"),)] == 3
    assert figures["hope_sessions", ()] == 4
    assert figures["hope_attempts_running", ()] == 1
    assert figures["hope_store_up", ()] == 1
    store.figures["cases_running"] = 0
    assert scrape(client)["hope_cases", (("state", "running"),)] == 0
    assert store.asked == 2


def test_a_store_that_is_down_does_not_take_the_metrics_with_it() -> None:
    store = Store()
    store.broken = True
    figures = scrape(client_of(app_of(store)))
    assert figures["hope_store_up", ()] == 0
    assert not [name for name, _ in figures if name == "hope_cases"]


def test_the_process_is_measured() -> None:
    figures = scrape(client_of(app_of(Store())))
    assert figures["process_resident_memory_bytes", ()] > 1e6
    assert figures["process_cpu_seconds_total", ()] > 0


def test_apps_do_not_share_figures() -> None:
    first, second = client_of(app_of(Store())), client_of(app_of(Store()))
    first.get("/nothing")
    assert requests_of(scrape(second), method="GET", route="(none)", status="404") == 0
    assert requests_of(scrape(first), method="GET", route="(none)", status="404") == 1


# --- who may scrape


def test_a_public_server_shows_figures_to_token_holders_only(tmp_path: Path) -> None:
    token, line = new_api_token("prometheus")
    append_line(tmp_path / "tokens", line)
    settings = settings_for(tmp_path, host=EVERYWHERE, api_tokens_file=tmp_path / "tokens")
    app = app_of(Store(), Authenticator(settings))
    # A proxy on the same machine that forwards without saying so looks like the machine itself.
    assert client_of(app).get("/metrics").status_code == 403
    outside = client_of(app, "192.0.2.1")
    refusal = outside.get("/metrics")
    assert refusal.status_code == 403
    assert "hope_" not in refusal.text
    assert outside.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert outside.get("/metrics", headers={"X-Hope-Token": token}).status_code == 200
    assert outside.get("/metrics", headers={"X-Hope-Token": token + "x"}).status_code == 403


@pytest.mark.parametrize("headers", [{}, {"X-Forwarded-For": "192.0.2.1"}, {"Forwarded": "for=x"}, {"Via": "1.1 x"}])
def test_whatever_a_proxy_forwards_a_public_server_wants_the_token(tmp_path: Path, headers: dict[str, str]) -> None:
    token, line = new_api_token("prometheus")
    append_line(tmp_path / "tokens", line)
    settings = settings_for(tmp_path, public_url="https://hope.example.org", api_tokens_file=tmp_path / "tokens")
    client = client_of(app_of(Store(), Authenticator(settings)))
    assert client.get("/metrics", headers=headers).status_code == 403
    assert client.get("/metrics", headers={**headers, "X-Hope-Token": token}).status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
def test_where_one_has_to_sign_in_on_loopback_a_proxy_is_not_this_machine(tmp_path: Path, header: str) -> None:
    append_line(tmp_path / "tokens", new_api_token("prometheus")[1])
    settings = settings_for(tmp_path, api_tokens_file=tmp_path / "tokens")
    client = client_of(app_of(Store(), Authenticator(settings)))
    assert client.get("/metrics", headers={header: "192.0.2.1"}).status_code == 403
    assert client.get("/metrics").status_code == 200


def test_without_an_authenticator_only_loopback_may() -> None:
    app = app_of(Store())
    assert client_of(app, "::1").get("/metrics").status_code == 200
    assert client_of(app, "10.0.0.1").get("/metrics").status_code == 403


def test_on_loopback_there_is_nobody_to_keep_out(tmp_path: Path) -> None:
    app = app_of(Store(), Authenticator(settings_for(tmp_path)))
    assert client_of(app, "testclient").get("/metrics").status_code == 200
