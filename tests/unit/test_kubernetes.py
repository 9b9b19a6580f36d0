"""The Kubernetes manifests: well formed, locked down, and their references lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from copy import deepcopy
from typing import Any

import pytest
import yaml
from tests.deployment import DOCKERFILE, KUBERNETES, containers, documents, inherited, instructions, last, manifests
from tests.unit.test_docs import check

from hope import __version__
from hope.contract.stages import STAGES
from hope.settings import Settings

BASE = manifests()
OVERLAYS = sorted(folder.parent.name for folder in (KUBERNETES / "overlays").glob("*/kustomization.yaml"))
PODS = list(containers(BASE))
NAMES = [name for name, _, _ in PODS]
# Made by whoever installs; docs/how-to/deploy.md says how.
SECRETS = {
    "hope-database": {"HOPE_DATABASE_URL"},
    "hope-s3": set(),
    "hope-oidc": set(),
    "hope-api-tokens": {"api-tokens"},
}
REQUIRED = {
    "Namespace": (),
    "ServiceAccount": ("automountServiceAccountToken",),
    "ConfigMap": ("data",),
    "Deployment": ("spec.replicas", "spec.selector.matchLabels", "spec.template.metadata.labels"),
    "Service": ("spec.selector", "spec.ports"),
    "PodDisruptionBudget": ("spec.selector.matchLabels", "spec.minAvailable"),
    "NetworkPolicy": ("spec.podSelector", "spec.policyTypes"),
    "Ingress": ("spec.ingressClassName", "spec.tls", "spec.rules"),
    "ScaledObject": ("spec.scaleTargetRef", "spec.minReplicaCount", "spec.maxReplicaCount", "spec.triggers"),
}
VERSIONS = {
    "Deployment": "apps/v1",
    "PodDisruptionBudget": "policy/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "Ingress": "networking.k8s.io/v1",
    "ScaledObject": "keda.sh/v1alpha1",
}


def named(kind: str, name: str, objects: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return next(o for o in objects or BASE if o["kind"] == kind and o["metadata"]["name"] == name)


def reach(document: dict[str, Any], path: str) -> object:
    value: Any = document
    for key in path.split("."):
        value = value[key]
    return value


EVERY = [*BASE, *(o for overlay in OVERLAYS for o in manifests(KUBERNETES / "overlays" / overlay) if o not in BASE)]


@pytest.mark.parametrize("document", EVERY, ids=lambda o: f"{o['kind']}-{o['metadata']['name']}")
def test_objects_have_what_their_kind_needs(document: dict[str, Any]) -> None:
    kind = document["kind"]
    assert kind in REQUIRED, f"{kind} is new here: enter what it needs"
    assert document["apiVersion"] == VERSIONS.get(kind, "v1")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", document["metadata"]["name"])
    for path in REQUIRED[kind]:
        reach(document, path)


def test_names_are_unique() -> None:
    keys = [(o["kind"], o["metadata"]["name"]) for o in EVERY]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(("name", "pod", "container"), PODS, ids=NAMES)
def test_pods_are_locked_down(name: str, pod: dict[str, Any], container: dict[str, Any]) -> None:
    user = last("USER", inherited("worker", instructions(DOCKERFILE.read_text(encoding="utf-8"))))
    assert user is not None
    assert user.value == f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    named("ServiceAccount", pod["serviceAccountName"])
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert not any("hostPath" in volume for volume in pod["volumes"])


@pytest.mark.parametrize(("name", "pod", "container"), PODS, ids=NAMES)
def test_pods_run_commands_that_exist_and_are_watched(
    name: str, pod: dict[str, Any], container: dict[str, Any]
) -> None:
    assert "command" not in container, "the image's entry point is `hope`"
    check(shlex.join(["hope", *container["args"]]))
    ports = {port["name"] for port in container.get("ports", [])}
    probes = [container[probe] for probe in container if probe.endswith("Probe")]
    assert len(probes) >= 2
    for probe in probes:
        if "exec" in probe:
            check(shlex.join(probe["exec"]["command"]))
        else:
            assert probe["httpGet"]["port"] in ports
            assert probe["httpGet"]["path"] in ("/healthz", "/readyz")
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize(("name", "pod", "container"), PODS, ids=NAMES)
def test_references_of_pods_lead_somewhere(name: str, pod: dict[str, Any], container: dict[str, Any]) -> None:
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/data", "/tmp"}  # noqa: S108 - the pod's own
    for source in container["envFrom"]:
        if "configMapRef" in source:
            named("ConfigMap", source["configMapRef"]["name"])
        else:
            assert source["secretRef"]["name"] in SECRETS
    for entry in container["env"]:
        reference = entry["valueFrom"]["secretKeyRef"]
        assert reference["key"] in SECRETS[reference["name"]]
    for volume in pod["volumes"]:
        assert volume.get("secret", {"secretName": "hope-s3"})["secretName"] in SECRETS


@pytest.mark.parametrize(("name", "pod", "container"), PODS, ids=NAMES)
def test_selectors_match_the_pods_they_mean(name: str, pod: dict[str, Any], container: dict[str, Any]) -> None:
    deployment = named("Deployment", name)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    same = [n for n in NAMES if named("Deployment", n)["spec"]["template"]["metadata"]["labels"] == labels]
    assert same == [name], "two Deployments would fight over the same pods"


def test_services_budgets_and_policies_select_pods_that_exist() -> None:
    pods = [named("Deployment", name)["spec"]["template"]["metadata"]["labels"] for name in NAMES]
    for document in BASE:
        selector = {
            "Service": lambda spec: spec["selector"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda spec: spec["podSelector"].get("matchLabels", {}),
        }.get(document["kind"])
        if selector:
            wanted = selector(document["spec"]).items()
            assert any(wanted <= labels.items() for labels in pods), document["metadata"]["name"]


def test_ports_match_from_ingress_to_container() -> None:
    (container,) = [c for name, _, c in PODS if name == "gateway"]
    service = named("Service", "gateway")
    listening = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(listening)
    settings = named("ConfigMap", "hope-gateway-settings")["data"]
    assert int(settings["HOPE_PORT"]) in listening.values()
    ingress = named("Ingress", "gateway", EVERY)
    for path in ingress["spec"]["rules"][0]["http"]["paths"]:
        backend = path["backend"]["service"]
        assert backend["name"] == "gateway"
        assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    policy = named("NetworkPolicy", "gateway")
    assert policy["spec"]["ingress"][0]["ports"][0]["port"] in listening.values()


def test_the_ingress_shows_users_what_they_need_and_nothing_else() -> None:
    rule = named("Ingress", "gateway", EVERY)["spec"]["rules"][0]
    paths = {path["path"]: path["pathType"] for path in rule["http"]["paths"]}
    assert paths["/"] == "Exact", "a prefix would open /metrics"
    assert {"/api", "/assets", "/auth"} <= set(paths)
    assert rule["host"] in named("ConfigMap", "hope-gateway-settings")["data"]["HOPE_PUBLIC_URL"]
    annotations = named("Ingress", "gateway", EVERY)["metadata"]["annotations"]
    sizes = {value for key, value in annotations.items() if key.endswith("body-size")}
    platform = Settings.from_environment({}).platform
    assert all(int(size.removesuffix("m")) > platform.max_upload_mb for size in sizes)


def test_every_stage_has_workers_and_they_differ_only_where_they_should() -> None:
    workers = {name: named("Deployment", name) for name in NAMES if name != "gateway"}
    assert set(workers) == {f"worker-{stage}" for stage in STAGES}
    alike = []
    for name, deployment in workers.items():
        stage = name.removeprefix("worker-")
        copy = deepcopy(deployment)
        (container,) = copy["spec"]["template"]["spec"]["containers"]
        assert container["args"] == ["worker", stage]
        container["resources"] = container["args"] = copy["spec"]["replicas"] = None
        alike.append(yaml.safe_dump(copy).replace(stage, "STAGE"))
    assert len(set(alike)) == 1


def test_everything_is_denied_that_is_not_allowed() -> None:
    deny = named("NetworkPolicy", "deny-by-default")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    blocks = re.findall(r"'cidr': '0.0.0.0/0'.*?\}", str(BASE))
    assert blocks
    assert all("169.254.0.0/16" in block for block in blocks), "the cloud's metadata service would be open"


def test_settings_are_understood_and_the_gateway_has_a_way_to_sign_in() -> None:
    given = {**named("ConfigMap", "hope-settings")["data"], **named("ConfigMap", "hope-gateway-settings")["data"]}
    platform = Settings.from_environment(given).platform
    assert not platform.loopback
    assert platform.authentication
    mounts = {m["name"]: m["mountPath"] for name, _, c in PODS if name == "gateway" for m in c["volumeMounts"]}
    assert platform.api_tokens_file == f"{mounts['api-tokens']}/api-tokens"


def test_no_secret_is_written_down() -> None:
    assert not [o for o in EVERY if o["kind"] == "Secret"]
    for document in (o for o in EVERY if o["kind"] == "ConfigMap"):
        for name, value in document["data"].items():
            assert not re.search(r"PASSWORD|SECRET|ACCESS_KEY|DATABASE_URL|SMTP_URL", name)
            assert not re.search(r"://[^/]*:[^/]*@", value)


def test_images_carry_this_version() -> None:
    entries = documents(KUBERNETES / "base" / "kustomization.yaml")[0]["images"]
    assert {entry["name"] for entry in entries} == {c["image"] for _, _, c in PODS}
    for folder in ("base", *(f"overlays/{overlay}" for overlay in OVERLAYS)):
        for entry in documents(KUBERNETES / folder / "kustomization.yaml")[0].get("images", []):
            assert entry["newTag"] == __version__


@pytest.mark.parametrize("folder", ["base", *(f"overlays/{overlay}" for overlay in OVERLAYS)])
def test_kustomize_builds_it(folder: str) -> None:
    kubectl = shutil.which("kubectl")
    if not kubectl:
        pytest.skip("kubectl is not on this machine: the manifests were read by our own checks only")
    words = [kubectl, "kustomize", str(KUBERNETES / folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = [document for document in yaml.safe_load_all(done.stdout) if document]
    assert len(built) == len(manifests(KUBERNETES / folder))
    assert {o["metadata"].get("namespace", "hope") for o in built} == {"hope"}
    assert "hope-gateway:" in done.stdout
    assert not re.search(r"image: [^\s:]+$", done.stdout, re.MULTILINE), "an image without a version"


def test_a_graphics_card_is_one_pods_alone() -> None:
    kubectl = shutil.which("kubectl")
    if not kubectl:
        pytest.skip("kubectl is not on this machine: the patch cannot be applied")
    words = [kubectl, "kustomize", str(KUBERNETES / "overlays" / "gpu")]
    built = [
        o for o in yaml.safe_load_all(subprocess.run(words, capture_output=True, text=True, check=True).stdout) if o
    ]
    segment = named("Deployment", "worker-segment", built)["spec"]
    (container,) = segment["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {"name": "HOPE_DEVICE", "value": "cuda"} in container["env"]
    assert segment["strategy"]["rollingUpdate"]["maxSurge"] == 0
    others = [c for name, _, c in containers(built) if name != "worker-segment"]
    assert not any("nvidia.com/gpu" in c["resources"]["limits"] for c in others)
