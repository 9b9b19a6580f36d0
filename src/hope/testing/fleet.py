"""A platform of real processes on this machine, to be measured and killed: gateway, workers, and a client for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from hope.contract.job import EventKind
from hope.localaws.aws_processes import free_port

MARK = "HOPE_FLEET_MARK"
"""Environment variable that every process of a fleet carries, so that orphans can be found."""


class Fleet:
    """Gateways and workers over one database and one blob store.

    Args:
        folder: data directory, logs.
        environment: what the processes see besides: HOPE_DATABASE_URL and the like.
        bodies: module of the stage bodies.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str] | None = None, bodies: str = "hope.testing.short_stages"
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port, self.host = folder, free_port(), "127.0.0.1"
        self.mark = f"fleet-{os.getpid()}-{time.monotonic_ns()}"
        self.environment = {
            **os.environ,
            "HOPE_DATA_DIR": str(folder / "data"),
            "HOPE_PORT": str(self.port),
            "HOPE_STAGE_BODIES": bodies,
            "HOPE_REQUESTS_PER_MINUTE": "1000000",
            MARK: self.mark,
            **(environment or {}),
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return f"http://{self.host}:{self.port}"

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = (sys.executable, "-m", "hope.cli"),
    ) -> subprocess.Popen[bytes]:
        """Start ``hope ARGUMENTS``; its output goes to a log in the folder.

        Args:
            arguments: of the command line.
            environment: what only this process sees besides.
            program: what stands for ``hope``: another version of it, or one in a network of its own.
        """
        log = (self.folder / f"{arguments[0]}-{len(self.processes)}.log").open("ab")
        with log:
            process = subprocess.Popen(
                [*program, *arguments],
                env={**self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def logs(self) -> str:
        """What the processes said, for a failed test's message."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in sorted(self.folder.glob("*.log"))
        )

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Return when the gateway answers that it is ready.

        Raises:
            TimeoutError: if it does not, with the logs.
        """
        deadline = time.monotonic() + seconds
        # One client: each reads the system's certificates, which takes as long as the pause between two calls.
        with httpx.Client(base_url=self.url, timeout=2) as client:
            while time.monotonic() < deadline:
                try:
                    if client.get("/readyz").status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(0.05)
        raise TimeoutError(f"the gateway is not ready after {seconds:g} s\n{self.logs()}")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill -9, and reap."""
        process.kill()
        process.wait()
        self.processes.remove(process)

    def stop(self, seconds: float = 15.0) -> None:
        """End all, politely first."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        for process in self.processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def survivors(self, seconds: float = 5.0) -> list[str]:
        """Command lines of processes with this fleet's mark that still live after so long, stages' children among them.

        A child gets its signal when its parent ends, so it may live a moment longer than the parent.
        """
        deadline = time.monotonic() + seconds
        while (found := self._living()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _living(self) -> list[str]:
        needle = f"{MARK}={self.mark}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                if needle in (entry / "environ").read_bytes() and " Z " not in (entry / "stat").read_text():
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip())
            except OSError:
                continue  # it has just ended
        return found

    def client(self, timeout: float = 30.0, api_token: str = "") -> SessionClient:
        """A client with a session of its own, signed in with a token where the gateway wants one."""
        return SessionClient(self.url, timeout, api_token)


class SessionClient:
    """What a program does with the REST interface, in one session."""

    def __init__(self, url: str, timeout: float, api_token: str = "") -> None:
        self.http = httpx.Client(base_url=url, timeout=timeout)
        signed_in = {"X-Hope-Token": api_token} if api_token else {}
        response = self.http.post("/api/session", json={"terms_accepted": True}, headers=signed_in)
        response.raise_for_status()
        self.token: str = response.json()["token"]
        self.http.cookies.clear()
        self.http.headers["Authorization"] = f"Bearer {self.token}"

    def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """Call and return the JSON; raises httpx.HTTPStatusError."""
        response = self.http.request(method, path, **kwargs)
        response.raise_for_status()
        return response.json()

    def new_case(self, scans: Mapping[str, bytes]) -> str:
        """Make a case and upload its scans; returns its id."""
        case_id: str = self.call("POST", "/api/cases")["id"]
        for sequence, content in scans.items():
            self.call("PUT", f"/api/cases/{case_id}/series/{sequence}", content=content)
        return case_id

    def run(self, case_id: str) -> None:
        """Start a run."""
        self.call("POST", f"/api/cases/{case_id}/run", json={})

    def state(self, case_id: str) -> str:
        """The case's state."""
        state: str = self.call("GET", f"/api/cases/{case_id}")["state"]
        return state

    def states(self, case_id: str) -> dict[str, float]:
        """Follow the case's event stream until it is done or failed; when it came into each state, by its own clock."""
        found: dict[str, float] = {}
        kind = ""
        with self.http.stream("GET", f"/api/cases/{case_id}/events", timeout=60) as stream:
            for line in stream.iter_lines():
                if line.startswith("event:"):
                    kind = line[6:].strip()
                elif line.startswith("data:") and kind == EventKind.STATE:
                    said = json.loads(line[5:])
                    found[said["state"]] = said["at"]
                    if said["state"] in ("done", "failed"):
                        break
        return found

    def wait(self, case_id: str, seconds: float = 120.0, states: tuple[str, ...] = ("done", "failed")) -> str:
        """Wait until the case is in one of the states; returns which.

        Raises:
            TimeoutError: if it never is.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if (state := self.state(case_id)) in states:
                return state
            time.sleep(0.1)
        raise TimeoutError(f"the case is {self.call('GET', f'/api/cases/{case_id}')} after {seconds:g} s")


def small_scan(seed: int = 0, shape: tuple[int, int, int] = (8, 9, 10)) -> bytes:
    """A tiny NIfTI-1 scan of noise, uncompressed."""
    import nibabel as nib

    data = np.random.default_rng(seed).integers(1, 1000, shape, dtype=np.int16)
    make: Any = nib.Nifti1Image
    image = make(data, np.diag([2.0, 2.0, 2.0, 1.0]))
    content: bytes = image.to_bytes()
    return content
