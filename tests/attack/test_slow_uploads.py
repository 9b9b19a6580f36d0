"""Many slow uploads at once, and what another user notices of them."""

from __future__ import annotations

import selectors
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.attack.conftest import LONG, running

from hope.testing.fleet import Fleet

pytestmark = pytest.mark.alone

SESSIONS = 220 if LONG else 60
OF_EACH = 5
SECONDS = 20 if LONG else 3
MOST_MS = 50.0


@contextmanager
def slow_uploads(fleet: Fleet) -> Iterator[list[socket.socket]]:
    """So many uploads that go on for the length of the block, 4 KiB a second each."""
    made: list[socket.socket] = []
    stop, http = threading.Event(), fleet.client().http

    def trickle() -> None:
        while not stop.wait(0.0):
            begun = time.monotonic()
            for number, connection in enumerate(list(made)):
                connection.sendall(bytes(4096))
                if number % 50 == 0:
                    stop.wait(0.02)
            stop.wait(max(0.0, begun + 1.0 - time.monotonic()))

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    try:
        for _ in range(SESSIONS):
            token, case = new_session(http)
            for _ in range(OF_EACH):
                connection = socket.create_connection(("127.0.0.1", fleet.port), timeout=30)
                head = (
                    f"PUT /api/cases/{case}/series/t1c HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                    f"Authorization: Bearer {token}\r\nContent-Length: {2**24}\r\n\r\n"
                )
                connection.sendall(head.encode())
                made.append(connection)
        yield made
    finally:
        stop.set()
        thread.join()
        for connection in made:
            connection.close()


def new_session(http: httpx.Client) -> tuple[str, str]:
    """Token and case of a new session, all over one client: to make one takes longer than to use it."""
    token = http.post("/api/session", json={"terms_accepted": True}).json()["token"]
    http.cookies.clear()
    case = http.post("/api/cases", headers={"Authorization": f"Bearer {token}"}).json()["id"]
    return token, case


def latencies_ms(fleet: Fleet, seconds: float) -> list[float]:
    """How long another user's look at a case takes, again and again."""
    client = fleet.client()
    case = client.new_case({})
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.perf_counter()
        client.state(case)
        found.append((time.perf_counter() - begun) * 1000)
        time.sleep(0.02)
    return found


def test_slow_uploads_do_not_slow_another_users_calls(tmp_path: Path) -> None:
    with running(tmp_path / "platform", 12000, max_connections="4000") as fleet:
        before = statistics.median(latencies_ms(fleet, 1))
        with slow_uploads(fleet) as uploads:
            time.sleep(1)
            during = latencies_ms(fleet, SECONDS)
            with selectors.DefaultSelector() as selector:
                for connection in uploads:
                    selector.register(connection, selectors.EVENT_READ)
                assert selector.select(0) == [], "every upload goes on"
        median = statistics.median(during)
        print(f"GET of another user: {before:.0f} ms alone, {median:.0f} ms during {len(uploads)} slow uploads")  # noqa: T201
        assert median < MOST_MS
