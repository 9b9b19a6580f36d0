"""Reads the files that deploy the platform (Dockerfile, compose.yaml, Kubernetes manifests) as the tools would."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
DOCKERFILE = REPOSITORY / "containers" / "Dockerfile"
COMPOSE = REPOSITORY / "compose.yaml"
ENV_EXAMPLE = REPOSITORY / ".env.example"
KUBERNETES = REPOSITORY / "deploy" / "kubernetes"

VARIABLE = re.compile(r"\$\{(\w+)(?:(:?[-?])([^}]*))?\}")


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile: the stage it stands in ("" before the first), its name, all that follows."""

    stage: str
    name: str
    value: str

    def exec_form(self) -> list[str] | None:
        """The words of a JSON array, None if a shell would read it."""
        text = self.value[self.value.index("[") :] if "[" in self.value else ""
        try:
            words = json.loads(text)
        except json.JSONDecodeError:
            return None
        return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None


def instructions(text: str) -> list[Instruction]:
    """Instructions of a Dockerfile in order, comments left out, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found, stage = [], ""
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        name, _, value = line.strip().partition(" ")
        if name.upper() == "FROM":
            stage = re.split(r"\s+AS\s+", value, flags=re.IGNORECASE)[-1].strip()
        found.append(Instruction(stage, name.upper(), value.strip()))
    return found


def base_of(stage: str, all_: list[Instruction]) -> str:
    """What the stage is built on: an image, or an earlier stage."""
    value = next(i.value for i in all_ if i.name == "FROM" and i.stage == stage)
    return re.split(r"\s+AS\s+", value, flags=re.IGNORECASE)[0].strip()


def inherited(stage: str, all_: list[Instruction]) -> list[Instruction]:
    """Instructions that make up an image: those of the stages it is built on first."""
    base = base_of(stage, all_)
    below = inherited(base, all_) if base in {i.stage for i in all_} else []
    return [*below, *(i for i in all_ if i.stage == stage)]


def last(name: str, of: list[Instruction]) -> Instruction | None:
    """The instruction that counts."""
    return next((i for i in reversed(of) if i.name == name), None)


def in_build_context(path: str, ignore_text: str) -> bool:
    """Whether .dockerignore lets a file into the build context: the last pattern that fits it or a parent decides."""
    parts = path.split("/")
    kept = True
    for line in ignore_text.splitlines():
        pattern = line.strip().rstrip("/")
        if not pattern or pattern.startswith("#"):
            continue
        keep = pattern.startswith("!")
        if any(_fits("/".join(parts[:n]), pattern.lstrip("!")) for n in range(1, len(parts) + 1)):
            kept = keep
    return kept


def _fits(path: str, pattern: str) -> bool:
    """Docker's patterns: ``*`` stays within a folder, a leading ``**/`` means any depth."""
    deep = pattern.startswith("**/")
    pattern = pattern.removeprefix("**/")
    tails = path.split("/")
    candidates = ["/".join(tails[n:]) for n in range(len(tails))] if deep else [path]
    same_depth = [one for one in candidates if one.count("/") == pattern.count("/")]
    return any(re.fullmatch(translate(pattern), one) for one in same_depth)


class UnsetError(LookupError):
    """compose.yaml demands a variable that the environment does not have."""


def interpolated(value: Any, environment: Mapping[str, str]) -> Any:
    """Replace ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?reason}`` as Docker Compose does.

    Raises:
        UnsetError: where Compose would stop.
    """
    if isinstance(value, dict):
        return {key: interpolated(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, environment) for item in value]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        name, operator, rest = match[1], match[2] or "", match[3] or ""
        if environment.get(name):
            return environment[name]
        if operator.endswith("?"):
            raise UnsetError(f"{name}: {rest}")
        return rest if operator.endswith("-") else ""

    return VARIABLE.sub(replaced, value)


def compose(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """compose.yaml with anchors and merges resolved; with an environment also its variables."""
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return loaded if environment is None else interpolated(loaded, environment)


TARGET_OF = {"hope-gateway": "gateway", "hope-worker": "worker"}
"""Our images, and the Dockerfile's stages that they are built from."""


def image_of(service: Mapping[str, Any]) -> list[Instruction]:
    """The instructions behind a service's image; none if the image is not ours."""
    target = TARGET_OF.get(service["image"].partition(":")[0])
    return inherited(target, instructions(DOCKERFILE.read_text(encoding="utf-8"))) if target else []


def words_of(service: Mapping[str, Any]) -> list[str]:
    """What a container of a service of ours runs: entry point and command, compose.yaml's before the image's."""
    image = image_of(service)
    words: list[str] = []
    for key, name in (("entrypoint", "ENTRYPOINT"), ("command", "CMD")):
        instruction = last(name, image)
        words += service[key] if key in service else (instruction and instruction.exec_form()) or []
    return words


def health_words(service: Mapping[str, Any]) -> list[str]:
    """What tells whether a container is healthy: compose.yaml's check, else the image's; empty if there is none."""
    if "healthcheck" in service:
        test: list[str] = service["healthcheck"].get("test", [])
        return test[1:]
    check = last("HEALTHCHECK", image_of(service))
    return (check and check.exec_form()) or []


def documents(path: Path) -> list[dict[str, Any]]:
    """All documents of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def manifests(folder: Path = KUBERNETES / "base") -> list[dict[str, Any]]:
    """The objects that a kustomization of this project brings in, as written (patches are not applied)."""
    kustomization = documents(folder / "kustomization.yaml")[0]
    found: list[dict[str, Any]] = []
    for name in kustomization["resources"]:
        path = (folder / name).resolve()
        found.extend(manifests(path) if path.is_dir() else documents(path))
    return found


def containers(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Deployment's name, pod specification, container."""
    for document in objects:
        if document["kind"] == "Deployment":
            pod = document["spec"]["template"]["spec"]
            for container in pod["containers"]:
                yield document["metadata"]["name"], pod, container
