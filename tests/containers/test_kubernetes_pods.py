"""The Kubernetes manifests before readers of others: kustomize, the published schemas, and podman, which runs the pods.

Podman reads Deployments, ConfigMaps, Secrets and volumes; services, budgets, policies, probes and the volume of the
Secret with the tokens are not tried here.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.container_engine import Container, image, missing, network, note, running
from tests.deployment import KUBERNETES
from tools import container_store as containers
from tools import stand_ins

from hope.web.auth.api_tokens import new_api_token

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]

VALIDATE = containers.STORE / "compose" / "bin" / "kubernetes-validate"
VERSIONS = ("1.30", "1.33", "1.37")
OVERLAYS = sorted(one.parent.name for one in (KUBERNETES / "overlays").glob("*/kustomization.yaml"))
FOLDERS = ["base", *(f"overlays/{name}" for name in OVERLAYS)]
OF_OTHERS = {"ScaledObject"}
"""Kinds that Kubernetes itself does not have: KEDA's."""

PODS = ("gateway", "worker-preprocess", "worker-harmonize")


def built(folder: str) -> list[dict[str, Any]]:
    """What kustomize makes of a folder."""
    kubectl = shutil.which("kubectl")
    if not kubectl:
        pytest.skip("kubectl is not on this machine: kustomize was not tried")
    done = subprocess.run([kubectl, "kustomize", str(KUBERNETES / folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def refused(documents: list[dict[str, Any]], file: Path) -> str:
    """What the strict schemas of all versions say against the documents."""
    if not VALIDATE.exists():
        missing("kubernetes-validate is not there")
    file.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    said = ""
    for version in VERSIONS:
        words = [str(VALIDATE), "--strict", "--quiet", "--kubernetes-version", version, str(file)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        said += done.stdout + done.stderr if done.returncode else ""
    return said


@pytest.mark.parametrize("folder", FOLDERS)
def test_three_versions_of_kubernetes_know_every_field(folder: str, tmp_path: Path) -> None:
    documents = [one for one in built(folder) if one["kind"] not in OF_OTHERS]
    assert {"Deployment", "Service", "NetworkPolicy"} <= {one["kind"] for one in documents}
    assert refused(documents, tmp_path / "all.yaml") == ""


def test_that_check_can_fail(tmp_path: Path) -> None:
    (gateway,) = (one for one in built("base") if (one["kind"], one["metadata"]["name"]) == ("Deployment", "gateway"))
    gateway["spec"]["replica"] = 2
    assert "replica" in refused([gateway], tmp_path / "wrong.yaml")


def secret(name: str, values: dict[str, str]) -> dict[str, Any]:
    """A Secret, as `kubectl create secret generic` makes it."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


@contextmanager
def secrets_of_podman(made: list[dict[str, Any]], folder: Path) -> Iterator[None]:
    """Secrets for variables: podman 4.3 reads those from its own, which hold the keys and values as JSON."""
    names = [one["metadata"]["name"] for one in made]
    try:
        for one in made:
            file = folder / one["metadata"]["name"]
            file.write_text(json.dumps(one["data"]), encoding="utf-8")
            containers.podman("secret", "create", one["metadata"]["name"], str(file))
        yield
    finally:
        containers.podman("secret", "rm", *names, check=False)


def tokens_folder(folder: Path) -> Path:
    """A directory with the file api-tokens, with owner, group and mode that Kubernetes gives the files of a Secret."""
    tokens = folder / "tokens" / "api-tokens"
    tokens.parent.mkdir()
    tokens.write_text(new_api_token("test")[1] + "\n", encoding="utf-8")
    os.chown(tokens, 0, 10001)
    tokens.chmod(0o440)
    return tokens.parent


def played(documents: list[dict[str, Any]], tokens: Path) -> list[dict[str, Any]]:
    """The manifests as an overlay would change them: our images, one gateway, tokens in a directory."""
    kept = [one for one in documents if one["kind"] == "ConfigMap"]
    for name in PODS:
        (one,) = (o for o in documents if (o["kind"], o["metadata"]["name"]) == ("Deployment", name))
        one["spec"]["replicas"] = 1
        (container,) = one["spec"]["template"]["spec"]["containers"]
        container["image"] = image(container["image"].partition(":")[0].removeprefix("hope-"))
        # Podman would ask /healthz by a curl inside the image, which has none.
        for probe in ("startupProbe", "livenessProbe", "readinessProbe", "lifecycle"):
            container.pop(probe, None)
        for volume in one["spec"]["template"]["spec"]["volumes"]:
            # Podman 4.3 leaves out each Secret that is optional, and gives the files of others mode 0644.
            if volume.pop("secret", None):
                volume["hostPath"] = {"path": str(tokens), "type": "Directory"}
        kept.append(one)
    return kept


def python(name: str, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the container of a pod."""
    return containers.podman("exec", name, "python", "-c", program, check=False)


def container_of(pod: str) -> str:
    """The container of a pod that podman made of a Deployment."""
    names = containers.podman("ps", "--format", "{{.Names}}").stdout.split()
    (found,) = (name for name in names if name.startswith(f"{pod}-pod") and not name.endswith("-infra"))
    return found


def stores(stack: ExitStack, net: str) -> tuple[Container, Container]:
    """Postgres and S3 beside the pods."""
    password = ["--env", "POSTGRES_PASSWORD=of-the-test", "--network", net]
    postgres = stack.enter_context(running(stand_ins.POSTGRES, options=password))
    ready = ["pg_isready", "--username=postgres", "--host=127.0.0.1"]
    postgres.wait(lambda: postgres.execute(*ready).returncode == 0)
    s3 = stack.enter_context(running(stand_ins.S3, "-H", "0.0.0.0", "-p", "8080", options=["--network", net]))
    s3.wait(lambda: s3.answers("/moto-api/"))
    made = s3.execute("python", "-c", BUCKET)
    assert made.returncode == 0, made.stderr
    return postgres, s3


BUCKET = """
import boto3
boto3.client("s3", endpoint_url="http://127.0.0.1:8080", region_name="us-east-1",
             aws_access_key_id="x", aws_secret_access_key="x").create_bucket(Bucket="hope")
"""
READY = """
import http.client
gateway = http.client.HTTPConnection("127.0.0.1", 8080, timeout=9)
gateway.request("GET", "/readyz")
print(gateway.getresponse().status)
"""
WHO = """
import os
(rights,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff"))
print(os.getuid(), rights, *(os.access(place, os.W_OK) for place in ("/opt", "/data", "/tmp")))
"""


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Pod -> its container; podman made them of the base's manifests."""
    file = tmp_path_factory.mktemp("kubernetes") / "pods.yaml"
    documents = played(built("base"), tokens_folder(file.parent))
    with ExitStack() as stack:
        net = stack.enter_context(network())
        postgres, s3 = stores(stack, net)
        url = f"postgresql+psycopg://postgres:of-the-test@{postgres.name}:5432/postgres"
        for one in documents:
            if one["metadata"]["name"] == "hope-settings":
                one["data"]["HOPE_S3_ENDPOINT_URL"] = f"http://{s3.name}:8080"
        keys = secret("hope-s3", {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"})
        variables = [secret("hope-database", {"HOPE_DATABASE_URL": url}), keys]
        stack.enter_context(secrets_of_podman(variables, file.parent))
        file.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
        begun = time.monotonic()
        containers.podman("kube", "play", "--network", net, str(file))
        try:
            names = {pod: container_of(pod) for pod in PODS}
            end = time.monotonic() + 300
            while python(names["gateway"], READY).stdout.strip() != "200":
                assert time.monotonic() < end, containers.podman("logs", names["gateway"], check=False).stderr
                time.sleep(1)
            note("kubernetes pods", {"seconds until the gateway is ready": round(time.monotonic() - begun, 1)})
            yield names
        finally:
            containers.podman("kube", "down", str(file), check=False)
            containers.podman("volume", "rm", "--force", "data", "tmp", check=False)


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_runs_as_a_numbered_user_on_a_read_only_root(pod: str, pods: dict[str, str]) -> None:
    said = python(pods[pod], WHO)
    assert said.stdout.split() == ["10001", "0" * 16, "False", "True", "True"], said.stderr


@pytest.mark.parametrize("pod", PODS[1:])
def test_a_worker_says_that_it_is_alive(pod: str, pods: dict[str, str]) -> None:
    """By the command of its probes."""
    end = time.monotonic() + 200
    while containers.podman("exec", pods[pod], "hope", "worker", "--check", check=False).returncode:
        assert time.monotonic() < end, containers.podman("logs", pods[pod], check=False).stderr
        time.sleep(1)


def test_nothing_of_the_pods_stays(pods: dict[str, str]) -> None:
    """Last: it takes the pods away as `kubectl delete` does."""
    for name in pods.values():
        state = json.loads(containers.podman("inspect", name).stdout)[0]
        containers.podman("pod", "stop", "--time", "30", state["Pod"])
        assert json.loads(containers.podman("inspect", name).stdout)[0]["State"]["ExitCode"] == 0, name
