"""Answers to calls that are wrong: what is refused is refused with 4xx, and says what would be right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.unit.web.fakes import Gateway, make_gateway
from tests.unit.web.settings_for import EVERYWHERE, settings_for
from tests.unit.web.test_api import new_case, problem_of
from tests.unit.web.test_strict_json import REFUSED

from hope.domain.errors import InputError
from hope.web.auth.api_tokens import append_line, new_api_token
from hope.web.auth.auth import check_may_serve

pytestmark = pytest.mark.anyio


@dataclass
class Attacked:
    """A gateway, a client with a session, and its case."""

    gateway: Gateway
    client: httpx.AsyncClient
    case: str


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    made = make_gateway(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
async def attacked(gateway: Gateway) -> Attacked:
    client = gateway.client()
    token = (await client.post("/api/session")).json()["token"]
    client.cookies.clear()
    client.headers["Authorization"] = f"Bearer {token}"
    return Attacked(gateway, client, await new_case(client))


@pytest.mark.parametrize("name", REFUSED)
async def test_json_that_readers_see_differently_is_refused(attacked: Attacked, name: str) -> None:
    calls = (
        ("POST", "/api/session"),
        ("PATCH", "/api/session"),
        ("POST", "/api/session/leave"),
        ("PUT", f"/api/cases/{attacked.case}/assignments"),
        ("POST", f"/api/cases/{attacked.case}/run"),
        ("POST", f"/api/cases/{attacked.case}/comparison"),
    )
    for method, path in calls:
        for kind in ("application/json", "Application/JSON; charset=latin-1", "application/x+json"):
            answer = await attacked.client.request(
                method, path, content=REFUSED[name][0], headers={"Content-Type": kind}
            )
            problem_of(answer, 400)
    assert len(attacked.gateway.store.sessions()) == 1


@pytest.mark.parametrize("path", ["/api/session", "/", "/nowhere", "/assets/x", "/api/whoami"])
async def test_queries_headers_and_cookies_are_limited(attacked: Attacked, path: str) -> None:
    client = attacked.client
    problem_of(await client.get(path, params={"a": "b" * 8200}), 414)
    problem_of(await client.get(path, headers={"Cookie": "a=b; " * 7000}), 431)
    problem_of(await client.get(path, headers={f"X-{number}": "y" * 90 for number in range(400)}), 431)
    for changes in ({"params": {"a": "b" * 8000}}, {"headers": {"Cookie": "a=b; " * 5000}}):
        assert (await client.get(path, **changes)).status_code not in (414, 431)  # type: ignore[arg-type]


async def test_405_names_every_method_of_the_path(attacked: Attacked) -> None:
    case = f"/api/cases/{attacked.case}"
    expected = {
        "/api/session": {"GET", "POST", "PATCH", "DELETE"},
        "/api/cases": {"GET", "POST"},
        case: {"GET", "PATCH", "DELETE"},
        f"{case}/series/t1c": {"GET", "PUT", "DELETE"},
        f"{case}/files/x": {"GET", "HEAD"},
        f"{case}/dicom": {"PUT"},
        f"{case}/comparison": {"POST"},
        "/metrics": {"GET"},
        "/": {"GET", "HEAD"},
    }
    for path, methods in expected.items():
        for wrong in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - methods:
            answer = await attacked.client.request(wrong, path)
            problem_of(answer, 405)
            assert set(answer.headers["allow"].split(", ")) == methods, (wrong, path)


async def test_429_is_documented_wherever_it_can_occur_and_nowhere_else(attacked: Attacked) -> None:
    document = attacked.gateway.app.openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            limited = path not in ("/healthz", "/readyz")
            assert ("429" in operation["responses"]) == limited, (method, path)


@pytest.mark.parametrize("host", ["evil.example.org", "127.0.0.1.evil.example.org", "192.0.2.7:8080", "a b", "["])
async def test_metrics_on_loopback_answer_under_loopback_names_only(attacked: Attacked, host: str) -> None:
    answer = await attacked.client.get("/metrics", headers={"Host": host})
    assert problem_of(answer, 421) and "hope_" not in answer.text
    for own in ("localhost", "127.0.0.1:8080", "[::1]:9"):
        assert (await attacked.client.get("/metrics", headers={"Host": own})).status_code == 200


@pytest.mark.parametrize("where", [{"host": EVERYWHERE}, {"public_url": "https://hope.example.org"}])
async def test_metrics_of_a_public_server_want_the_token_whatever_is_forwarded(
    tmp_path: Path, where: dict[str, str]
) -> None:
    token, line = new_api_token("prometheus")
    append_line(tmp_path / "tokens", line)
    folder = tmp_path / "gateway"
    folder.mkdir()
    gateway = make_gateway(folder, api_tokens_file=str(tmp_path / "tokens"), **where)
    forwarded: tuple[dict[str, str], ...] = ({}, {"X-Forwarded-For": "127.0.0.1"}, {"X-Real-IP": "::1"})
    async with gateway.client() as client:
        for headers in forwarded:
            for host in ("localhost", "hope.example.org", "10.0.0.7"):
                asked = {**headers, "Host": host}
                assert (await client.get("/metrics", headers=asked)).status_code == 403
                known = await client.get("/metrics", headers={**asked, "Authorization": f"Bearer {token}"})
                assert known.status_code == 200
    gateway.store.close()


OIDC = {"oidc_issuer": "https://id.example.org", "oidc_client_id": "hope", "public_url": "https://hope.example.org"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"smtp_url": "mail.example.org"}, "HOPE_SMTP_URL"),
        ({"smtp_url": "http://mail.example.org"}, "HOPE_SMTP_URL"),
        ({"smtp_url": "smtp://"}, "HOPE_SMTP_URL"),
        ({"smtp_url": "smtp://mail.example.org:port"}, "HOPE_SMTP_URL"),
        ({"smtp_url": "smtp://mail.example.org:99999"}, "HOPE_SMTP_URL"),
        ({"smtp_url": "smtp://mail.example.org:0"}, "HOPE_SMTP_URL"),
        ({"smtp_url": "smtp://[::1"}, "HOPE_SMTP_URL"),
        ({"smtp_url": "smtp://mail example"}, "HOPE_SMTP_URL"),
        ({"smtp_url": "smtps://user@mail.example.org"}, "HOPE_SMTP_URL"),
        ({"smtp_url": "smtps://:hunter2@mail.example.org"}, "HOPE_SMTP_URL"),
        ({"smtp_url": "smtp://mail.example.org/path"}, "HOPE_SMTP_URL"),
        ({"smtp_url": "smtp://mail.example.org?x=1"}, "HOPE_SMTP_URL"),
        ({"smtp_url": "smtp://mail.example.org", "mail_from": "nobody"}, "HOPE_MAIL_FROM"),
        ({"smtp_url": "smtp://mail.example.org", "mail_from": "a@b\nBcc: c@d"}, "HOPE_MAIL_FROM"),
        ({**OIDC, "oidc_client_secret": " " * 32}, "OpenID Connect"),
        ({**OIDC, "oidc_client_secret": "\t" * 20 + "short"}, "HOPE_OIDC_CLIENT_SECRET"),
        ({**OIDC, "oidc_client_id": "  ", "oidc_client_secret": "x" * 32}, "OpenID Connect"),
    ],
)
def test_a_gateway_that_could_not_work_does_not_start(tmp_path: Path, changes: dict[str, str], named: str) -> None:
    with pytest.raises(InputError, match=named) as refusal:
        check_may_serve(settings_for(tmp_path, **changes))
    assert "hunter2" not in str(refusal.value) and "\n" not in refusal.value.message()


@pytest.mark.parametrize("mode", [0o620, 0o660, 0o604, 0o602, 0o670])
def test_a_tokens_file_that_others_may_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "tokens"
    append_line(path, new_api_token("reader")[1])
    settings = settings_for(tmp_path, host=EVERYWHERE, api_tokens_file=path)
    for good in (0o600, 0o400, 0o440, 0o640):
        path.chmod(good)
        check_may_serve(settings)
    path.chmod(mode)
    with pytest.raises(InputError, match="tokens file"):
        check_may_serve(settings)


@pytest.mark.parametrize(
    "url",
    ["smtp://127.0.0.1:25", "smtp://localhost", "smtps://user:w%40rd@mail.example.org:465/", "smtp://[::1]:2525"],
)
def test_mail_servers_that_are_usable_are_accepted(tmp_path: Path, url: str) -> None:
    check_may_serve(settings_for(tmp_path, smtp_url=url))
