"""What the images and compose.yaml start, started here: the same words, the same environment, other addresses.

For every check, without a container engine (`make containers` runs the images themselves): gateway, workers, bucket
maker and health checks run as plain processes with nothing in their environment but what image and compose.yaml give
them, on a real Postgres and an S3 server.
"""

from __future__ import annotations

import gzip
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
import pytest
from tests.deployment import REPOSITORY, compose, health_words, image_of, words_of
from tests.servers import PostgresServer

pytestmark = pytest.mark.slow

GIVEN = {
    "POSTGRES_PASSWORD": "from-the-test",
    "POSTGRES_ADMIN_PASSWORD": "from-the-test",
    "S3_ACCESS_KEY": "from-the-test",
    "S3_SECRET_KEY": "from-the-test",
    "HOPE_PUBLIC_URL": "https://hope.example.org",
    "API_TOKENS_FILE": "api-tokens.txt",
}
BIN = Path(sys.executable).parent


def image_environment(service: dict[str, Any]) -> dict[str, str]:
    """What the image's ENV instructions set, but for the program's place."""
    words = " ".join(i.value for i in image_of(service) if i.name == "ENV")
    return {name: value for name, _, value in (word.partition("=") for word in words.split()) if name != "PATH"}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Deployment:
    """compose.yaml's services as processes of this machine."""

    def __init__(self, root: Path, database_url: str, s3_endpoint: str) -> None:
        self.root, self.port = root, free_port()
        self.services: dict[str, dict[str, Any]] = compose(GIVEN)["services"]
        self.moved = {"HOPE_DATABASE_URL": database_url, "HOPE_S3_ENDPOINT_URL": s3_endpoint}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.token = ""

    def environment(self, name: str) -> dict[str, str]:
        service = self.services[name]
        data = self.root / name
        data.mkdir(exist_ok=True)
        given = {**image_environment(service), **service["environment"]}
        if "PGHOST" in given:
            given["PGPORT"] = "5432"
        for variable in self.moved.keys() & given.keys():
            given[variable] = self.moved[variable]
        own = {"HOPE_DATA_DIR": str(data), "HOME": str(self.root), "PATH": f"{BIN}:/usr/bin:/bin"}
        given |= {**own, "HOPE_STAGE_BODIES": "hope.testing.short_stages"}
        if name == "gateway":
            given |= {"HOPE_PORT": str(self.port), "HOPE_API_TOKENS_FILE": str(self.root / "api-tokens.txt")}
        return given

    def run(self, name: str, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Run to its end in the environment of a service."""
        environment, cwd = self.environment(name), self.root / name
        return subprocess.run(words, env=environment, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)

    def start(self, name: str) -> None:
        with (self.root / f"{name}.log").open("wb") as log:
            environment = self.environment(name)
            self.running[name] = subprocess.Popen(
                words_of(self.services[name]),
                env=environment,
                cwd=self.root / name,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def healthy(self, name: str) -> bool:
        """Whether the service's own health check succeeds."""
        return self.run(name, health_words(self.services[name])).returncode == 0

    def said(self) -> str:
        return "\n".join(f"--- {name}\n{(self.root / f'{name}.log').read_text()[-3000:]}" for name in self.running)

    def client(self) -> httpx.Client:
        """As the proxy in front calls: by the public name."""
        headers = {"host": "hope.example.org", "x-forwarded-for": "192.0.2.7"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=30)

    def stop(self) -> dict[str, int]:
        """End every service as an orchestrator does; their exit statuses."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        statuses = {}
        for name, process in self.running.items():
            try:
                statuses[name] = process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                statuses[name] = process.wait()
        return statuses


def until(what: Callable[[], object], deployment: Deployment, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not what():
        dead = [name for name, process in deployment.running.items() if process.poll() is not None]
        assert not dead, f"{dead} ended\n{deployment.said()}"
        assert time.monotonic() < end, f"not within {seconds} s\n{deployment.said()}"
        time.sleep(0.2)


ROLE = "application"


@pytest.fixture
def deployment(tmp_path: Path, postgres: PostgresServer, s3_endpoint: str) -> Iterator[Deployment]:
    """All services but the stores, which are the tests'; the database's role is made as compose.yaml makes it."""
    one = Deployment(tmp_path, f"postgresql+psycopg://{ROLE}@127.0.0.1:{postgres.port}/{ROLE}", s3_endpoint)
    one.moved |= {"PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGUSER": "hope", "ROLE": ROLE}
    tokens = tmp_path / "api-tokens.txt"
    words = [str(BIN / "hope"), "token", "from-the-test", "--file", str(tokens)]
    one.token = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    try:
        yield one
    finally:
        one.stop()
        with postgres.connect() as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {ROLE} WITH (FORCE)")
            admin.execute(f"DROP ROLE IF EXISTS {ROLE}")


def answers(port: int) -> bool:
    """Whether a gateway says that it is ready."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def scan(seed: int) -> bytes:
    voxels = np.random.default_rng(seed).integers(0, 900, (24, 28, 20), dtype=np.int16)
    return gzip.compress(nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 1.0, 1.0])).to_bytes())


