"""The store of `make containers`: how podman is called, which images there are, what was measured of them."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
STORE = Path(os.environ.get("HOPE_CONTAINERS") or REPOSITORY / "build" / "containers").resolve()
FIGURES = STORE / "figures.json"
OURS = frozenset({"store", "run", "tmp", "networks", "compose", "figures.json", "containers.conf", "pip.conf", "npmrc"})
DOCKERFILE = REPOSITORY / "containers" / "Dockerfile"
STEP_SECONDS = 3000

IMAGES = {
    "gateway": ("hope-gateway", "containers/Dockerfile", "gateway"),
    "worker": ("hope-worker", "containers/Dockerfile", "worker"),
    "endpoint": ("hope-endpoint", "containers/sagemaker/Dockerfile", "endpoint"),
}
"""Name -> repository of the image, its Dockerfile, the stage that is the image."""


def is_ours(name: str) -> bool:
    """Whether we made a file or directory of this name in the store; builds make temporary ones too."""
    return name in OURS or re.fullmatch(r"tmp[a-z0-9_]{8}", name) is not None


def version() -> str:
    """The version that tags the images, as src/hope/__init__.py states it."""
    return found(r'__version__ = "([^"]+)"', REPOSITORY / "src" / "hope" / "__init__.py")


def image(name: str) -> str:
    """The full name of one of our images."""
    return f"localhost/{IMAGES[name][0]}:{version()}"


def arguments() -> list[str]:
    """How podman is called: own store and settings; runc, because crun refuses control groups of the first version."""
    STORE.mkdir(parents=True, exist_ok=True)
    settings = STORE / "containers.conf"
    wanted = f"[containers]\ndefault_ulimits = {json.dumps(limits())}\n"
    if not settings.exists() or settings.read_text(encoding="utf-8") != wanted:
        settings.write_text(wanted, encoding="utf-8")
    own = ["--root", str(STORE / "store"), "--runroot", str(STORE / "run"), "--tmpdir", str(STORE / "tmp")]
    networks = ["--network-config-dir", str(STORE / "networks")]
    engine = ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
    return ["env", f"CONTAINERS_CONF={settings}", "podman", *own, *networks, *engine]


def limits() -> list[str]:
    """The limits of every container: no more open files than here, because podman would raise the limits itself.

    They stand in podman's settings, because `podman kube play` has no option for them.
    """
    files, processes = (resource.getrlimit(which)[1] for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    most = 4096 if processes == resource.RLIM_INFINITY else min(4096, processes)
    return [f"nofile={files}:{files}", f"nproc={most}:{most}"]


def podman(*words: str, check: bool = True, seconds: float = STEP_SECONDS) -> subprocess.CompletedProcess[str]:
    """Run one podman command to its end.

    Raises:
        RuntimeError: it failed, and `check` is set.
    """
    done = subprocess.run([*arguments(), *words], capture_output=True, text=True, timeout=seconds, check=False)
    if check and done.returncode:
        raise RuntimeError(f"podman {' '.join(words)}: {done.stderr.strip()}")
    return done


def shown(*words: str) -> None:
    """Run a podman command whose output belongs on the terminal."""
    subprocess.run([*arguments(), *words], timeout=STEP_SECONDS, check=True)


def exists(name: str) -> bool:
    """Whether the store has an image of this name."""
    return podman("image", "exists", name, check=False).returncode == 0


def size_mb(name: str) -> float:
    """Size of an image in MB, with the base that it shares."""
    return round(int(podman("image", "inspect", "--format", "{{.Size}}", name).stdout) / 1e6, 1)


@contextmanager
def measured(name: str) -> Iterator[dict[str, float]]:
    """Add seconds, and what the body enters, to figures.json."""
    entry: dict[str, float] = {}
    begun = time.monotonic()
    yield entry
    entry["seconds"] = round(time.monotonic() - begun, 1)
    figures = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    figures[name] = entry
    FIGURES.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    sys.stdout.write(f"{name}: {json.dumps(entry)}\n")
    sys.stdout.flush()


def found(pattern: str, path: Path) -> str:
    """What the first group of a pattern finds in a file.

    Raises:
        SystemExit: nothing.
    """
    match = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise SystemExit(f"containers: {path.name} has nothing like {pattern}")
    return match[1]


def named(base: str) -> str:
    """The tag of a base image (python, node) in the Dockerfile."""
    return found(rf"^FROM {base}:([^$\s]+)", DOCKERFILE)


def python_image() -> str:
    """The full name of the Python image that the Dockerfiles build on."""
    return f"docker.io/library/python:{named('python')}"
