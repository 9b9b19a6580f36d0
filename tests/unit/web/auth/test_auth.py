"""Who gets in: loopback, API tokens, OpenID Connect against a real small issuer that can misbehave."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from joserfc.jwk import RSAKey
from tests.unit.web.auth.fake_issuer import CLIENT_ID, CLIENT_SECRET, FakeIssuer, symmetric_key
from tests.unit.web.settings_for import EVERYWHERE, settings_for

from hope.domain.errors import InputError
from hope.domain.ids import new_token, token_hash
from hope.settings import Settings
from hope.web.auth.api_tokens import ApiTokens, append_line, new_api_token, read_tokens
from hope.web.auth.auth import Authenticator, check_may_serve
from hope.web.errors import install_errors

HERE = "http://127.0.0.1:8080"


def app_of(settings: Settings) -> FastAPI:
    """An app that tells who the caller is."""
    app, authenticator = FastAPI(), Authenticator(settings)
    install_errors(app)
    app.include_router(authenticator.router)

    @app.post("/principal")
    def principal(request: Request) -> dict[str, str | None]:
        return {"principal": authenticator.principal(request)}

    return app


def client_of(settings: Settings) -> TestClient:
    return TestClient(app_of(settings), base_url=HERE, follow_redirects=False)


def who(client: TestClient, **headers: str) -> str | None:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client.post("/principal", headers=names).json()["principal"]
    return None if answer is None else str(answer)


def tokens_file(folder: Path, *names: str) -> tuple[Path, list[str]]:
    made = [new_api_token(name) for name in names]
    path = folder / "tokens"
    for _, line in made:
        append_line(path, line)
    return path, [token for token, _ in made]


# --- may we serve at all?


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.0.2.7", "hope.example.org", "localhost.example.org"])
def test_a_public_address_without_authentication_is_refused_in_one_sentence(tmp_path: Path, host: str) -> None:
    with pytest.raises(InputError) as caught:
        check_may_serve(settings_for(tmp_path, host=host))
    assert host in caught.value.got
    assert caught.value.what and caught.value.expected and caught.value.fix
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_needs_no_authentication(tmp_path: Path, host: str) -> None:
    check_may_serve(settings_for(tmp_path, host=host))


def test_loopback_behind_a_public_proxy_is_public(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="everybody"):
        check_may_serve(settings_for(tmp_path, public_url="https://hope.example.org"))
    check_may_serve(settings_for(tmp_path, public_url="http://localhost:8080"))


def test_a_tokens_file_makes_a_public_address_acceptable(tmp_path: Path) -> None:
    path, _ = tokens_file(tmp_path, "reader")
    check_may_serve(settings_for(tmp_path, host=EVERYWHERE, api_tokens_file=path))


def test_tokens_files_that_cannot_be_trusted_are_refused(tmp_path: Path) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(InputError) as caught:
            check_may_serve(settings_for(tmp_path, host=EVERYWHERE, api_tokens_file=path))
        return str(caught.value)

    assert "cannot be read" in refusal(tmp_path / "missing")
    assert "cannot be read" in refusal(tmp_path)
    path = tmp_path / "tokens"
    path.touch(mode=0o600)
    assert "holds no token" in refusal(path)
    path.write_text("# nothing but a comment\n\n")
    assert "holds no token" in refusal(path)
    path.write_bytes(b"\xff\xfe\x00")
    assert "not text" in refusal(path)
    secret, line = new_api_token("reader")
    path.write_text(f"{line}\nreader {secret}\n")
    assert "line 2" in refusal(path)
    assert secret not in refusal(path)
    path.write_text(f"{line}\n")
    path.chmod(0o644)
    assert "0644" in refusal(path)
    path.chmod(0o640)
    check_may_serve(settings_for(tmp_path, host=EVERYWHERE, api_tokens_file=path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else and become nobody")
def test_a_tokens_file_of_somebody_else_is_named_with_owner_and_mode(tmp_path: Path) -> None:
    path, _ = tokens_file(tmp_path, "reader")
    os.chown(path, 12345, 12345)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to(Path(tempfile.gettempdir())) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)
    program = "import os, sys, pathlib; from hope.web.auth.api_tokens import read_tokens; os.setuid(65534); "
    program += "read_tokens(pathlib.Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True)
    assert "owned by user 12345, group 12345, mode 0600" in done.stderr
    assert "as user 65534" in done.stderr and "chown 65534" in done.stderr


OIDC = {
    "oidc_issuer": "https://issuer.example.org",
    "oidc_client_id": CLIENT_ID,
    "oidc_client_secret": CLIENT_SECRET,
    "public_url": "https://hope.example.org",
}


def test_openid_connect_needs_all_its_parts(tmp_path: Path) -> None:
    check_may_serve(settings_for(tmp_path, host=EVERYWHERE, **OIDC))
    for left_out in ("oidc_client_id", "oidc_client_secret", "public_url"):
        with pytest.raises(InputError) as caught:
            check_may_serve(settings_for(tmp_path, host=EVERYWHERE, **{**OIDC, left_out: ""}))
        assert f"HOPE_{left_out.upper()}" in caught.value.got


@pytest.mark.parametrize(
    "change",
    [
        {"oidc_client_secret": "short"},
        {"oidc_issuer": "http://issuer.example.org"},
        {"oidc_issuer": "issuer.example.org"},
        {"oidc_issuer": "https://issuer.example.org?x=1"},
        {"public_url": "http://hope.example.org"},
        {"public_url": "https://hope.example.org/below"},
        {"public_url": "https://hope.example.org:port"},
        {"public_url": "ftp://hope.example.org"},
    ],
)
def test_openid_connect_settings_that_cannot_be_safe_are_refused(tmp_path: Path, change: dict[str, str]) -> None:
    with pytest.raises(InputError):
        check_may_serve(settings_for(tmp_path, host=EVERYWHERE, **{**OIDC, **change}))


# --- loopback and API tokens


def test_openid_connect_alone_starts_with_a_tokens_file_that_is_empty_or_missing(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    check_may_serve(settings_for(tmp_path, host=EVERYWHERE, api_tokens_file=path, **OIDC))
    path.touch(mode=0o600)
    settings = settings_for(tmp_path, host=EVERYWHERE, api_tokens_file=path, **OIDC)
    check_may_serve(settings)
    with client_of(settings) as caller:
        assert caller.get("/api/whoami").json()["ways"] == ["oidc"]
        secret, line = new_api_token("robot")
        append_line(path, line)
        assert caller.get("/api/whoami").json()["ways"] == ["token", "oidc"]
        assert caller.get("/api/whoami", headers={"Authorization": f"Bearer {secret}"}).json()["method"] == "token"
    path.write_text("nonsense\n")
    with pytest.raises(InputError, match="line 1"):
        check_may_serve(settings)


def test_on_loopback_everybody_is_local(tmp_path: Path) -> None:
    client = client_of(settings_for(tmp_path))
    assert who(client) == "local"
    assert client.get("/api/whoami").json() == {"authenticated": True, "method": "loopback", "ways": []}


def test_on_loopback_configured_authentication_counts(tmp_path: Path) -> None:
    path, [token] = tokens_file(tmp_path, "reader")
    client = client_of(settings_for(tmp_path, api_tokens_file=path))
    assert who(client) is None
    assert client.get("/api/whoami").json() == {"authenticated": False, "method": "none", "ways": ["token"]}
    assert who(client, X_Hope_Token=token) == "token:reader"


def test_api_tokens_open_by_either_header(tmp_path: Path) -> None:
    path, [first, second] = tokens_file(tmp_path, "reader", "robot")
    client = client_of(settings_for(tmp_path, host=EVERYWHERE, api_tokens_file=path))
    assert who(client, X_Hope_Token=first) == "token:reader"
    assert who(client, Authorization=f"Bearer {second}") == "token:robot"
    assert who(client, Authorization=f"bearer {second}") == "token:robot"
    assert client.get("/api/whoami", headers={"X-Hope-Token": first}).json()["method"] == "token"


def test_what_is_no_api_token_opens_nothing(tmp_path: Path) -> None:
    path, [token] = tokens_file(tmp_path, "reader")
    client = client_of(settings_for(tmp_path, host=EVERYWHERE, api_tokens_file=path))
    wrong = [token[:-1], token + "x", token.upper(), token.removeprefix("hope_"), token_hash(token), "reader", "hope_"]
    for text in [*wrong, new_token()]:
        assert who(client, X_Hope_Token=text) is None, text
        assert who(client, Authorization=f"Bearer {text}") is None, text
    assert who(client, Authorization=f"Basic {token}") is None
    assert who(client, Cookie=f"hope_token={token}") is None


def test_a_hash_without_the_prefix_is_no_api_token(tmp_path: Path) -> None:
    # A session's token must not pass for an API token, even if somebody put its hash into the file.
    session = new_token()
    path = tmp_path / "tokens"
    append_line(path, f"odd {token_hash(session)}")
    assert ApiTokens(path).name_of(session) is None


def test_the_tokens_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path, [first] = tokens_file(tmp_path, "reader")
    tokens = ApiTokens(path)
    assert tokens.name_of(first) == "reader"
    second, line = new_api_token("robot")
    append_line(path, line)
    assert (tokens.name_of(first), tokens.name_of(second)) == ("reader", "robot")
    # Revoked by an edit in place that leaves size and, on purpose, the time of change as they were.
    before = path.stat()
    third, other = new_api_token("reader")
    path.write_text(f"{other}\n{line}\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert (tokens.name_of(first), tokens.name_of(third)) == (None, "reader")


def test_a_tokens_file_that_breaks_lets_nobody_in_until_it_is_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, [token] = tokens_file(tmp_path, "reader")
    tokens = ApiTokens(path)
    good = path.read_text()
    assert tokens.name_of(token) == "reader"
    for breaking in (lambda: path.unlink(), lambda: path.write_text("nonsense\n"), lambda: path.chmod(0o666)):
        breaking()
        assert tokens.name_of(token) is None
        assert tokens.name_of(token) is None
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 3
    path.unlink()
    path.touch(mode=0o600)
    path.write_text(good)
    assert tokens.name_of(token) == "reader"


def test_names_and_comments_in_a_tokens_file(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.touch(mode=0o600)
    path.write_text(f"# programs\n  a.b-c_1   {'A' * 64}   # the reader\n\nb {'b' * 64}")
    assert read_tokens(path) == (("a.b-c_1", "a" * 64), ("b", "b" * 64))
    append_line(path, f"c {'c' * 64}")
    assert [name for name, _ in read_tokens(path)] == ["a.b-c_1", "b", "c"]
    for name in ("", "a b", "a\nb", "x" * 65, "-a", "naïve"):
        with pytest.raises(InputError):
            new_api_token(name)


# --- OpenID Connect


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    made = FakeIssuer()
    yield made
    made.close()


@pytest.fixture
def settings(tmp_path: Path, issuer: FakeIssuer) -> Settings:
    values = {"oidc_issuer": issuer.url, "oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET}
    made = settings_for(tmp_path, public_url=HERE, **values)
    check_may_serve(made)
    return made


@pytest.fixture
def client(settings: Settings) -> TestClient:
    return client_of(settings)


def at_issuer(client: TestClient) -> str:
    """Begin to sign in; the address to which the issuer sends the browser back."""
    start = client.get("/auth/login")
    assert start.status_code == 302, start.text
    with httpx.Client(trust_env=False) as browser:
        return browser.get(start.headers["location"]).headers["location"]


def refused(client: TestClient, address: str) -> dict[str, object]:
    answer = client.get(address)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert who(client) is None
    body: dict[str, object] = answer.json()
    return body


def test_signing_in_gives_a_hash_and_nothing_of_the_person(
    client: TestClient, issuer: FakeIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="hope")
    assert client.get("/api/whoami").json() == {
        "authenticated": False,
        "method": "none",
        "ways": ["oidc"],
        "sign_in_url": "/auth/login",
    }
    assert who(client) is None
    done = client.get(at_issuer(client))
    assert (done.status_code, done.headers["location"]) == (303, "/")
    owner = who(client)
    assert owner is not None and re.fullmatch(r"oidc:[0-9a-f]{32}", owner)
    assert client.get("/api/whoami").json()["method"] == "oidc"
    asked = issuer.asked[0]
    assert (asked["scope"], asked["code_challenge_method"], asked["response_type"]) == ("openid", "S256", "code")
    assert asked["redirect_uri"] == f"{HERE}/auth/callback"
    kept = " ".join(f"{cookie.name}={decoded(cookie.value or '')}" for cookie in client.cookies.jar)
    for secret in ("person-17", "NAME-OF-A-PERSON", "person@example.org"):
        assert secret not in kept + done.text + str(done.headers) + caplog.text


def decoded(value: str) -> str:
    """A signed cookie's readable part beside its raw text."""
    payload = value.strip('"').split(".")[0]
    return value + base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode("latin-1")


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(client: TestClient, settings: Settings) -> None:
    start = client.get("/auth/login").headers["set-cookie"].lower()
    assert "httponly" in start and "samesite=lax" in start and "max-age=600" in start
    done = client.get(at_issuer(client)).headers.get_list("set-cookie")
    login = next(line.lower() for line in done if line.startswith("hope_login="))
    assert "httponly" in login and "samesite=strict" in login and f"max-age={8 * 3600}" in login


