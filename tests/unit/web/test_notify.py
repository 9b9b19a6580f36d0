"""Notifications: what is told to whom, over real sockets; where a webhook may go; and failures that harm nobody."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.unit.web.settings_for import EVERYWHERE, settings_for

from hope.contract.job import CaseEvent, CaseRecord, CaseState, EventKind, Session
from hope.domain.errors import InputError
from hope.domain.ids import new_id
from hope.web import webhooks
from hope.web.notify import Notifier
from hope.web.outboxes import LONGEST_QUEUE, Outboxes
from hope.web.outboxes import Receiver as Receiver_
from hope.web.webhooks import RefusedTargetError, checked_targets, may_call, post, send_mail

PATIENT = 60.0
"""A wait for a receiver that a slow machine does not take for the end of an unneeded one."""


class Store:
    """Sessions, cases and events, as the notifier sees them."""

    def __init__(self) -> None:
        self.held: dict[str, Session] = {}
        self.owned: dict[str, list[CaseRecord]] = {}
        self.log: list[CaseEvent] = []
        self.broken = False
        self.ahead = 0.0
        self.looks = 0

    def add_session(self, **notify: str) -> str:
        session = Session(new_id(), "local", 0.0, 0.0, notify=notify)
        self.held[session.id], self.owned[session.id] = session, []
        return session.id

    def add_case(self, session_id: str) -> str:
        case = CaseRecord(new_id(), session_id, len(self.owned[session_id]) + 1, CaseState.NEW, 0.0)
        self.owned[session_id].append(case)
        return case.id

    def happens(self, case_id: str, kind: EventKind = EventKind.STATE, at: float | None = None, **data: Any) -> None:
        data = {"run": 1, **data}
        self.log.append(CaseEvent(len(self.log) + 1, case_id, self.now() if at is None else at, kind, data))

    def now(self) -> float:
        return time.time() + self.ahead

    def sessions(self) -> list[Session]:
        self.looks += 1
        if self.broken:
            raise OSError("the database is away")
        return list(self.held.values())

    def cases(self, session_id: str) -> list[CaseRecord]:
        return list(self.owned[session_id])

    def events(self, case_ids: Collection[str], after: int, limit: int = 500) -> list[CaseEvent]:
        return [event for event in self.log if event.number > after and event.case_id in case_ids][:limit]


class Receiver:
    """An HTTP server that keeps what it is sent, and answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.location = ""
        self.endless = False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append((self.path, headers, body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.end_headers()
                while receiver.endless:
                    try:
                        self.wfile.write(b"x" * 65_536)
                    except OSError:
                        return

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/hook?key=SECRET-KEY"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.endless = False
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def while_running(notifier: Notifier, done: Callable[[], bool], act: Callable[[], None] = lambda: None) -> None:
    """Run the notifier until something is so, at most a minute; then a little longer, for what should not come."""

    async def go() -> None:
        task = asyncio.create_task(notifier.run())
        await asyncio.sleep(0.1)
        await asyncio.to_thread(act)
        deadline = time.monotonic() + PATIENT
        while not done() and time.monotonic() < deadline:
            assert not task.done()
            await asyncio.sleep(0.01)
        assert done()
        await asyncio.sleep(0.15)
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(go())


def notifier_of(folder: Path, store: Store, back_off: tuple[float, ...] = (0.01, 0.01), **platform: object) -> Notifier:
    return Notifier(settings_for(folder, **platform), store, poll_seconds=0.02, back_off_seconds=back_off)


# --- what is told


def test_key_steps_are_told_by_webhook_without_identity(tmp_path: Path, receiver: Receiver) -> None:
    store = Store()
    session = store.add_session(webhook=receiver.url)
    store.add_case(session)
    case = store.add_case(session)

    def steps() -> None:
        store.happens(case, EventKind.SERIES, sequence="t1c", key="t1c")
        store.happens(case, state="queued")
        store.happens(case, state="running")
        store.happens(case, EventKind.PROGRESS, stage="segment", share=0.5, message="x")
        store.happens(case, EventKind.STAGE, stage="segment", state="failed")
        store.happens(case, state="running")
        store.happens(case, state="done", problem="PROBLEM-TEXT")

    while_running(
        notifier_of(tmp_path, store, public_url="http://localhost:8080"), lambda: len(receiver.got) >= 2, steps
    )
    bodies = [json.loads(body) for _, _, body in receiver.got]
    assert sorted(body["state"] for body in bodies) == ["done", "running"]
    for body in bodies:
        assert set(body) == {"case_number", "state", "at", "url"}
        assert body["case_number"] == 2
        assert abs(body["at"] - time.time()) < 60
    path, headers, _ = receiver.got[0]
    assert path == "/hook?key=SECRET-KEY"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    everything = repr(receiver.got)
    for secret in (case, session, case[:8], "PROBLEM-TEXT"):
        assert secret not in everything


def test_a_failure_and_a_second_run_are_told(tmp_path: Path, receiver: Receiver) -> None:
    store = Store()
    case = store.add_case(store.add_session(webhook=receiver.url))

    def steps() -> None:
        for run in (1, 2):
            store.happens(case, state="running", run=run)
            store.happens(case, state="failed", run=run, problem="x")
            store.happens(case, state="cancelled", run=run)

    while_running(notifier_of(tmp_path, store), lambda: len(receiver.got) >= 4, steps)
    assert sorted(json.loads(body)["state"] for _, _, body in receiver.got) == ["failed"] * 2 + ["running"] * 2
    assert len({headers["x-hope-event"] for _, headers, _ in receiver.got}) == 4


def test_nobody_else_is_told(tmp_path: Path, receiver: Receiver) -> None:
    store = Store()
    quiet = store.add_case(store.add_session())
    asking = store.add_case(store.add_session(webhook=receiver.url))

    def steps() -> None:
        store.happens(quiet, state="done")
        store.happens(asking, state="done")

    while_running(notifier_of(tmp_path, store), lambda: bool(receiver.got), steps)
    assert len(receiver.got) == 1


def test_the_clock_of_the_gateway_does_not_matter(tmp_path: Path, receiver: Receiver) -> None:
    """It is an hour ahead of the store's, by which events are written."""
    store = Store()
    store.ahead = -3600.0
    case = store.add_case(store.add_session(webhook=receiver.url))
    while_running(notifier_of(tmp_path, store), lambda: bool(receiver.got), lambda: store.happens(case, state="done"))
    assert [json.loads(body)["state"] for _, _, body in receiver.got] == ["done"]


def test_the_past_is_not_told(tmp_path: Path, receiver: Receiver) -> None:
    store = Store()
    session = store.add_session(webhook=receiver.url)
    case = store.add_case(session)
    store.happens(case, state="running", at=time.time() - 3600)
    # Neither is it for a session that asks later, when others' events have moved on.
    late = store.add_session()
    late_case = store.add_case(late)
    store.happens(late_case, state="done", at=time.time() - 3600)

    def steps() -> None:
        store.held[late] = Session(late, "local", 0.0, 0.0, notify={"webhook": receiver.url})
        time.sleep(0.1)
        store.happens(case, state="done")

    while_running(notifier_of(tmp_path, store), lambda: bool(receiver.got), steps)
    assert [json.loads(body)["state"] for _, _, body in receiver.got] == ["done"]


def test_more_events_than_a_page(tmp_path: Path, receiver: Receiver) -> None:
    store = Store()
    case = store.add_case(store.add_session(webhook=receiver.url))

    def steps() -> None:
        for number in range(1200):
            store.happens(case, EventKind.PROGRESS, share=number / 1200)
        store.happens(case, state="done")

    while_running(notifier_of(tmp_path, store), lambda: bool(receiver.got), steps)
    assert len(receiver.got) == 1


def test_two_gateways_name_an_event_alike(tmp_path: Path, receiver: Receiver) -> None:
    store = Store()
    case = store.add_case(store.add_session(webhook=receiver.url))
    first, second = notifier_of(tmp_path, store), notifier_of(tmp_path, store)
    while_running(first, lambda: len(receiver.got) == 1, lambda: store.happens(case, state="done"))
    while_running(second, lambda: len(receiver.got) == 2)
    assert len({headers["x-hope-event"] for _, headers, _ in receiver.got}) == 1


# --- what goes wrong


def test_a_webhook_is_tried_three_times(tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    case = store.add_case(store.add_session(webhook=receiver.url))
    receiver.statuses = [500, 503]
    while_running(
        notifier_of(tmp_path, store), lambda: len(receiver.got) >= 3, lambda: store.happens(case, state="done")
    )
    assert len({headers["x-hope-event"] for _, headers, _ in receiver.got}) == 1
    receiver.statuses = [500] * 10
    while_running(
        notifier_of(tmp_path, store), lambda: len(receiver.got) >= 6, lambda: store.happens(case, state="failed")
    )
    written = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "not delivered" in written
    for secret in ("SECRET-KEY", "127.0.0.1", "/hook", case):
        assert secret not in written


def test_one_dead_receiver_does_not_keep_the_others_waiting(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", PATIENT)
    store = Store()
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        dead = store.add_case(store.add_session(webhook=f"http://127.0.0.1:{deaf.getsockname()[1]}/"))
        alive = store.add_case(store.add_session(webhook=receiver.url))

        def steps() -> None:
            store.happens(dead, state="done")
            time.sleep(0.1)
            store.happens(alive, state="done")

        begun = time.monotonic()
        while_running(notifier_of(tmp_path, store), lambda: bool(receiver.got), steps)
        assert time.monotonic() - begun < PATIENT


def test_a_store_that_is_away_for_a_while_is_asked_again(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    case = store.add_case(store.add_session(webhook=receiver.url))
    store.broken = True

    def steps() -> None:
        looks = store.looks
        while store.looks < looks + 3:
            time.sleep(0.01)
        store.happens(case, state="done")
        store.broken = False

    while_running(notifier_of(tmp_path, store), lambda: bool(receiver.got), steps)
    assert any(record.levelno == logging.ERROR for record in caplog.records)


def test_too_many_waiting_are_dropped_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, release = Store(), threading.Event()
    case = store.add_case(store.add_session(webhook="http://127.0.0.1:9/"))
    sent: list[str] = []

    async def stuck(url: str, body: Any, event_id: str, *, public: bool) -> None:
        await asyncio.to_thread(release.wait, 10)
        sent.append(event_id)

    notifier = Notifier(settings_for(tmp_path), store, poll_seconds=0.02, webhook=stuck)

    def steps() -> None:
        for run in range(LONGEST_QUEUE + 50):
            store.happens(case, state="done", run=run)
        while not any("dropped" in record.getMessage() for record in caplog.records):
            time.sleep(0.01)
        release.set()

    while_running(notifier, lambda: len(sent) >= LONGEST_QUEUE, steps)
    assert len(sent) == LONGEST_QUEUE


def test_notices_of_a_session_that_has_ended_are_not_kept(tmp_path: Path) -> None:
    store, tried = Store(), threading.Event()
    session = store.add_session(webhook="http://127.0.0.1:9/")
    case = store.add_case(session)
    alive = store.add_session(webhook="http://127.0.0.1:9/")

    async def failing(url: str, body: Any, event_id: str, *, public: bool) -> None:
        tried.set()
        raise OSError

    notifier = Notifier(settings_for(tmp_path), store, poll_seconds=0.02, back_off_seconds=(60.0,), webhook=failing)

    def steps() -> None:
        store.happens(case, state="done")
        assert tried.wait(10)
        del store.held[session]

    while_running(notifier, lambda: tried.is_set() and not notifier.waiting, steps)
    assert alive in store.held


def test_after_failures_each_pause_is_longer_and_a_success_forgets_them(tmp_path: Path) -> None:
    tried: list[float] = []
    answers = [False, False, False, True, False, True]

    async def send(receiver: Receiver_, notice: int) -> None:
        tried.append(time.monotonic())
        if not answers[len(tried) - 1]:
            raise OSError

    async def go() -> None:
        outboxes = Outboxes[int](send, (0.05, 0.2, 0.4))
        for number in range(2):
            outboxes.put(Receiver_("session", "webhook", "http://x"), number)
        while len(tried) < len(answers):
            await asyncio.sleep(0.01)
        await outboxes.close()

    asyncio.run(asyncio.wait_for(go(), PATIENT))
    pauses = [later - earlier for earlier, later in itertools.pairwise(tried)]
    for pause, least in zip(pauses, (0.05, 0.2, 0.4, 0.0, 0.05), strict=True):
        assert least <= pause < least + 0.15


# --- where a webhook may go

INSIDE = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",  # noqa: S104
    "100.64.0.1",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1%eth0",
    "ff02::1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a00:1",
    "64:ff9b:1::a00:1",
    "2002:a00:1::",
    "2001:0:a00:1::",
    "192.0.0.170",
    "198.18.0.1",
    "203.0.113.1",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_a_public_server_calls_nothing_inside(address: str) -> None:
    assert not may_call(address, public=True)


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_a_public_server_calls_the_world(address: str) -> None:
    assert may_call(address, public=True)


def test_on_loopback_the_machine_itself_may_be_called_but_no_metadata_service() -> None:
    assert may_call("127.0.0.1", public=False)
    assert may_call("192.168.1.1", public=False)
    assert not may_call("169.254.169.254", public=False)
    assert not may_call("::ffff:169.254.169.254", public=False)


def resolver_of(*addresses: list[str]) -> Any:
    answers = list(addresses)

    async def resolve(host: str, port: int) -> list[str]:
        return answers.pop(0)

    return resolve


@pytest.mark.parametrize("found", [["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:127.0.0.1"], []])
def test_a_name_that_leads_inside_is_refused_before_any_connection(found: list[str]) -> None:
    with pytest.raises(RefusedTargetError):
        asyncio.run(post("https://hook.example.org/", {}, "e", public=True, resolver=resolver_of(found)))


def test_the_connection_goes_to_the_address_that_was_checked(receiver: Receiver) -> None:
    """The name leads inside at a second look; there is none. The name itself does not exist for the system."""
    url = f"http://hook.invalid:{receiver.port}/path"
    asyncio.run(post(url, {"a": 1}, "e", public=False, resolver=resolver_of(["127.0.0.1"], ["169.254.169.254"])))
    [(path, headers, body)] = receiver.got
    assert (path, headers["host"], json.loads(body)) == ("/path", f"hook.invalid:{receiver.port}", {"a": 1})


def test_tls_is_asked_and_checked_under_the_name_not_the_address(tmp_path: Path) -> None:
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own_certificate(tmp_path, "hook.invalid"))
    context.sni_callback = lambda connection, name, _: asked.append(name)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept_once, args=(listening, context), daemon=True)
        thread.start()
        url = f"https://hook.invalid:{listening.getsockname()[1]}/"
        # Nobody vouches for this certificate, so nothing may be sent to whoever shows it.
        with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
            asyncio.run(post(url, {}, "e", public=False, resolver=resolver_of(["127.0.0.1"])))
        thread.join(5)
    assert asked == ["hook.invalid"]


def own_certificate(folder: Path, name: str) -> Path:
    """A file with a fresh key and a certificate that the key signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "certificate.pem"
    path.write_bytes(plain + certificate.public_bytes(pem))
    return path


def accept_once(listening: socket.socket, context: ssl.SSLContext) -> None:
    """Take one connection as far as the client goes along."""
    connection, _ = listening.accept()
    with suppress(OSError), context.wrap_socket(connection, server_side=True) as encrypted:
        encrypted.recv(1)


def test_another_address_of_the_name_is_tried(receiver: Receiver) -> None:
    url = f"http://hook.invalid:{receiver.port}/"
    asyncio.run(post(url, {}, "e", public=False, resolver=resolver_of(["127.0.0.9", "127.0.0.1"])))
    assert len(receiver.got) == 1


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    receiver.statuses, receiver.location = [307, 307], receiver.url
    with pytest.raises(httpx.HTTPError, match="status 307"):
        asyncio.run(post(receiver.url, {}, "e", public=False))
    assert len(receiver.got) == 1


def test_an_endless_answer_is_not_read(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", PATIENT)
    receiver.endless = True
    begun = time.monotonic()
    asyncio.run(post(receiver.url, {}, "e", public=False))
    assert time.monotonic() - begun < PATIENT


def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    asyncio.run(post(receiver.url, {}, "e", public=False))
    assert len(receiver.got) == 1


def test_the_notifier_of_a_public_server_refuses_loopback(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    case = store.add_case(store.add_session(webhook=f"https://127.0.0.1:{receiver.port}/"))
    caplog.set_level(logging.WARNING)

    def refused() -> bool:
        return any("not one that this server may call" in record.getMessage() for record in caplog.records)

    while_running(notifier_of(tmp_path, store, host=EVERYWHERE), refused, lambda: store.happens(case, state="done"))
    assert receiver.got == []


# --- what users may ask for


def test_targets_are_checked_when_they_are_given(tmp_path: Path) -> None:
    local = settings_for(tmp_path, smtp_url="smtp://localhost:25").platform
    public = settings_for(tmp_path, host=EVERYWHERE).platform
    given = {"webhook": " http://127.0.0.1:9/x ", "email": "name@example.org"}
    assert checked_targets(local, given) == {"webhook": "http://127.0.0.1:9/x", "email": "name@example.org"}
    assert checked_targets(local, {"webhook": "", "email": " "}) == {}
    assert checked_targets(public, {"webhook": "https://hook.example.org/x"})["webhook"]
    with pytest.raises(InputError, match="https"):
        checked_targets(public, {"webhook": "http://hook.example.org/x"})
    for inside in ("127.0.0.1", "10.0.0.1:8443", "[::1]", "[::ffff:10.0.0.1]", "localhost", "a.localhost"):
        with pytest.raises(InputError, match="none that this server may call"):
            checked_targets(public, {"webhook": f"https://{inside}/x"})
    with pytest.raises(InputError, match="link-local"):
        checked_targets(local, {"webhook": "http://169.254.169.254/latest"})
    with pytest.raises(InputError, match="no e-mail"):
        checked_targets(public, {"email": "name@example.org"})


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org",
        "file:///etc/passwd",
        "https://",
        "https://user:word@example.org",
        "https://example.org:99999",
        "https://[::1",
        "https://exämple.org",
        "https://example.org/a b",
        "https://example.org/\r\nX: y",
        "https://example.org/" + "x" * 500,
        "example.org",
    ],
)
def test_webhooks_that_are_no_usable_url_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="the webhook is not usable") as caught:
        checked_targets(settings_for(tmp_path).platform, {"webhook": url})
    # It may hold a secret of another service.
    assert caught.value.got == ""


@pytest.mark.parametrize(
    "address",
    ["a", "a@", "@b", "a@b@c", "a b@c.org", "a@b.org\nBcc: c@d.org", "a@b.org, c@d.org", "Name <a@b.org>", "a@-b.org"],
)
def test_addresses_that_are_none_or_many_are_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(InputError):
        checked_targets(settings_for(tmp_path, smtp_url="smtp://localhost").platform, {"email": address})


# --- e-mail


class MailServer:
    """A small SMTP server on loopback: says what it is told to offer, keeps what it gets."""

    def __init__(self, *offers: str) -> None:
        self.lines: list[str] = []
        self._offers = offers
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"smtp://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with connection, connection.makefile("rwb", buffering=0) as stream:
            stream.write(b"220 here\r\n")
            in_data = False
            for raw in stream:
                line = raw.decode().rstrip("\r\n")
                self.lines.append(line)
                if in_data:
                    in_data = line != "."
                    answer = "" if in_data else "250 kept"
                elif line.upper().startswith("EHLO"):
                    answer = "\r\n".join([f"250-{offer}" for offer in ("here", *self._offers)] + ["250 8BITMIME"])
                elif line.upper() == "DATA":
                    in_data, answer = True, "354 go on"
                elif line.upper() == "QUIT":
                    stream.write(b"221 bye\r\n")
                    return
                else:
                    answer = "250 fine"
                if answer:
                    stream.write(answer.encode() + b"\r\n")

    def close(self) -> None:
        self._socket.close()
        self._thread.join(5)


def test_e_mail_names_the_case_by_number_only(tmp_path: Path) -> None:
    server, store = MailServer(), Store()
    session = store.add_session(email="name@example.org")
    case = store.add_case(session)
    notifier = notifier_of(
        tmp_path, store, smtp_url=server.url, mail_from="hope@example.org", public_url="http://localhost:8080"
    )
    while_running(notifier, lambda: "QUIT" in server.lines, lambda: store.happens(case, state="failed", problem="WHY"))
    server.close()
    text = "\n".join(server.lines)
    assert re.search(r"rcpt TO:<name@example.org>", text, re.IGNORECASE)
    assert "Subject: HOPE: case 1 has failed" in text
    assert "From: hope@example.org" in text
    assert "http://localhost:8080" in text
    assert "not a medical device" in text.lower()
    for secret in (case, session, "WHY"):
        assert secret not in text


def test_a_password_never_goes_in_the_clear(tmp_path: Path) -> None:
    server = MailServer("AUTH PLAIN LOGIN")
    url = server.url.replace("smtp://", "smtp://robot:PASSWORD@")
    with pytest.raises(Exception, match=r"(?i)starttls"):
        send_mail(settings_for(tmp_path, smtp_url=url).platform, "name@example.org", "s", "t", "e")
    server.close()
    text = "\n".join(server.lines)
    assert "AUTH" not in text.upper().replace("EHLO", "")
    assert "DATA" not in text


def test_a_mail_server_that_is_away_is_logged_without_addresses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    case = store.add_case(store.add_session(email="name@example.org"))
    notifier = notifier_of(tmp_path, store, smtp_url="smtp://127.0.0.1:9")

    def tried() -> bool:
        return len([record for record in caplog.records if "not delivered" in record.getMessage()]) >= 3

    while_running(notifier, tried, lambda: store.happens(case, state="done"))
    written = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "example.org" not in written
