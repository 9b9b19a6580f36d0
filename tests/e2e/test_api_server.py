"""What only a real server over a real socket shows: memory under load, broken connections, live events, its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from tests.unit.web.fakes import chunks_of, nifti, packed

from hope.testing.live_files import files_below

MIB = 2**20
SHAPE = (256, 256, 80)


@dataclass
class Server:
    """A running gateway."""

    process: subprocess.Popen[str]
    port: int
    folder: Path
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def memory(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def files(self, name: str) -> list[Path]:
        return files_below(self.folder / name)

    def client(self) -> httpx.Client:
        """A client with a session of its own."""
        client = httpx.Client(base_url=self.url, timeout=120)
        client.headers["Authorization"] = f"Bearer {client.post('/api/session').json()['token']}"
        client.cookies.clear()
        return client


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A gateway in a process of its own."""
    folder, log = tmp_path / "data", tmp_path / "server.log"
    folder.mkdir()
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.api_server", str(folder)],
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout
        try:
            port = int(process.stdout.readline())
            started = Server(process, port, folder, log)
            _wait(lambda: _answers(started.url))
            yield started
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _wait(until: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def _case(client: httpx.Client) -> str:
    return str(client.post("/api/cases").json()["id"])


def test_fifty_uploads_at_once_need_the_memory_of_their_chunks(server: Server, record_property: Any) -> None:
    voxels = np.random.default_rng(3).integers(0, 3000, int(np.prod(SHAPE)), np.int16).tobytes()
    scan = nifti(SHAPE, voxels=voxels, spacing_mm=1.0)
    clients = [server.client() for _ in range(50)]
    cases = [_case(client) for client in clients]
    # One upload beforehand: what the process needs once is not what fifty uploads need.
    assert clients[0].put(f"/api/cases/{cases[0]}/series/t2w", content=scan).status_code == 200
    before, most, done = server.memory(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.05):
            most = max(most, server.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.monotonic()
    with ThreadPoolExecutor(50) as pool:
        statuses = list(
            pool.map(
                lambda pair: pair[0].put(f"/api/cases/{pair[1]}/series/t1c", content=chunks_of(scan)).status_code,
                zip(clients, cases, strict=True),
            )
        )
    seconds = time.monotonic() - begun
    done.set()
    watcher.join()
    assert statuses == [200] * 50
    assert most - before < 96 * MIB, f"{(most - before) / MIB:.0f} MiB more"
    assert server.files("scratch") == []
    assert len(server.files("blobs")) == 51
    record_property("megabytes_per_second", round(50 * len(scan) / 1e6 / seconds, 1))
    record_property("memory_growth_mib", round((most - before) / MIB, 1))
    sys.stdout.write(
        f"50 x {len(scan) / 1e6:.1f} MB in {seconds:.1f} s: {50 * len(scan) / 1e6 / seconds:.0f} MB/s, "
        f"memory {before / MIB:.0f} -> at most {most / MIB:.0f} MiB\n"
    )
    for client in clients:
        client.close()


def _raw(server: Server, path: str, token: str, length: int, body: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    head = (
        f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def test_a_connection_that_breaks_leaves_nothing(server: Server) -> None:
    with closing(server.client()) as client:
        path = f"/api/cases/{_case(client)}/series/t1c"
        token = client.headers["authorization"].removeprefix("Bearer ")
        connection = _raw(server, path, token, 50 * MIB, nifti()[:300] + bytes(2 * MIB))
        _wait(lambda: server.files("scratch") != [])
        connection.close()
        _wait(lambda: server.files("scratch") == [])
        assert server.files("blobs") == []


def test_a_refusal_reaches_a_client_that_is_still_sending(server: Server) -> None:
    with closing(server.client()) as client:
        path = f"/api/cases/{_case(client)}/series/t1c"
        answer = client.put(path, content=bytes(65 * MIB))
        assert answer.status_code == 413 and answer.json()["expected"] == "at most 64 MiB"
        assert client.get("/api/session").status_code == 200


def test_a_gateway_that_was_killed_leaves_uploads_in_its_room_only(server: Server) -> None:
    with closing(server.client()) as client:
        path = f"/api/cases/{_case(client)}/series/t1c"
        token = client.headers["authorization"].removeprefix("Bearer ")
        connection = _raw(server, path, token, 50 * MIB, nifti()[:300] + bytes(2 * MIB))
        _wait(lambda: server.files("scratch") != [])
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        connection.close()
    # The room is cleared by the next process (hope.jobs.scratch); the store knows nothing of it.
    assert server.files("blobs") == []


def test_events_arrive_while_they_happen_and_go_on_after_a_break(server: Server) -> None:
    with closing(server.client()) as client:
        case_id = _case(client)
        heard: list[tuple[int, str]] = []

        def listen(after: int, count: int) -> None:
            headers = {"Last-Event-ID": str(after)}
            with client.stream("GET", f"/api/cases/{case_id}/events", headers=headers) as stream:
                number = 0
                for line in stream.iter_lines():
                    if line.startswith("id: "):
                        number = int(line[4:])
                    if line.startswith("data: "):
                        heard.append((number, json.loads(line[6:])["key"]))
                    if len(heard) >= count:
                        return

        first = threading.Thread(target=listen, args=(0, 1))
        first.start()
        time.sleep(0.5)
        begun = time.monotonic()
        for sequence in ("t1n", "t1c"):
            client.put(f"/api/cases/{case_id}/series/{sequence}", content=packed(nifti()))
        first.join(10)
        assert heard[0][1] == "t1n" and time.monotonic() - begun < 5
        client.put(f"/api/cases/{case_id}/series/t2w", content=packed(nifti()))
        listen(heard[-1][0], 3)
        assert [key for _, key in heard] == ["t1n", "t1c", "t2w"]


def test_the_end_of_a_session_ends_its_streams(server: Server) -> None:
    with closing(server.client()) as client:
        case_id = _case(client)
        with client.stream("GET", f"/api/cases/{case_id}/events") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "retry: 1000"
            with server_client(server, client) as other:
                assert other.delete("/api/session").status_code == 200
            begun = time.monotonic()
            assert "event: gone" in list(lines)
            assert time.monotonic() - begun < 5


def server_client(server: Server, like: httpx.Client) -> httpx.Client:
    """Another connection of the same session."""
    return httpx.Client(base_url=server.url, headers={"Authorization": like.headers["authorization"]}, timeout=30)


def test_a_server_with_open_streams_ends_soon_and_with_status_0(server: Server) -> None:
    with closing(server.client()) as client:
        case_id = _case(client)
        with client.stream("GET", f"/api/cases/{case_id}/events") as stream:
            next(stream.iter_lines())
            begun = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(10)
            assert time.monotonic() - begun < 8


def test_logs_are_json_lines_without_ids(server: Server) -> None:
    with closing(server.client()) as client:
        case_id = _case(client)
        token = client.headers["authorization"].removeprefix("Bearer ")
        client.put(f"/api/cases/{case_id}/series/t1c", content=b"Surnamemark" * 99)
        client.get(f"/api/cases/{case_id}/files/Surnamemark.nii?inline=1")
        session_id = client.get("/api/session").json()["id"]
    text = server.log.read_text()
    for secret in (case_id, token, session_id, "Surnamemark", str(server.folder)):
        assert secret not in text
    entries = [json.loads(line) for line in text.splitlines()]
    routes = {entry.get("route") for entry in entries}
    assert "/api/cases/{case_id}/series/{sequence}" in routes
    assert os.environ.get("HOME", "/root") not in text