def test_cookies_of_a_server_with_tls_are_bound_to_it(tmp_path: Path, issuer: FakeIssuer) -> None:
    values = {**OIDC, "oidc_issuer": issuer.url}
    with TestClient(
        app_of(settings_for(tmp_path, **values)), base_url="https://hope.example.org", follow_redirects=False
    ) as client:
        line = client.get("/auth/login").headers["set-cookie"]
        assert line.startswith("__Host-hope_flow=") and "Secure" in line and "Path=/;" in line
        assert client.get(at_issuer(client)).status_code == 303
        assert (who(client) or "").startswith("oidc:")


def test_the_same_person_is_the_same_owner_on_every_gateway(settings: Settings, issuer: FakeIssuer) -> None:
    first, second = client_of(settings), client_of(settings)
    for client in (first, second):
        assert client.get(at_issuer(client)).status_code == 303
    assert who(first) == who(second) is not None
    # One gateway's login is good at the next one.
    third = client_of(settings)
    third.cookies = first.cookies
    assert who(third) == who(first)
    issuer.claims = {"sub": "person-18"}
    other = client_of(settings)
    other.get(at_issuer(other))
    assert who(other) != who(first)


def test_signing_out_forgets_the_login(client: TestClient) -> None:
    client.get(at_issuer(client))
    assert who(client) is not None
    assert client.post("/auth/logout").status_code == 204
    assert who(client) is None


