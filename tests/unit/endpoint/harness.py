"""A real endpoint process before a real S3 server, with a counter of bytes between the two."""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tests.servers import free_port

from hope.adapters.proxy_bucket import Objects

REPOSITORY = Path(__file__).resolve().parents[3]
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "verysecretword",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class CountingWire:
    """Passes TCP on to a server and counts what comes back from it; can be cut."""

    def __init__(self, to: str) -> None:
        self.received = 0
        self.cut = False
        host, _, port = to.removeprefix("http://").partition(":")
        wire = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                if wire.cut:
                    return
                with socket.create_connection((host, int(port))) as there:
                    forward = threading.Thread(target=wire._pump, args=(self.request, there, False), daemon=True)
                    forward.start()
                    wire._pump(there, self.request, True)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        try:
            while block := source.recv(65536):
                if self.cut:
                    break
                self.received += len(block) if counted else 0
                target.sendall(block)
        except OSError:
            pass
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Endpoint:
    """A running ``hope endpoint``."""

    process: subprocess.Popen[bytes]
    url: str
    state: Path
    scratch: Path
    log_file: Path
    wire: CountingWire
    objects: Objects
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=120))

    def ping(self) -> int:
        try:
            return self.client.get(f"{self.url}/ping").status_code
        except httpx.TransportError:
            return 0

    def wait_ready(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while self.ping() != 200:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def invoke(self, payload: object, **headers: str) -> httpx.Response:
        return httpx.post(f"{self.url}/invocations", json=payload, headers=headers, timeout=500)

    def in_background(self, payload: object, **headers: str) -> tuple[threading.Thread, list[httpx.Response]]:
        answers: list[httpx.Response] = []

        def call() -> None:
            with suppress(httpx.TransportError):  # the endpoint was killed: there is no answer
                answers.append(self.invoke(payload, **headers))

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        return thread, answers

    @property
    def worked(self) -> list[str]:
        """One line for each case that a child began."""
        path = self.state / "log"
        return path.read_text().splitlines() if path.exists() else []

    def wait_worked(self, count: int) -> None:
        deadline = time.monotonic() + 30
        while len(self.worked) < count:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def let_go(self, name: str) -> None:
        """End the wait of every body that was told to hold for this name."""
        (self.state / f"go-{name}").touch()

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def left_behind(self) -> list[Path]:
        """Scans that lie in the scratch rooms; none when no case is in work."""
        return list(self.scratch.glob("room-*/*/in/*"))

    def stop(self, number: int = signal.SIGTERM) -> float:
        """End it; returns how long that took."""
        start = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(timeout=60)
        return time.monotonic() - start


@contextmanager
def endpoint(
    folder: Path, s3: str, environment: Mapping[str, str] | None = None, *, wait: bool = True
) -> Iterator[Endpoint]:
    """Start one in ``folder``; it is killed at the end at the latest."""
    state, scratch = folder / "state", folder / "scratch"
    state.mkdir(parents=True, exist_ok=True)
    port, wire = free_port(), CountingWire(s3)
    whole = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HOPE_", "AWS_", "SAGEMAKER_"))},
        **CREDENTIALS,
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "HOPE_DATA_DIR": str(folder / "data"),
        "HOPE_S3_ENDPOINT_URL": wire.url,
        "HOPE_ENDPOINT_SCRATCH": str(scratch),
        "HOPE_ENDPOINT_BODIES": "tests.unit.endpoint.short_bodies",
        "SHORT_STATE": str(state),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        **(environment or {}),
    }
    log_file = folder / "endpoint.log"
    with log_file.open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "hope.cli", "endpoint"], env=whole, stdout=log, stderr=log)
    found = Endpoint(process, f"http://127.0.0.1:{port}", state, scratch, log_file, wire, Objects(s3))
    try:
        if wait:
            found.wait_ready()
        yield found
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        found.client.close()
        wire.close()


SCANS = ("t1n", "t1c", "t2w", "t2f")


def put(client: Any, location: str, files: Mapping[str, bytes]) -> None:
    """Store objects below an ``s3://`` location."""
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    for name, content in files.items():
        client.put_object(Bucket=bucket, Key=f"{prefix.rstrip('/')}/{name}", Body=content)


def case(t1c: bytes = b"scan", name: str = "BraTS-PED-00001-000", mark: bytes = b"") -> dict[str, bytes]:
    """Four scans by their BraTS names; the t1c says what the stand-in does with them."""
    return {f"{name}-{s}.nii.gz": t1c if s == "t1c" else s.encode() + mark for s in SCANS}