def test_the_application_is_an_ordinary_role_that_owns_its_database(
    deployment: Deployment, postgres: PostgresServer
) -> None:
    service, kept = deployment.services["role"], []
    with postgres.connect() as admin:
        for password in ("first", "second"):  # the second time the role is there, and gets the new password
            service["environment"]["ROLE_PASSWORD"] = password
            made = deployment.run("role", words_of(service))
            assert made.returncode == 0, made.stderr
            kept.append(admin.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [ROLE]).fetchone())
        row = admin.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolcanlogin FROM pg_roles "
            "WHERE rolname = %s",
            [ROLE],
        ).fetchone()
        assert row == (False, False, False, False, False, True)
        of_database = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
        owner = admin.execute(of_database, [ROLE]).fetchone()
        assert owner == (ROLE,)
    assert kept[0] and kept[1] and kept[0] != kept[1]
    services = deployment.services
    assert services["role"]["environment"]["ROLE"] in services["gateway"]["environment"]["HOPE_DATABASE_URL"]
    assert "hope" not in services["postgres"]["environment"].values(), "the application would be the superuser"


def test_all_services_of_compose_start_are_healthy_do_a_case_and_stop(deployment: Deployment) -> None:
    for name in ("role", "bucket") * 2:  # the second time they are there
        made = deployment.run(name, words_of(deployment.services[name]))
        assert made.returncode == 0, made.stderr
    names = [name for name, service in deployment.services.items() if service["image"].startswith("hope-")]
    for name in names:
        if deployment.services[name]["restart"] != "on-failure":
            deployment.start(name)
    until(lambda: answers(deployment.port), deployment)
    for name in deployment.running:
        until(lambda name=name: deployment.healthy(name), deployment)  # type: ignore[misc]
    with deployment.client() as client:
        refused = client.post("/api/session", json={})
        assert refused.status_code == 401, "a public gateway let somebody in without a token"
        opened = client.post("/api/session", json={"terms_accepted": True}, headers={"x-hope-token": deployment.token})
        assert opened.status_code == 201, opened.text
        client.headers["authorization"] = f"Bearer {opened.json()['token']}"
        case = client.post("/api/cases").json()["id"]
        for seed, key in enumerate(("t1n", "t1c", "t2w", "t2f")):
            sent = client.put(f"/api/cases/{case}/series/{key}", content=scan(seed))
            assert sent.status_code == 200, sent.text
        assert client.post(f"/api/cases/{case}/run", json={}).status_code == 202

        def over() -> bool:
            return client.get(f"/api/cases/{case}").json()["state"] in ("done", "failed")

        until(over, deployment)
        outcome = client.get(f"/api/cases/{case}").json()
        assert outcome["state"] == "done", outcome
        receipt = client.delete("/api/session")
        assert receipt.status_code == 200
        assert receipt.json()["cases"] == 1
    statuses = deployment.stop()
    assert set(statuses.values()) <= {0, 128 + signal.SIGTERM}, f"{statuses}\n{deployment.said()}"
    for name in deployment.running:
        assert not deployment.healthy(name), f"{name} is dead, and its health check has not noticed"


def test_the_gateway_does_not_start_in_public_without_a_way_to_sign_in(deployment: Deployment) -> None:
    given = {name: value for name, value in deployment.environment("gateway").items() if name != "HOPE_API_TOKENS_FILE"}
    words, cwd = words_of(deployment.services["gateway"]), deployment.root / "gateway"
    done = subprocess.run(words, env=given, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "HOPE_API_TOKENS_FILE" in done.stderr
    assert "Traceback" not in done.stderr


def test_hope_up_keeps_what_the_page_says_it_keeps(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "how-to" / "run-on-one-machine.md").read_text(encoding="utf-8")
    table = page.partition("| in that folder | what |")[2].partition("\n\n")[0]
    documented = {
        name.rstrip("/") for row in table.splitlines() for name in re.findall(r"`([^`]+)`", row.partition(" | ")[0])
    }
    data, port = tmp_path / "data", free_port()
    environment = {"HOPE_DATA_DIR": str(data), "HOME": str(tmp_path), "PATH": f"{BIN}:/usr/bin:/bin"}
    words = ["hope", "up", "--port", str(port)]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(words, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            end = time.monotonic() + 90
            while not answers(port) and time.monotonic() < end:
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.2)
            # SQLite's own companions of a database go without saying.
            kept = {re.sub(r"-(wal|shm)$", "", path.name) for path in data.iterdir()}
        finally:
            process.terminate()
    assert {"hope.sqlite", "hope-engine.sqlite"} <= kept
    assert kept <= documented