def test_a_changed_or_old_login_cookie_is_nobody(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.get(at_issuer(client))
    value = str(client.cookies["hope_login"])
    owner = who(client)
    # Not the last character: some of its bits are padding and mean nothing.
    forged = value[:-5] + ("A" if value[-5] != "A" else "B") + value[-4:]
    for changed in (forged, value.split(".")[0], "", "x" * 5000):
        assert who(client_with(client, "hope_login", changed)) is None
    forged = base64.urlsafe_b64encode(json.dumps("oidc:" + "0" * 32).encode()).rstrip(b"=").decode()
    assert who(client_with(client, "hope_login", ".".join([forged, *value.split(".")[1:]]))) is None
    assert who(client_with(client, "hope_login", value)) == owner
    from hope.web.auth import oidc

    monkeypatch.setattr(oidc, "LOGIN_SECONDS", -1)
    assert who(client_with(client, "hope_login", value)) is None


def client_with(client: TestClient, name: str, value: str) -> TestClient:
    other = TestClient(client.app, base_url=HERE, follow_redirects=False)
    other.cookies.set(name, value)
    return other


def test_a_flow_cookie_does_not_pass_for_a_login(client: TestClient) -> None:
    client.get("/auth/login")
    assert who(client_with(client, "hope_login", str(client.cookies["hope_flow"]))) is None


def test_a_wrong_state_is_refused_before_the_issuer_is_asked(client: TestClient, issuer: FakeIssuer) -> None:
    address = at_issuer(client)
    state = parse_qs(urlsplit(address).query)["state"][0]
    refused(client, address.replace(state, "another"))
    refused(client, "/auth/callback?code=code-1")
    refused(client, "/auth/callback")
    assert issuer.token_calls == 0


def test_another_browser_cannot_finish_a_sign_in(client: TestClient, settings: Settings, issuer: FakeIssuer) -> None:
    address = at_issuer(client)
    body = refused(client_of(settings), address)
    assert "in this browser" in str(body["detail"])
    assert issuer.token_calls == 0


def test_an_address_works_once(client: TestClient) -> None:
    address = at_issuer(client)
    assert client.get(address).status_code == 303
    assert "hope_flow" not in client.cookies
    client.post("/auth/logout")
    refused(client, address)


def test_a_code_of_another_sign_in_does_not_fit_the_verifier(client: TestClient, settings: Settings) -> None:
    stolen = parse_qs(urlsplit(at_issuer(client_of(settings))).query)["code"][0]
    address = at_issuer(client)
    own = parse_qs(urlsplit(address).query)["code"][0]
    refused(client, address.replace(own, stolen))


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://other.example.org"},
        {"iss": None},
        {"aud": "another-client"},
        {"aud": ["another-client"], "azp": CLIENT_ID},
        {"aud": None},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 17},
    ],
    ids=str,
)
def test_claims_that_do_not_hold_are_refused(client: TestClient, issuer: FakeIssuer, claims: dict[str, object]) -> None:
    issuer.claims = claims
    refused(client, at_issuer(client))


