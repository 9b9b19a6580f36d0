"""Headers on every answer, host names, and calls from other sites."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI, Response
from fastapi.testclient import TestClient
from starlette.responses import HTMLResponse, StreamingResponse
from tests.unit.web.settings_for import EVERYWHERE, settings_for

from hope.web.errors import install_errors
from hope.web.middleware.limits import install_limits
from hope.web.middleware.security import CONTENT_SECURITY_POLICY, HEADERS, install_security, is_public


def client_of(folder: Path, base_url: str = "http://127.0.0.1:8080", **platform: object) -> TestClient:
    app, settings = FastAPI(), settings_for(folder, **platform)
    install_errors(app)

    @app.api_route("/api/thing", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def thing() -> dict[str, bool]:
        return {"done": True}

    @app.get("/api/cases/1/files/report.html")
    def report() -> Response:
        own = {"Content-Security-Policy": "default-src 'none'", "Cache-Control": "private, no-store"}
        return HTMLResponse("<p>report</p>", headers=own)

    @app.get("/assets/page.js")
    def asset() -> Response:
        return Response("1", headers={"Cache-Control": "public, max-age=31536000, immutable"})

    @app.get("/stream")
    def stream() -> StreamingResponse:
        return StreamingResponse(iter([b"a", b"b"]))

    for path in ("/healthz", "/readyz", "/metrics"):
        app.add_api_route(path, lambda: "ok")
    install_limits(app, settings)
    install_security(app, settings)
    return TestClient(app, base_url=base_url)


@pytest.mark.parametrize("path", ["/", "/api/thing", "/nothing", "/stream", "/healthz"])
def test_every_answer_carries_the_headers(tmp_path: Path, path: str) -> None:
    answer = client_of(tmp_path).get(path)
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert "strict-transport-security" not in answer.headers


def test_refusals_carry_the_headers_too(tmp_path: Path) -> None:
    client = client_of(tmp_path, requests_per_minute=1)
    for answer in (
        client.get("/api/thing", headers={"Host": "evil.example.org"}),
        client.post("/api/thing", headers={"Origin": "https://evil.example.org"}),
        client.post("/api/thing", content=b"x" * 70_000),
        client.get("/api/thing"),
    ):
        assert answer.status_code in (403, 413, 421, 429)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["cache-control"] == "no-store"


def test_the_policy_lets_no_foreign_or_inline_script_run() -> None:
    policy = {part.split()[0]: part.split()[1:] for part in CONTENT_SECURITY_POLICY.split("; ")}
    assert policy["script-src"] == ["'self'", "'wasm-unsafe-eval'"]
    assert policy["style-src"] == policy["default-src"] == ["'self'"]
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == ["'none'"]
    assert not [word for words in policy.values() for word in words if "http" in word or word in ("*", "data:*")]


def test_what_a_route_says_itself_stays(tmp_path: Path) -> None:
    client = client_of(tmp_path)
    report = client.get("/api/cases/1/files/report.html")
    assert report.headers.get_list("content-security-policy") == ["default-src 'none'"]
    assert report.headers.get_list("cache-control") == ["private, no-store"]
    assert client.get("/assets/page.js").headers["cache-control"].startswith("public")
    assert client.get("/api/thing").headers["cache-control"] == "no-store"


def test_tls_is_asked_for_where_there_is_tls(tmp_path: Path) -> None:
    client = client_of(tmp_path, "https://hope.example.org", host=EVERYWHERE, public_url="https://hope.example.org")
    assert client.get("/").headers["strict-transport-security"].startswith("max-age=")
    plain = client_of(tmp_path, "http://localhost:8080", public_url="http://localhost:8080")
    assert "strict-transport-security" not in plain.get("/").headers


# --- host names


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]:8080", "[::1]"])
def test_loopback_answers_under_loopback_names(tmp_path: Path, host: str) -> None:
    assert client_of(tmp_path).get("/api/thing", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.org",
        "evil.example.org:8080",
        "127.0.0.1.evil.example.org",
        "localhost.evil.example.org",
        "127.0.0.1@evil.example.org",
        "evil.example.org@127.0.0.1",
        "evil.example.org#localhost",
        "localhost:port@evil",
        "[::1",
        "[::1].evil",
        "a b",
        "",
    ],
)
def test_loopback_answers_under_no_other_name(tmp_path: Path, host: str) -> None:
    client = client_of(tmp_path)
    assert client.get("/api/thing", headers={"Host": host}).status_code == 421
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_a_public_server_answers_under_its_own_name(tmp_path: Path) -> None:
    client = client_of(tmp_path, host=EVERYWHERE, public_url="https://hope.example.org")
    for host, status in (("hope.example.org", 200), ("hope.example.org:443", 200), ("10.1.2.3:8080", 421)):
        assert client.get("/api/thing", headers={"Host": host}).status_code == status
    for path in ("/healthz", "/readyz", "/metrics"):
        assert client.get(path, headers={"Host": "10.1.2.3:8080"}).status_code == 200


def test_a_public_server_without_a_name_answers_under_any(tmp_path: Path) -> None:
    client = client_of(tmp_path, host=EVERYWHERE)
    assert client.get("/api/thing", headers={"Host": "whatever.example.org"}).status_code == 200


# --- calls from other sites

UNSAFE = ["POST", "PUT", "PATCH", "DELETE"]


@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8080"},
        {"Origin": "https://evil.example.org"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "http://127.0.0.1:8080.evil.example.org"},
        {"Origin": "http://127.0.0.1:port"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example.org"},
    ],
    ids=str,
)
def test_changing_calls_from_elsewhere_are_refused(tmp_path: Path, method: str, headers: dict[str, str]) -> None:
    answer = client_of(tmp_path).request(method, "/api/thing", headers={**headers, "Cookie": "hope_session=x"})
    assert answer.status_code == 403
    assert answer.json()["type"] == "/problems/cross-site"


@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://127.0.0.1:8080"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8080"},
    ],
    ids=str,
)
def test_our_page_and_programs_may(tmp_path: Path, method: str, headers: dict[str, str]) -> None:
    answer = client_of(tmp_path).request(method, "/api/thing", headers={**headers, "Cookie": "hope_session=x"})
    assert answer.status_code == 200


def test_reading_calls_are_not_asked_where_they_come_from(tmp_path: Path) -> None:
    assert client_of(tmp_path).get("/api/thing", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_behind_a_proxy_the_public_name_is_the_origin(tmp_path: Path) -> None:
    client = client_of(tmp_path, "http://hope.example.org", host=EVERYWHERE, public_url="https://hope.example.org")
    for origin, status in (
        ("https://hope.example.org", 200),
        ("https://hope.example.org:443", 200),
        ("http://hope.example.org", 403),
        ("https://hope.example.org:8443", 403),
        ("https://other.example.org", 403),
    ):
        assert client.post("/api/thing", headers={"Origin": origin}).status_code == status, origin


def test_what_counts_as_public(tmp_path: Path) -> None:
    def public(**platform: object) -> bool:
        return is_public(settings_for(tmp_path, **platform).platform)

    assert not public()
    assert not public(public_url="http://localhost:8080")
    assert public(public_url="https://hope.example.org")
    assert public(host=EVERYWHERE)
    assert public(host="::")
    assert public(host=EVERYWHERE, public_url="http://localhost:8080")
