"""The images, run as compose.yaml and the manifests run them: what is in them, who they are, how they start and end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.container_engine import CONFINED, Container, image, note, run, running
from tools import container_store as containers

from hope.web.auth.api_tokens import new_api_token

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]

MOST_MB = {"gateway": 950, "worker": 2000, "endpoint": 2000}
KEPT = {"/opt/hope/lib/python3.11/site-packages/numpy/_core/tests"}
ABSENT = ["torch", "openvino", "monai", "sklearn", "pandas", "SimpleITK", "deepbet"]


@pytest.mark.parametrize("name", MOST_MB)
def test_an_image_is_no_larger_than_promised(name: str) -> None:
    assert containers.size_mb(image(name)) <= MOST_MB[name]


@pytest.mark.parametrize("name", MOST_MB)
def test_an_image_holds_no_bytecode_no_tests_and_no_headers(name: str) -> None:
    wanted = ["-name", "*.py[co]", "-o", "-name", "*.h", "-o", "-name", "*.a", "-o", "-type", "d", "-name", "tests"]
    found = run(image(name), "/opt/hope", *wanted, options=["--entrypoint", "find"])
    assert found.returncode == 0, found.stderr
    assert set(found.stdout.split()) <= KEPT
    for program in ("pip", "npm", "gcc"):
        asked = run(image(name), "-c", f"command -v {program} || true", options=["--entrypoint", "sh"])
        assert "/opt/hope" not in asked.stdout, f"{program} is in the image"


@pytest.mark.parametrize("name", MOST_MB)
def test_an_image_brings_the_licence_and_the_notice(name: str) -> None:
    program = "from importlib.metadata import distribution; print(*distribution('hope-platform').files, sep='\\n')"
    found = run(image(name), "-c", program, options=["--entrypoint", "python"])
    assert {"LICENSE", "NOTICE"} <= {line.rpartition("/")[2] for line in found.stdout.splitlines()}, found.stderr


def test_the_gateway_has_none_of_the_models_libraries() -> None:
    program = f"from importlib.util import find_spec; print([name for name in {ABSENT} if find_spec(name)])"
    found = run(image("gateway"), "-c", program, options=["--entrypoint", "python"])
    assert found.stdout.strip() == "[]", found.stderr


@pytest.mark.parametrize("name", ["gateway", "worker"])
def test_an_image_runs_as_a_numbered_user_without_a_right(name: str) -> None:
    said = run(image(name), "-c", "id -u; grep CapEff /proc/self/status", options=["--entrypoint", "sh", *CONFINED])
    assert said.stdout.split() == ["10001", "CapEff:", "0" * 16], said.stderr


def test_the_gateway_does_not_start_without_a_way_to_sign_in() -> None:
    done = run(image("gateway"), options=[*CONFINED, "--tmpfs", "/tmp", "--volume", "/data"])
    assert done.returncode == 2
    assert "HOPE_API_TOKENS_FILE" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def api_token() -> tuple[str, str]:
    """A token and its line of the tokens file."""
    return new_api_token("test")


@pytest.fixture(scope="module")
def token(api_token: tuple[str, str]) -> str:
    return api_token[0]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, api_token: tuple[str, str]) -> Iterator[Container]:
    tokens: Path = tmp_path_factory.mktemp("gateway") / "tokens"
    tokens.write_text(api_token[1] + "\n")
    tokens.chmod(0o400)
    os.chown(tokens, 10001, 10001)
    options = [*CONFINED, "--tmpfs", "/tmp:mode=1777", "--volume", "/data"]
    options += ["--volume", f"{tokens}:/run/tokens:ro", "--env", "HOPE_API_TOKENS_FILE=/run/tokens"]
    with running(image("gateway"), options=options) as started:
        started.wait(lambda: started.answers("/readyz"))
        yield started


def test_the_gateway_starts_with_tokens_and_lets_only_their_owners_in(gateway: Container, token: str) -> None:
    note("gateway", {"seconds until /readyz": round(time.monotonic() - gateway.begun, 1)})
    assert gateway.answers("/healthz")
    with httpx.Client(base_url=gateway.url, timeout=60) as client:
        assert client.post("/api/session", json={"terms_accepted": True}).status_code == 401
        wrong = client.post("/api/session", json={"terms_accepted": True}, headers={"x-hope-token": "x" * 43})
        assert wrong.status_code == 401
        opened = client.post("/api/session", json={"terms_accepted": True}, headers={"x-hope-token": token})
        assert opened.status_code == 201, opened.text
        page = client.get("/")
        assert page.status_code == 200
        assert "not built" not in page.text


def test_its_health_check_holds_and_its_root_is_read_only(gateway: Container) -> None:
    assert containers.podman("healthcheck", "run", gateway.name, check=False).returncode == 0
    for place in ("/opt/hope/x", "/usr/x", "/etc/x"):
        refused = gateway.execute("touch", place)
        assert refused.returncode != 0
    assert gateway.execute("touch", "/data/x", "/tmp/x").returncode == 0
    said = gateway.execute("grep", "-E", "^(Uid|CapEff|NoNewPrivs)", "/proc/1/status").stdout.split()
    assert said[said.index("Uid:") + 1] == "10001"
    assert said[said.index("CapEff:") + 1] == "0" * 16
    assert said[said.index("NoNewPrivs:") + 1] == "1"


def test_sigterm_ends_an_idle_gateway(gateway: Container) -> None:
    """Last, because it ends the gateway of this file."""
    status, seconds = gateway.stop()
    note("gateway stopped", {"seconds": round(seconds, 1)})
    assert status == 0, gateway.log()
    assert seconds < 30
    assert "Traceback" not in gateway.log()