def test_an_answer_that_names_another_issuer_is_refused(client: TestClient, issuer: FakeIssuer) -> None:
    refused(client, at_issuer(client) + "&iss=https://other.example.org")
    assert issuer.token_calls == 0


def test_an_error_of_the_issuer_is_a_refusal_without_its_words(client: TestClient) -> None:
    state = parse_qs(urlsplit(at_issuer(client)).query)["state"][0]
    body = refused(client, f"/auth/callback?error=access_denied&error_description=<b>words</b>&state={state}")
    assert "words" not in json.dumps(body)


def test_a_token_that_another_key_signed_is_refused(client: TestClient, issuer: FakeIssuer) -> None:
    issuer.signer = RSAKey.generate_key(2048, parameters={"kid": "one"})
    refused(client, at_issuer(client))


def test_a_token_signed_with_the_shared_secret_is_refused_even_if_the_issuer_offers_it(
    client: TestClient, issuer: FakeIssuer
) -> None:
    issuer.algorithms = ["HS256", "none"]
    issuer.header, issuer.signer = {"alg": "HS256"}, symmetric_key(CLIENT_SECRET)
    refused(client, at_issuer(client))


def test_an_unsigned_token_is_refused_even_if_the_issuer_offers_it(client: TestClient, issuer: FakeIssuer) -> None:
    issuer.algorithms = ["none", "RS256"]
    address = at_issuer(client)
    _, claims, _ = issuer.id_token(issuer.asked[-1]).split(".")
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    issuer.forged = f"{header}.{claims}."
    refused(client, address)


