"""compose.yaml: read as Docker Compose reads it, by Compose itself where there is one."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from typing import Any

import pytest
from tests.deployment import (
    COMPOSE,
    DOCKERFILE,
    ENV_EXAMPLE,
    REPOSITORY,
    UnsetError,
    compose,
    health_words,
    instructions,
    interpolated,
    words_of,
)
from tests.unit.test_docs import check

from hope import __version__
from hope.contract.stages import STAGES
from hope.settings import Settings

SET = {
    "POSTGRES_PASSWORD": "from-the-test",
    "POSTGRES_ADMIN_PASSWORD": "of-the-administrator",
    "S3_ACCESS_KEY": "from-the-test-too",
    "S3_SECRET_KEY": "and-this",
    "HOPE_PUBLIC_URL": "https://hope.example.org",
    "API_TOKENS_FILE": "./api-tokens.txt",
}
FILE = compose(SET)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("hope-")}
RUNNING = sorted(name for name in OURS if "entrypoint" not in SERVICES[name])
# Not our image: its new volume belongs to root, so it runs as root, without any capability.
MAY_BE_ROOT = {"s3"}


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "pid", "ipc", "network_mode", "userns_mode", "devices"} & set(service)
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))
    if name not in OURS | MAY_BE_ROOT:
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])


@pytest.mark.parametrize("name", SERVICES)
def test_services_restart_have_limits_and_a_health_check(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] in ("unless-stopped", "always", "on-failure")
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= set(limits)
    if service["restart"] == "on-failure":
        waited_for = [other["depends_on"].get(name) for other in SERVICES.values() if "depends_on" in other]
        assert {"condition": "service_completed_successfully"} in waited_for
    else:
        assert health_words(service)
    if "test" in service.get("healthcheck", {}):
        assert service["healthcheck"]["test"][0] == "CMD", "a shell need not be there"
        assert {"interval", "timeout", "start_period", "retries"} <= set(service["healthcheck"])


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    if name in OURS:
        assert image.partition(":")[2] == __version__
    else:
        assert re.search(r":v?\d+\.\d+", image), image


@pytest.mark.parametrize("name", RUNNING)
def test_commands_exist(name: str) -> None:
    words = words_of(SERVICES[name])
    assert words[0] == "hope"
    check(shlex.join(words))


def test_every_stage_has_a_worker_and_only_known_stages_are_named() -> None:
    served = [
        stage for name in RUNNING for stage in SERVICES[name]["command"] if SERVICES[name]["command"][0] == "worker"
    ]
    assert sorted(set(served) - {"worker"}) == sorted(STAGES)


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_can_come_true(name: str) -> None:
    for other, wanted in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        if wanted["condition"] == "service_healthy":
            assert health_words(SERVICES[other])
        else:
            assert SERVICES[other]["restart"] == "on-failure"


def test_every_image_of_ours_is_built_once_from_a_target_that_exists() -> None:
    built = {s["image"]: s["build"]["target"] for s in SERVICES.values() if "build" in s}
    assert set(built) == {SERVICES[name]["image"] for name in OURS}
    assert sum("build" in service for service in SERVICES.values()) == len(built)
    assert set(built.values()) <= {i.stage for i in instructions(DOCKERFILE.read_text(encoding="utf-8"))}


def test_volumes_networks_and_secrets_are_declared_and_used() -> None:
    volumes = {volume.partition(":")[0] for s in SERVICES.values() for volume in s.get("volumes", [])}
    networks = {network for s in SERVICES.values() for network in s["networks"]}
    secrets = {secret for s in SERVICES.values() for secret in s.get("secrets", [])}
    assert (volumes, networks, secrets) == (set(FILE["volumes"]), set(FILE["networks"]), set(FILE["secrets"]))


def test_only_the_gateway_can_be_reached_and_only_from_this_machine() -> None:
    assert FILE["networks"]["inside"]["internal"] is True
    for name, service in SERVICES.items():
        if name == "gateway":
            assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        else:
            assert "ports" not in service
            assert service["networks"] == ["inside"]


@pytest.mark.parametrize("missing", SET)
def test_nothing_starts_without_its_secrets(missing: str) -> None:
    with pytest.raises(UnsetError, match=missing):
        compose({name: value for name, value in SET.items() if name != missing})


def test_it_starts_on_two_processors_and_the_limits_can_be_set() -> None:
    def limits(services: dict[str, dict[str, Any]]) -> dict[str, str]:
        return {name: str(one["deploy"]["resources"]["limits"]["cpus"]) for name, one in services.items()}

    assert all(float(cpus) <= 2 for cpus in limits(SERVICES).values())
    more = limits(compose({**SET, "SEGMENT_CPUS": "8", "GATEWAY_CPUS": "0.5"})["services"])
    assert (more["segment"], more["gateway"]) == ("8", "0.5")


def test_no_password_is_written_down() -> None:
    """Whatever looks like a secret comes from outside, and nothing stands in for it."""
    secret = re.compile(r"PASSWORD|SECRET_KEY|ACCESS_KEY|CLIENT_SECRET|DATABASE_URL|SMTP_URL")
    for service in compose()["services"].values():
        for name, value in service.get("environment", {}).items():
            if secret.search(name):
                assert re.search(r"\$\{\w+:(\?[^}]+|-)\}", value), f"{name} is written down"


def test_the_example_names_every_variable_and_fills_in_none() -> None:
    lines = [line for line in ENV_EXAMPLE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    given = dict(line.split("=", 1) for line in lines)
    used = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text(encoding="utf-8")))
    assert set(given) == used
    assert set(given.values()) == {""}


@pytest.mark.parametrize("name", RUNNING)
def test_the_environment_is_understood(name: str) -> None:
    platform = Settings.from_environment(SERVICES[name]["environment"]).platform
    assert platform.database_url == "postgresql+psycopg://hope:from-the-test@postgres:5432/hope"
    assert platform.blobs_url.startswith("s3://")
    assert (f"@{'postgres'}:5432" in platform.database_url) and platform.s3_endpoint_url == "http://s3:7070"
    assert {"postgres", "s3"} <= set(SERVICES)


def test_the_gateway_has_a_way_to_sign_in() -> None:
    image = {"HOPE_HOST": "0.0.0.0"}  # noqa: S104 - as containers/Dockerfile sets it
    settings = Settings.from_environment({**image, **SERVICES["gateway"]["environment"]})
    assert settings.platform.authentication
    assert settings.platform.api_tokens_file == "/run/secrets/api_tokens"
    assert "api_tokens" in SERVICES["gateway"]["secrets"]


def test_interpolation_does_as_compose() -> None:
    assert interpolated(["${A:-b}", {"c": "${A:?why}d${E}"}], {"A": "1"}) == ["1", {"c": "1d"}]
    assert interpolated("${A:-b}", {"A": ""}) == "b"
    with pytest.raises(UnsetError, match="A: why"):
        interpolated("${A:?why}", {})


def test_docker_compose_accepts_it() -> None:
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("Docker Compose is not on this machine: compose.yaml was read by our own checks only")
    words = [docker, "compose", "--file", str(COMPOSE), "config", "--quiet"]
    done = subprocess.run(words, cwd=REPOSITORY, env={"PATH": "/usr/bin:/bin", **SET}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
