"""compose.yaml, started: a case by REST while a worker is killed and Postgres restarted, a deletion and a `down`.

podman-compose (a package of PyPI, in an environment of its own) reads the file. Podman's health checks need systemd,
which not every machine has; so the services are started in order here, and each check is called by hand.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.container_engine import image, missing, note
from tests.deployment import REPOSITORY
from tools import container_store as containers

from hope.web.auth.api_tokens import new_api_token

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]

PROJECT = "hope-compose"  # no prefix of what other tests leave when they are killed
PROGRAM = containers.STORE / "compose" / "bin" / "podman-compose"
# podman-compose does not know again what --scale added, and takes it for an orphan.
DOWN = ("down", "--volumes", "--remove-orphans", "--timeout", "20")
HOST = {"host": "hope.example.org", "x-forwarded-for": "192.0.2.7"}


class Platform:
    """The services of compose.yaml as containers of one project."""

    def __init__(self, folder: Path) -> None:
        self.token, line = new_api_token("test")
        tokens = folder / "api-tokens.txt"
        tokens.write_text(line + "\n")
        tokens.chmod(0o400)
        os.chown(tokens, 10001, 10001)
        passwords = ("POSTGRES_PASSWORD", "POSTGRES_ADMIN_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY")
        lines = [f"{name}={secrets.token_hex(12)}" for name in passwords]
        lines += ["HOPE_PUBLIC_URL=https://hope.example.org", f"API_TOKENS_FILE={tokens}"]
        (folder / "env").write_text("\n".join(lines) + "\n")
        # podman-compose calls "podman": a script of this name puts our options beside its words.
        self.podman = folder / "podman"
        self.podman.write_text(f'#!/bin/sh\nexec {shlex.join(containers.arguments())} "$@"\n')
        self.podman.chmod(0o755)
        self.env_file = folder / "env"

    def compose(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Call podman-compose on both files."""
        command = [str(PROGRAM), "--podman-path", str(self.podman), "--project-name", PROJECT, "--in-pod", "false"]
        command += ["--env-file", str(self.env_file)]
        command += ["--file", str(REPOSITORY / "compose.yaml")]
        command += ["--file", str(Path(__file__).with_name("compose.override.yaml"))]
        command += words
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=400, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr + self.log()
        return done

    def start(self, service: str, *words: str) -> None:
        """Start a service without what it waits for."""
        self.compose("up", "--detach", "--no-build", "--no-deps", *words, service)

    def names(self, service: str) -> list[str]:
        """The containers of a service."""
        label = f"label=com.docker.compose.service={service}"
        return containers.podman("ps", "--filter", label, "--format", "{{.Names}}").stdout.split()

    def healthy(self, service: str) -> None:
        """Wait until the service's own check succeeds in all its containers."""
        for name in self.names(service):
            until(lambda name=name: containers.podman("healthcheck", "run", name, check=False).returncode == 0, self)  # type: ignore[misc]

    def finished(self, service: str) -> None:
        """Wait until a service that ends has ended well."""
        label = f"label=com.docker.compose.service={service}"

        def over() -> bool:
            ended = containers.podman("ps", "--all", "--filter", label, "--format", "{{.Status}}").stdout
            return "Exited (0)" in ended

        until(over, self)

    def log(self) -> str:
        """The last lines of every container."""
        names = containers.podman("ps", "--all", "--format", "{{.Names}}").stdout.split()
        logs = [containers.podman("logs", "--tail", "30", name, check=False) for name in names]
        return "\n".join(f"--- {name}\n{log.stdout}{log.stderr}" for name, log in zip(names, logs, strict=True))

    def rows(self, table: str) -> int:
        """How many rows a table of the application has."""
        words = ["psql", "-h", "127.0.0.1", "-U", "postgres", "-tA", "hope", "-c", f"SELECT count(*) FROM {table}"]  # noqa: S608
        password = dict(line.split("=", 1) for line in self.env_file.read_text().split())["POSTGRES_ADMIN_PASSWORD"]
        (name,) = self.names("postgres")
        return int(containers.podman("exec", "--env", f"PGPASSWORD={password}", name, *words).stdout)

    def objects(self) -> int:
        """How many objects the bucket holds."""
        program = (
            "import os, boto3; s3 = boto3.client('s3', endpoint_url=os.environ['HOPE_S3_ENDPOINT_URL']);"
            "print(s3.list_objects_v2(Bucket='hope')['KeyCount'])"
        )
        (name,) = self.names("gateway")
        return int(containers.podman("exec", name, "python", "-c", program).stdout)

    def processor_seconds(self, name: str) -> float:
        """What all processes of a container have used of processors."""
        program = (
            "import pathlib;print(sum(sum(map(int,p.read_text().rpartition(')')[2].split()[11:15]))"
            "for p in pathlib.Path('/proc').glob('[0-9]*/stat')))"
        )
        return int(containers.podman("exec", name, "python", "-c", program).stdout) / os.sysconf("SC_CLK_TCK")


RUN_SECONDS = 1200
"""Longest wait for a raw case, and for the call that makes one, on two shared processors."""


