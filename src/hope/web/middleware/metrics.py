"""Figures for Prometheus: requests, uploads, listeners, what the store counts, and this process. No ids in labels."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hope.settings import LOOPBACK
from hope.web.errors import problem
from hope.web.middleware.logs import error_facts, method_of, route_template

if TYPE_CHECKING:
    from hope.web.auth.auth import Authenticator

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0)
"""Seconds: from a look at a case to the upload of a whole study over a slow line."""

_EVENT_STREAM: Final = "text/event-stream"
_STATE_PREFIX: Final = "cases_"

log = logging.getLogger(__name__)


class Counts(Protocol):
    """The part of `hope.ports.CaseStore` that metrics need."""

    def counts(self) -> dict[str, int]:
        """Figures by name."""
        ...


class Metrics:
    """One app's figures, in a registry of their own.

    Args:
        store: asked for its counts whenever somebody scrapes.
    """

    def __init__(self, store: Counts) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "hope_http_requests", "Answered requests.", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "hope_http_request_seconds",
            "Time to the complete answer; event streams are left out.",
            ("method", "route"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.in_progress = Gauge("hope_http_requests_in_progress", "Requests in work.", registry=self.registry)
        self.received = Counter("hope_received_bytes", "Bytes of request bodies.", registry=self.registry)
        self.sent = Counter("hope_sent_bytes", "Bytes of answers' bodies.", registry=self.registry)
        self.listeners = Gauge("hope_event_listeners", "Open event streams.", registry=self.registry)
        self.registry.register(_StoreCounts(store))

    def page(self) -> bytes:
        """What a scrape reads. Blocks while the store counts."""
        return generate_latest(self.registry)


class _StoreCounts(Collector):
    """Asks the store at scrape time, so that every gateway of a fleet tells the same truth."""

    def __init__(self, store: Counts) -> None:
        self._store = store

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry must not ask the store when the app is made."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """``hope_cases{state}``, one gauge for each other count, and whether the store answered."""
        up = GaugeMetricFamily("hope_store_up", "Whether the store answered this scrape.")
        try:
            counts: Mapping[str, int] = self._store.counts()
        except Exception as error:
            # A scrape has to tell that the store is down, not fail with it.
            kind, where = error_facts(error)
            log.error("the store did not answer a scrape", extra={"error": kind, "where": where})
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        cases = GaugeMetricFamily("hope_cases", "Cases by state.", labels=("state",))
        for name, value in sorted(counts.items()):
            if name.startswith(_STATE_PREFIX):
                cases.add_metric([name.removeprefix(_STATE_PREFIX)], value)
            else:
                yield GaugeMetricFamily(f"hope_{name}", f"{name.replace('_', ' ').capitalize()}.", value=value)
        yield cases


class RequestMetrics:
    """Pure ASGI middleware that counts; bodies and streams pass through untouched.

    Args:
        app: what it measures.
        metrics: where to count.
        clock: seconds that only grow; replaced in tests.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self._app, self._metrics, self._clock = app, metrics, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass HTTP on; see the class."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        metrics, begun = self._metrics, self._clock()
        status, listening = 500, False

        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                metrics.received.inc(len(message.get("body", b"")))
            return message

        async def sending(message: Message) -> None:
            nonlocal status, listening
            if message["type"] == "http.response.start":
                status = message["status"]
                kind = Headers(raw=message.get("headers", [])).get("content-type", "")
                if kind.startswith(_EVENT_STREAM) and not listening:
                    listening = True
                    metrics.listeners.inc()
            elif message["type"] == "http.response.body":
                metrics.sent.inc(len(message.get("body", b"")))
            await send(message)

        metrics.in_progress.inc()
        try:
            await self._app(scope, receiving, sending)
        finally:
            metrics.in_progress.dec()
            method, route = method_of(scope), route_template(scope)
            metrics.requests.labels(method, route, str(status)).inc()
            if listening:
                metrics.listeners.dec()
            else:
                metrics.seconds.labels(method, route).observe(self._clock() - begun)


def install_metrics(app: FastAPI, store: Counts, authenticator: Authenticator | None = None) -> Metrics:
    """Measure what was installed before, and answer ``GET /metrics``.

    Args:
        app: the gateway.
        store: asked for its counts at each scrape.
        authenticator: whose API tokens may scrape; without it only loopback may.
    """
    metrics = Metrics(store)
    app.state.metrics = metrics
    app.add_middleware(RequestMetrics, metrics=metrics)

    @app.get("/metrics", include_in_schema=False)
    def scrape(request: Request) -> Response:
        """Figures for Prometheus, with an API token; on a server that is not public without one, too."""
        if not _may_scrape(request, authenticator):
            detail = "metrics are for whoever sends an API token as X-Hope-Token or bearer token"
            return problem(403, "metrics", detail)
        return Response(metrics.page(), media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    return metrics


def _may_scrape(request: Request, authenticator: Authenticator | None) -> bool:
    """A known token; without one only where the server is not public, and only this machine's own users.

    A public server cannot tell its own machine from a proxy on it that forwards without saying so.
    """
    if authenticator is not None:
        if authenticator.token_name(request) is not None:
            return True
        if authenticator.public:
            return False
        if not authenticator.required:
            return True
    peer = request.client.host if request.client else ""
    proxied = any(name in request.headers for name in ("x-forwarded-for", "forwarded", "via"))
    return peer in LOOPBACK and not proxied
