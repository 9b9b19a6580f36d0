"""Containers for tests: images that `make containers` built, started by podman, removed with the test that did it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
from tests.servers import free_port
from tools import container_store as containers

CONFINED = ["--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
"""As compose.yaml and the manifests run it."""

_NUMBERS = itertools.count()


def missing(what: str) -> NoReturn:
    """What `make containers` makes is not there: a failure where it runs the tests (CI), elsewhere a skip."""
    sentence = f"{what}; run: make containers"
    if os.environ.get("CI"):
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def image(name: str) -> str:
    """The full name of one of our images, which has to be there."""
    if not (containers.STORE / "store").is_dir() or not containers.exists(containers.image(name)):
        missing(f"the image {name} was not built")
    return containers.image(name)


def run(image: str, *words: str, options: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a container to its end, which removes it."""
    command = ["run", "--rm", *(options or []), image, *words]
    return containers.podman(*command, check=False, seconds=500)


@dataclass(frozen=True)
class Container:
    """A container that runs."""

    name: str
    port: int
    begun: float

    @property
    def url(self) -> str:
        """Where its port 8080 is published."""
        return f"http://127.0.0.1:{self.port}"

    def answers(self, path: str) -> bool:
        """Whether it answers with 200."""
        try:
            return httpx.get(self.url + path, timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    def execute(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        return containers.podman("exec", self.name, *words, check=False)

    def state(self) -> dict[str, Any]:
        """What podman says of it."""
        found: list[dict[str, Any]] = json.loads(containers.podman("inspect", self.name).stdout)
        return found[0]

    def log(self) -> str:
        """What it wrote to both outputs."""
        done = containers.podman("logs", self.name, check=False)
        return done.stdout + done.stderr

    def stop(self) -> tuple[int, float]:
        """End it as an orchestrator does: its exit status and the seconds that it took."""
        begun = time.monotonic()
        containers.podman("stop", "--time", "60", self.name)
        return int(self.state()["State"]["ExitCode"]), time.monotonic() - begun

    def wait(self, condition: Callable[[], object], seconds: float = 300) -> None:
        """Wait until the condition holds.

        Raises:
            AssertionError: the container ended, or the time is over.
        """
        end = time.monotonic() + seconds
        while not condition():
            assert self.state()["State"]["Running"], self.log()
            assert time.monotonic() < end, self.log()
            time.sleep(0.2)


@contextmanager
def running(image: str, *words: str, options: list[str] | None = None) -> Iterator[Container]:
    """A container whose port 8080 is published on loopback; it is removed at the end."""
    name, port = f"hope-test-{next(_NUMBERS)}-{free_port()}", free_port()
    common = ["--detach", "--name", name, "--publish", f"127.0.0.1:{port}:8080"]
    begun = time.monotonic()
    containers.podman("run", *common, *(options or []), image, *words)
    try:
        yield Container(name, port, begun)
    finally:
        containers.podman("rm", "--force", "--time", "1", "--volumes", name)


@contextmanager
def network() -> Iterator[str]:
    """A network whose containers know one another by name."""
    name = f"hope-test-{next(_NUMBERS)}-{free_port()}"
    containers.podman("network", "create", name)
    try:
        yield name
    finally:
        containers.podman("network", "rm", "--force", name)


def note(name: str, value: object) -> None:
    """Add a figure to those of the builds: docs/benchmarks.md states them."""
    path: Path = containers.FIGURES
    figures = json.loads(path.read_text(encoding="utf-8"))
    figures[name] = value
    path.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", encoding="utf-8")