def until(what: Callable[[], object], platform: Platform, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s\n{platform.log()}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """All services, healthy, with two workers for the first stages."""
    for name in ("gateway", "worker"):
        image(name)
    if not PROGRAM.exists():
        missing("podman-compose is not there")
    made = Platform(tmp_path_factory.mktemp("compose"))
    begun = time.monotonic()
    try:
        for service in ("postgres", "s3"):
            made.start(service)
            made.healthy(service)
        for service in ("role", "bucket"):
            made.start(service)
            made.finished(service)
        made.start("prepare", "--scale", "prepare=2")
        for service in ("segment", "gateway"):
            made.start(service)
        for service in ("prepare", "segment", "gateway"):
            made.healthy(service)
        note("compose", {"seconds until all are healthy": round(time.monotonic() - begun, 1)})
        yield made
    finally:
        made.compose(*DOWN, check=False)
        containers.podman("rm", "--all", "--force", "--time", "1")  # what a failed test left; the store is ours alone
        containers.podman("volume", "rm", "--all", "--force")


class Caller:
    """A session of the REST interface, patient while the database is away."""

    def __init__(self, platform: Platform) -> None:
        (name,) = platform.names("gateway")
        published = containers.podman("port", name).stdout.split()[-1]
        self.http = httpx.Client(base_url=f"http://{published}", headers=HOST, timeout=RUN_SECONDS)
        sign_in = {"x-hope-token": platform.token}
        opened = self.http.post("/api/session", json={"terms_accepted": True}, headers=sign_in)
        assert opened.status_code == 201, opened.text
        self.http.headers["authorization"] = f"Bearer {opened.json()['token']}"

    def case(self, case: str) -> dict[str, Any] | None:
        """What the gateway says of a case; nothing while it answers 503."""
        answer = self.http.get(f"/api/cases/{case}")
        assert answer.status_code in (200, 503), answer.text
        return answer.json() if answer.status_code == 200 else None

    def stage(self, case: str, name: str) -> str:
        """The state of a stage; empty while the gateway does not know."""
        found = self.case(case)
        return next((str(one["state"]) for one in found["stages"] if one["stage"] == name), "") if found else ""

    def ended(self, case: str) -> bool:
        """Whether the run is over."""
        found = self.case(case)
        return found is not None and found["state"] in ("done", "failed")


def kill_the_busy_worker(platform: Platform, caller: Caller, case: str) -> None:
    """Kill -9 the worker that preprocesses, once it has been at it for five seconds of a processor."""
    workers = platform.names("prepare")
    assert len(workers) == 2, platform.log()
    until(lambda: caller.stage(case, "preprocess") == "running", platform)
    before = {name: platform.processor_seconds(name) for name in workers}
    used = dict.fromkeys(workers, 0.0)

    def busy() -> bool:
        used.update({name: platform.processor_seconds(name) - before[name] for name in workers})
        return max(used.values()) > 5

    until(busy, platform)
    assert caller.stage(case, "preprocess") == "running"
    containers.podman("kill", "--signal", "KILL", max(workers, key=used.__getitem__))


def test_a_raw_case_is_done_although_a_worker_is_killed_and_postgres_restarted(platform: Platform) -> None:
    """Its deletion leaves no object and no row."""
    caller = Caller(platform)
    case = str(caller.http.post("/api/cases").json()["id"])
    assert caller.http.post(f"/api/cases/{case}/sample").status_code == 200
    begun = time.monotonic()
    assert caller.http.post(f"/api/cases/{case}/run", json={}).status_code == 202
    kill_the_busy_worker(platform, caller, case)
    until(lambda: platform.rows("attempts") == 2, platform, RUN_SECONDS)
    again = round(time.monotonic() - begun, 1)
    (database,) = platform.names("postgres")
    containers.podman("restart", "--time", "30", database)
    platform.healthy("postgres")
    until(lambda: caller.ended(case), platform, RUN_SECONDS)
    outcome = caller.case(case)
    assert outcome is not None and outcome["state"] == "done", f"{json.dumps(outcome, indent=1)}\n{platform.log()}"
    whole = round(time.monotonic() - begun, 1)
    note("compose case", {"seconds until begun again": again, "seconds with a kill and a restart": whole})
    assert platform.objects() > 0
    assert platform.rows("cases") == 1
    receipt = caller.http.delete("/api/session")
    assert receipt.status_code == 200
    assert receipt.json()["cases"] == 1
    for table in ("cases", "series", "stages", "attempts", "artifacts", "events", "sessions"):
        assert platform.rows(table) == 0, table
    assert platform.objects() == 0


def test_down_with_volumes_leaves_nothing(platform: Platform) -> None:
    """Last, because it ends the services."""
    platform.compose(*DOWN)
    for words in (["ps", "--all"], ["volume", "ls"], ["network", "ls", "--filter", f"name={PROJECT}"]):
        left = containers.podman(*words, "--format", "{{.Name}}" if words[0] != "ps" else "{{.Names}}").stdout.split()
        assert not [name for name in left if PROJECT in name], words