def test_an_answer_without_id_token_is_refused(client: TestClient, issuer: FakeIssuer) -> None:
    issuer.with_id_token = False
    refused(client, at_issuer(client))


def test_a_key_that_was_changed_meanwhile_is_fetched(client: TestClient, issuer: FakeIssuer) -> None:
    assert client.get(at_issuer(client)).status_code == 303
    issuer.key = issuer.signer = RSAKey.generate_key(2048, parameters={"kid": "two", "use": "sig"})
    issuer.header = {"alg": "RS256", "kid": "two"}
    client.post("/auth/logout")
    assert client.get(at_issuer(client)).status_code == 303


def test_an_issuer_that_calls_itself_otherwise_is_refused(client: TestClient, issuer: FakeIssuer) -> None:
    issuer.says_issuer = "https://other.example.org"
    assert client.get("/auth/login").status_code == 502
    issuer.says_issuer = ""
    assert client.get("/auth/login").status_code == 302


def test_an_issuer_that_does_not_answer_is_no_fault_of_ours(settings: Settings, issuer: FakeIssuer) -> None:
    client = client_of(settings)
    address = at_issuer(client)
    issuer.close()
    assert client.get(address).status_code == 502
    assert client_of(settings).get("/auth/login").status_code == 502


def test_starting_writes_nothing_that_an_operator_need_not_know(tmp_path: Path) -> None:
    """The libraries of OpenID Connect are loaded where it is used only, and their announcements are not passed on."""
    program = (
        "import sys\n"
        "from hope.settings import Settings\n"
        "from hope.web.auth.auth import Authenticator\n"
        "Authenticator(Settings.from_environment({}))\n"
        "assert 'authlib' not in sys.modules\n"
        "Authenticator(Settings.from_environment())\n"
        "assert 'authlib' in sys.modules\n"
    )
    environment = {f"HOPE_{name.upper()}": value for name, value in OIDC.items()}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert (run.returncode, run.stderr) == (0, "")
