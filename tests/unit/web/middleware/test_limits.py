"""How often a client may call, how long a JSON body may be; uploads stream through untouched."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient
from tests.unit.web.settings_for import EVERYWHERE, settings_for

from hope.domain.ids import new_token
from hope.web.errors import ProblemError, install_errors
from hope.web.middleware.limits import FAILURES_PER_MINUTE, Buckets, Limits, client_address
from hope.web.middleware.sizes import LONGEST_JSON_BODY


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Server:
    """An app with one known session and one known API token, as the gateway treats them."""

    def __init__(self, folder: Path, **platform: object) -> None:
        self.clock = Clock()
        self.known = {new_token()}
        self.api_token = f"hope_{new_token()}"
        self.app = FastAPI()
        self.chunks: list[int] = []
        install_errors(self.app)
        self._routes()
        platform_settings = settings_for(folder, **platform).platform
        self.app.add_middleware(Limits, settings=platform_settings, clock=self.clock)

    @property
    def token(self) -> str:
        return next(iter(self.known))

    def client(self, address: str = "192.0.2.1") -> TestClient:
        return TestClient(self.app, base_url="http://127.0.0.1:8080", client=(address, 5000))

    def _check(self, request: Request) -> None:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if (bearer or request.cookies.get("hope_session")) not in self.known:
            raise ProblemError(401, "no-session", "no session")

    def _routes(self) -> None:
        @self.app.post("/api/session", status_code=201)
        def open_session(request: Request, response: Response) -> dict[str, str]:
            given = request.headers.get("x-hope-token")
            if given is not None and given != self.api_token:
                raise ProblemError(401, "sign-in", "unknown token")
            token = new_token()
            self.known.add(token)
            response.set_cookie("hope_session", token, httponly=True)
            return {"token": token}

        @self.app.get("/api/cases")
        def cases(request: Request) -> list[str]:
            self._check(request)
            return []

        @self.app.get("/api/vocabulary")
        def words() -> dict[str, str]:
            return {}

        @self.app.get("/healthz")
        def health() -> str:
            return "ok"

        @self.app.post("/api/cases")
        @self.app.put("/api/cases/{case_id}/assignments")
        @self.app.patch("/api/session")
        async def take_json(request: Request) -> dict[str, int]:
            return {"bytes": len(await request.body())}

        @self.app.put("/api/cases/{case_id}/series/{key}")
        @self.app.put("/api/cases/{case_id}/dicom")
        @self.app.put("/api/cases/{case_id}/segmentation")
        async def upload(request: Request) -> dict[str, int]:
            async for chunk in request.stream():
                self.chunks.append(len(chunk))
            return {"bytes": sum(self.chunks)}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def statuses(client: TestClient, path: str, count: int, **call: Any) -> list[int]:
    return [client.get(path, **call).status_code for _ in range(count)]


# --- buckets


def test_a_bucket_refills_steadily() -> None:
    clock = Clock()
    buckets = Buckets(60, clock=clock)
    assert [buckets.take("a") for _ in range(60)] == [0.0] * 60
    assert buckets.take("a") == pytest.approx(1.0)
    clock.now += 0.5
    assert buckets.wait("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert buckets.take("a") == 0.0
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0.0
    clock.now += 1e6
    assert [buckets.take("a") for _ in range(60)] == [0.0] * 60
    assert buckets.take("a") > 0


def test_buckets_remember_a_bounded_number_of_clients() -> None:
    buckets = Buckets(1, most=100, clock=Clock())
    for number in range(1000):
        assert buckets.take(f"client {number}") == 0.0
        buckets.wait(f"asked only {number}")
    assert len(buckets) == 100
    assert buckets.take("client 999") > 0


# --- rate limit


def test_too_many_calls_are_told_when_to_come_back(tmp_path: Path) -> None:
    server = Server(tmp_path, requests_per_minute=6)
    client = server.client()
    assert statuses(client, "/api/vocabulary", 6) == [200] * 6
    refusal = client.get("/api/vocabulary")
    assert refusal.status_code == 429
    assert refusal.headers["content-type"] == "application/problem+json"
    assert refusal.headers["retry-after"] == "10"
    assert "10 s" in refusal.json()["detail"]
    server.clock.now += 10
    assert statuses(client, "/api/vocabulary", 2) == [200, 429]
    assert client.get("/healthz").status_code == 200


def test_peers_do_not_take_from_one_another(tmp_path: Path) -> None:
    server = Server(tmp_path, requests_per_minute=3)
    assert statuses(server.client("192.0.2.1"), "/api/vocabulary", 4)[-1] == 429
    assert statuses(server.client("192.0.2.2"), "/api/vocabulary", 3) == [200] * 3


def test_a_session_that_works_has_its_own_allowance(tmp_path: Path) -> None:
    server = Server(tmp_path, requests_per_minute=5)
    client = server.client()
    assert client.get("/api/cases", headers=bearer(server.token)).status_code == 200
    assert statuses(client, "/api/vocabulary", 5) == [200] * 4 + [429]
    assert statuses(client, "/api/cases", 6, headers=bearer(server.token)) == [200] * 5 + [429]


def test_a_fresh_session_is_known_from_its_birth(tmp_path: Path) -> None:
    server = Server(tmp_path, requests_per_minute=2)
    client = server.client()
    token = client.post("/api/session").json()["token"]
    other = server.client()
    assert statuses(other, "/api/vocabulary", 2) == [200, 429]
    assert statuses(other, "/api/cases", 2, headers={"Cookie": f"hope_session={token}"}) == [200, 200]


def test_invented_tokens_buy_no_allowance(tmp_path: Path) -> None:
    server = Server(tmp_path, requests_per_minute=10)
    client = server.client()
    answers = [client.get("/api/vocabulary", headers=bearer(new_token())).status_code for _ in range(12)]
    assert answers == [200] * 10 + [429] * 2
    # Nor does a token that a route without sessions has answered, or one that comes beside a good session.
    server = Server(tmp_path, requests_per_minute=10)
    client, invented = server.client(), new_token()
    assert client.get("/api/vocabulary", headers=bearer(invented)).status_code == 200
    beside = {"Cookie": f"hope_session={server.token}", "X-Hope-Token": invented}
    assert client.get("/api/cases", headers=beside).status_code == 200
    assert statuses(client, "/api/vocabulary", 9, headers=bearer(invented)) == [200] * 8 + [429]


def test_wrong_tokens_are_limited_harder(tmp_path: Path) -> None:
    server = Server(tmp_path)
    client = server.client()
    wrong = [client.get("/api/cases", headers=bearer(new_token())).status_code for _ in range(FAILURES_PER_MINUTE + 3)]
    assert wrong == [401] * FAILURES_PER_MINUTE + [429] * 3
    # The right one is not found out by trying on, nor are calls without a token hindered.
    assert client.get("/api/cases", headers=bearer(server.token)).status_code == 429
    assert client.get("/api/vocabulary").status_code == 200
    assert server.client("192.0.2.2").get("/api/cases", headers=bearer(server.token)).status_code == 200
    server.clock.now += 3.1
    assert client.get("/api/cases", headers=bearer(server.token)).status_code == 200


def test_wrong_api_tokens_and_cookies_count_too(tmp_path: Path) -> None:
    server = Server(tmp_path)
    client = server.client()
    for _ in range(FAILURES_PER_MINUTE // 2):
        assert client.post("/api/session", headers={"X-Hope-Token": f"hope_{new_token()}"}).status_code == 401
        assert client.get("/api/cases", headers={"Cookie": f"hope_session={new_token()}"}).status_code == 401
    assert client.post("/api/session", headers={"X-Hope-Token": server.api_token}).status_code == 429


def test_a_session_in_use_is_not_locked_out_by_a_neighbour(tmp_path: Path) -> None:
    server = Server(tmp_path)
    client = server.client()
    assert client.get("/api/cases", headers=bearer(server.token)).status_code == 200
    for _ in range(FAILURES_PER_MINUTE + 1):
        client.get("/api/cases", headers=bearer(new_token()))
    assert client.get("/api/cases", headers=bearer(server.token)).status_code == 200


def test_no_token_is_no_wrong_token(tmp_path: Path) -> None:
    server = Server(tmp_path)
    assert statuses(server.client(), "/api/cases", FAILURES_PER_MINUTE + 5) == [401] * (FAILURES_PER_MINUTE + 5)


def test_a_public_server_limits_how_many_sessions_an_address_opens(tmp_path: Path) -> None:
    public = Server(tmp_path, host=EVERYWHERE, requests_per_minute=50)
    assert [public.client().post("/api/session").status_code for _ in range(6)] == [201] * 5 + [429]
    local = Server(tmp_path, requests_per_minute=50)
    assert [local.client().post("/api/session").status_code for _ in range(6)] == [201] * 6


# --- who is the client?


def address(folder: Path, peer: str, *forwarded: str, public_url: str = "https://hope.example.org") -> str:
    headers = [(b"x-forwarded-for", text.encode()) for text in forwarded]
    scope = {"type": "http", "client": (peer, 1), "headers": headers}
    return client_address(scope, settings_for(folder, host=EVERYWHERE, public_url=public_url).platform)


def test_behind_a_proxy_its_own_entry_counts_and_no_other(tmp_path: Path) -> None:
    assert address(tmp_path, "10.0.0.1", "203.0.113.9") == "203.0.113.9"
    assert address(tmp_path, "10.0.0.1", "198.51.100.1, 203.0.113.9") == "203.0.113.9"
    assert address(tmp_path, "127.0.0.1", "198.51.100.1", "203.0.113.9") == "203.0.113.9"
    assert address(tmp_path, "10.0.0.1", "nonsense") == "10.0.0.1"
    assert address(tmp_path, "10.0.0.1") == "10.0.0.1"


def test_nobody_else_may_say_who_they_are(tmp_path: Path) -> None:
    assert address(tmp_path, "8.8.8.8", "203.0.113.9") == "8.8.8.8"
    assert address(tmp_path, "10.0.0.1", "203.0.113.9", public_url="") == "10.0.0.1"


def test_an_ipv6_client_is_its_network(tmp_path: Path) -> None:
    one, two = address(tmp_path, "2001:db8:1:2::1"), address(tmp_path, "2001:db8:1:2:ffff::9")
    assert one == two == "2001:db8:1:2::/64"
    assert address(tmp_path, "2001:db8:1:3::1") != one
    assert address(tmp_path, "::ffff:192.0.2.1") != address(tmp_path, "::ffff:192.0.2.2")


def test_a_scope_without_a_client_is_served(tmp_path: Path) -> None:
    assert client_address({"type": "http", "client": None, "headers": []}, settings_for(tmp_path).platform) == ""


# --- bodies


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/cases"),
        ("PUT", "/api/cases/x/assignments"),
        ("PATCH", "/api/session"),
        ("POST", "/nothing"),
        ("POST", "/api/cases/x/dicom"),
        ("PUT", "/api/cases/x/series"),
        ("PUT", "/api/cases/x/dicom/more"),
    ],
)
def test_long_bodies_are_for_uploads_only(tmp_path: Path, method: str, path: str) -> None:
    client = Server(tmp_path).client()
    for content in (b"x" * (LONGEST_JSON_BODY + 1), chunks(LONGEST_JSON_BODY + 1)):
        answer = client.request(method, path, content=content)
        assert answer.status_code == 413
        assert "64 KiB" in answer.json()["detail"]
    for content in (b"x" * LONGEST_JSON_BODY, chunks(LONGEST_JSON_BODY), b""):
        assert client.request(method, path, content=content).status_code in (200, 404, 405)


def chunks(size: int) -> Iterator[bytes]:
    while size:
        part = min(size, 1000)
        yield b"x" * part
        size -= part


def test_a_body_that_comes_in_pieces_reaches_the_route_whole(tmp_path: Path) -> None:
    answer = Server(tmp_path).client().post("/api/cases", content=chunks(54_321))
    assert answer.json() == {"bytes": 54_321}


@pytest.mark.parametrize("length", ["-1", "1e3", "١٢", "99999999999999999999999"])
def test_a_length_that_is_none_is_refused(tmp_path: Path, length: str) -> None:
    answer = asyncio.run(raw_status(Server(tmp_path).app, [(b"content-length", length.encode())]))
    assert answer == 413


async def raw_status(app: FastAPI, headers: list[tuple[bytes, bytes]]) -> int:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/cases",
        "raw_path": b"/api/cases",
        "query_string": b"",
        "headers": headers,
        "client": ("192.0.2.1", 1),
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8080),
    }
    await app(scope, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize("kind", ["series/t1c", "dicom", "segmentation"])
def test_uploads_stream_through_piece_by_piece(tmp_path: Path, kind: str) -> None:
    """The first piece reaches the route before the second is sent: nothing is held."""
    server = Server(tmp_path)
    seen_before_second: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        for _ in range(200):
            if server.chunks:
                break
            await asyncio.sleep(0.01)
        seen_before_second.append(len(server.chunks))
        yield b"x" * 100_000

    async def go(address: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
            return await client.put(f"/api/cases/x/{kind}", content=body())

    with serving(server.app) as address:
        answer = asyncio.run(go(address))
    assert answer.json() == {"bytes": 200_000}
    assert seen_before_second[0] >= 1


def test_a_refused_body_over_the_wire_is_answered(tmp_path: Path) -> None:
    with serving(Server(tmp_path).app) as address, httpx.Client(base_url=address, trust_env=False) as client:
        assert client.post("/api/cases", content=b"x" * 200_000).status_code == 413
        assert client.post("/api/cases", content=chunks(200_000)).status_code == 413
        assert client.get("/api/vocabulary").status_code == 200


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The app behind a real server on a free port of loopback."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
