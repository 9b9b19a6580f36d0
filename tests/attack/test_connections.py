"""Clients that hold connections: half a header, a body that trickles, an answer that nobody reads."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from tests.attack.conftest import FILES, LONG, log_bytes, open_files

from hope.testing.fleet import Fleet, SessionClient, small_scan
from hope.testing.live_files import files_below

pytestmark = pytest.mark.alone

HALF_HEADERS = 3000 if LONG else 1010
KIB = 1024


def connected(fleet: Fleet) -> socket.socket:
    return socket.create_connection(("127.0.0.1", fleet.port), timeout=30)


@contextmanager
def half_headers(fleet: Fleet, count: int) -> Iterator[list[socket.socket]]:
    """So many connections, each with the beginning of a header."""
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(stack.enter_context(connected(fleet)))
            made[-1].sendall(b"GET /api/session HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        yield made


def end_of(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    connection.settimeout(20)
    held = b""
    try:
        while chunk := connection.recv(65536):
            held += chunk
    except ConnectionResetError:
        pass
    return held


def test_half_sent_headers_stop_nobody(platform: Fleet) -> None:
    other = platform.client()
    before = log_bytes(platform)
    case = other.new_case({"t1c": small_scan(), "t2f": small_scan(1)})
    slowest = 0.0
    with half_headers(platform, HALF_HEADERS):
        files = open_files(platform)
        assert files < FILES - 256
        other.run(case)
        deadline = time.monotonic() + 60
        state = ""
        while state not in ("done", "failed") and time.monotonic() < deadline:
            begun = time.monotonic()
            state = httpx.get(
                f"{platform.url}/api/cases/{case}", headers={"Authorization": f"Bearer {other.token}"}, timeout=10
            ).json()["state"]
            slowest = max(slowest, time.monotonic() - begun)
            time.sleep(0.05)
    assert state == "done", platform.logs()
    assert slowest < 5.0
    log = log_bytes(platform) - before
    assert log < 64 * KIB, platform.logs()
    print(f"{HALF_HEADERS} half headers: {files} files open, slowest call {slowest:.2f} s, {log} bytes of log")  # noqa: T201


def test_a_header_that_trickles_is_ended(platform: Fleet) -> None:
    with connected(platform) as connection:
        begun = time.monotonic()
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        try:
            while time.monotonic() - begun < 15:
                connection.sendall(b"X-A: b\r\n")
                time.sleep(0.2)
        except OSError:
            pass
        assert time.monotonic() - begun < 8


def test_half_a_header_is_told_why(platform: Fleet) -> None:
    with connected(platform) as connection, connected(platform) as silent:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert b"408 Request Timeout" in end_of(connection)
        assert b"408 Request Timeout" in end_of(silent)


def upload_head(client: SessionClient, case: str, length: int) -> bytes:
    return (
        f"PUT /api/cases/{case}/series/t1c HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {client.token}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def test_a_body_that_trickles_is_ended_and_leaves_nothing(platform: Fleet) -> None:
    client = platform.client()
    case = client.new_case({})
    with connected(platform) as connection:
        connection.sendall(upload_head(client, case, 10**6))
        begun = time.monotonic()
        try:
            while time.monotonic() - begun < 30:
                connection.sendall(b"x" * 10)
                time.sleep(0.1)
        except OSError:
            pass
        assert time.monotonic() - begun < 12
    deadline = time.monotonic() + 5
    while (
        left := [p for p in files_below(platform.folder / "data") if p.name.startswith("upload-")]
    ) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def test_a_body_that_trickles_to_any_address_is_ended(platform: Fleet) -> None:
    with ExitStack() as stack:
        going = {}
        for path in ("/api/session", "/api/session/leave", "/nowhere"):
            going[path] = stack.enter_context(connected(platform))
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            going[path].sendall(f"{head}Content-Length: 5000\r\n\r\n".encode())
        begun = time.monotonic()
        while going and time.monotonic() - begun < 15:
            for path, connection in list(going.items()):
                try:
                    connection.sendall(b" ")
                except OSError:
                    del going[path]
            time.sleep(0.1)
        assert not going


def test_an_answer_that_nobody_reads_is_ended(platform: Fleet) -> None:
    client = platform.client()
    case = client.new_case({"t1c": small_scan(shape=(256, 256, 128))})
    idle = open_files(platform)
    with connected(platform) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(
            f"GET /api/cases/{case}/series/t1c HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {client.token}\r\n\r\n".encode()
        )
        deadline = time.monotonic() + 5
        while open_files(platform) < idle + 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert open_files(platform) >= idle + 2, "the connection and the file"
        while open_files(platform) > idle and time.monotonic() < deadline + 15:
            time.sleep(0.1)
        assert open_files(platform) <= idle


def test_a_slow_upload_download_and_event_stream_go_on(platform: Fleet) -> None:
    """A line of 1 Mbit/s, for longer than any time limit of this platform."""
    client = platform.client()
    case = client.new_case({})
    scan = small_scan(shape=(80, 80, 42))
    rate = 125 * KIB

    def pace(begun: float, sent: int) -> None:
        time.sleep(max(0.0, begun + sent / rate - time.monotonic()))

    def slowly() -> Iterator[bytes]:
        begun = time.monotonic()
        for start in range(0, len(scan), 8 * KIB):
            yield scan[start : start + 8 * KIB]
            pace(begun, start)

    events = platform.client().http
    path = f"/api/cases/{case}/events"
    with events.stream("GET", path, headers={"Authorization": f"Bearer {client.token}"}, timeout=20) as stream:
        begun = time.monotonic()
        answer = client.http.put(f"/api/cases/{case}/series/t1c", content=slowly())
        assert answer.status_code == 200, answer.text
        assert time.monotonic() - begun > 3
        begun, held = time.monotonic(), b""
        with connected(platform) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.sendall(
                f"GET /api/cases/{case}/series/t1c HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                f"Authorization: Bearer {client.token}\r\n\r\n".encode()
            )
            while chunk := connection.recv(8 * KIB):
                held += chunk
                pace(begun, len(held))
        assert time.monotonic() - begun > 3
        assert held.partition(b"\r\n\r\n")[2][352:] == scan[352:]
        lines = stream.iter_lines()
        assert "event: series" in [next(lines) for _ in range(6)]


def test_malformed_calls_are_counted_in_the_log(platform: Fleet) -> None:
    before = log_bytes(platform)
    for _ in range(300):
        with connected(platform) as connection:
            connection.sendall(os.urandom(40) + b"\r\n\r\n")
            assert end_of(connection).startswith(b"HTTP/1.1 400")
    assert log_bytes(platform) - before < 16 * KIB


def test_a_client_cannot_hold_every_connection(platform: Fleet) -> None:
    """Event streams, the longest calls there are: 100 of one session, and another session's calls go on."""
    client, other = platform.client(), platform.client()
    case = client.new_case({})
    head = f"GET /api/cases/{case}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {client.token}\r\n\r\n"
    with ExitStack() as stack:
        answers = []
        for _ in range(100):
            stream = stack.enter_context(connected(platform))
            stream.sendall(head.encode())
            answers.append(stream.recv(12))
        assert Counter(answers) == {b"HTTP/1.1 200": 64, b"HTTP/1.1 429": 36}
        assert other.http.get("/api/session").status_code == 200
