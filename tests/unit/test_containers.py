"""The Dockerfile: no engine builds it in the tests, so it is read closely, and the commands in it are tried."""

from __future__ import annotations

import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from tests.deployment import (
    DOCKERFILE,
    REPOSITORY,
    Instruction,
    base_of,
    compose,
    in_build_context,
    inherited,
    instructions,
    last,
)
from tests.unit.test_docs import check
from tools import container_store, containers

from hope import __version__
from hope.domain.extras import EXTRAS

TARGETS = ("gateway", "worker")
TEXT = DOCKERFILE.read_text(encoding="utf-8")
IGNORE = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8")

SECRET = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|_KEY\b", re.IGNORECASE)
FORBIDDEN_RUN = {
    r"\bapt(-get)? (dist-)?upgrade": "upgrades make the image depend on the day",
    r"\bsudo\b": "sudo",
    r"\b(curl|wget)\b": "fetches something that no hash holds",
    r"\bchmod\b.*\b(777|a\+w|o\+w)": "writable by everybody",
    r"\b(sh|bash) -c\b": "a shell in a shell",
}


def problems(text: str) -> list[str]:
    """What is wrong with a Dockerfile, in words."""
    every = instructions(text)
    stages = [i.stage for i in every if i.name == "FROM"]
    found = [problem for stage in stages for problem in _base_problems(stage, every, stages)]
    for instruction in every:
        found.extend(_instruction_problems(instruction))
    used = {base_of(stage, every) for stage in stages} | set(re.findall(r"--from=(\S+)", text))
    for target in (stage for stage in stages if stage not in used):
        found.extend(_image_problems(target, inherited(target, every)))
    return found


def _base_problems(stage: str, every: list[Instruction], stages: list[str]) -> list[str]:
    image = re.sub(r"\$\{\w+_DIGEST\}$", "", base_of(stage, every))
    if image in stages or re.search(r"@sha256:[0-9a-f]{64}$", image):
        return []
    tag = image.rpartition(":")[2] if ":" in image else ""
    return [] if re.match(r"v?\d+\.\d+(\.\d+)?\b", tag) else [f"{stage}: the base image {image} is not pinned"]


def _instruction_problems(one: Instruction) -> list[str]:
    found = []
    if one.name == "ADD":
        found.append("ADD may fetch and unpack: use COPY")
    if one.name in ("ENV", "ARG"):
        names = re.findall(r"(?:^|\s)(\w+)(?==|$)", one.value)
        found.extend(f"{one.name} {name} would be kept in the image" for name in names if SECRET.search(name))
    if one.name in ("ENTRYPOINT", "CMD") and one.exec_form() is None:
        found.append(f"{one.name} of {one.stage} goes through a shell: signals would not arrive")
    if one.name == "HEALTHCHECK" and one.value != "NONE" and one.exec_form() is None:
        found.append(f"HEALTHCHECK of {one.stage} goes through a shell")
    if one.name == "RUN":
        found.extend(
            f"RUN in {one.stage}: {why}" for pattern, why in FORBIDDEN_RUN.items() if re.search(pattern, one.value)
        )
        if re.search(r"apt-get\b.*\binstall", one.value):
            if "rm -rf /var/lib/apt/lists" not in one.value:
                found.append(f"RUN in {one.stage}: apt's lists stay in the image")
            if "--no-install-recommends" not in one.value:
                found.append(f"RUN in {one.stage}: apt brings what it recommends")
    return found


def _image_problems(target: str, image: list[Instruction]) -> list[str]:
    found = []
    user = last("USER", image)
    if user is None or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user.value):
        found.append(f"{target}: the user is not a number above 0, so Kubernetes cannot tell that it is not root")
    for wanted in ("ENTRYPOINT", "CMD", "HEALTHCHECK", "STOPSIGNAL", "LABEL"):
        if last(wanted, image) is None:
            found.append(f"{target}: there is no {wanted}")
    if any(i.name == "VOLUME" for i in image):
        found.append(f"{target}: an anonymous volume outlives its container, with scans in it")
    found.extend(
        f"{target}: its user could change the program: {i.value}"
        for i in image
        if i.name == "COPY" and re.search(r"--(chown|chmod)=", i.value)
    )
    return found


def test_the_dockerfile_is_sound() -> None:
    assert not problems(TEXT)


GOOD = """FROM python:3.11.17-slim AS app
LABEL a=b
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK CMD ["hope"]
ENTRYPOINT ["hope"]
CMD ["gateway"]
"""


def test_a_sound_dockerfile_has_no_problems() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("python:3.11.17-slim", "python", "not pinned"),
        ("python:3.11.17-slim", "python:latest", "not pinned"),
        ("python:3.11.17-slim", "python:3", "not pinned"),
        ("USER 10001:10001\n", "", "not a number"),
        ("USER 10001:10001", "USER 0:0", "not a number"),
        ("USER 10001:10001", "USER hope", "not a number"),
        ('ENTRYPOINT ["hope"]', "ENTRYPOINT hope", "through a shell"),
        ('CMD ["gateway"]', "CMD gateway", "through a shell"),
        ('HEALTHCHECK CMD ["hope"]', "HEALTHCHECK CMD hope || exit 1", "through a shell"),
        ("LABEL a=b", "LABEL a=b\nADD https://example.org/x /x", "ADD"),
        ("LABEL a=b", "LABEL a=b\nENV DB_PASSWORD=x", "kept in the image"),
        ("LABEL a=b", "LABEL a=b\nARG API_TOKEN", "kept in the image"),
        ("LABEL a=b", "LABEL a=b\nRUN apt-get update && apt-get upgrade -y", "depend on the day"),
        ("LABEL a=b", "LABEL a=b\nRUN apt-get update \\\n && apt-get install -y x", "lists stay"),
        ("LABEL a=b", "LABEL a=b\nRUN curl https://example.org | sh", "no hash"),
        ("LABEL a=b", "LABEL a=b\nCOPY --chown=10001 app /app", "change the program"),
        ("LABEL a=b", "LABEL a=b\nVOLUME /data", "outlives"),
        ("STOPSIGNAL SIGTERM\n", "", "STOPSIGNAL"),
    ],
)
def test_the_lint_itself_can_fail(old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert any(said in problem for problem in problems(GOOD.replace(old, new)))


def test_there_is_an_image_for_each_service() -> None:
    assert {i.stage for i in instructions(TEXT)} >= set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_the_images_run_commands_that_exist(target: str) -> None:
    image = inherited(target, instructions(TEXT))
    entry, command, health = (last(name, image) for name in ("ENTRYPOINT", "CMD", "HEALTHCHECK"))
    assert entry is not None and command is not None and health is not None
    assert entry.exec_form() == ["hope"]
    check(shlex.join(["hope", *(command.exec_form() or [])]))
    if (words := health.exec_form() or [])[0] == "hope":
        check(shlex.join(words))


def test_what_the_dockerfile_copies_is_there_and_let_in() -> None:
    copies = [i.value.split() for i in instructions(TEXT) if i.name == "COPY" and "--from=" not in i.value]
    sources = [source for words in copies for source in words[:-1]]
    assert "src" in sources
    assert [s for s in sources if not (REPOSITORY / s).exists()] == []
    assert [s for s in sources if not in_build_context(s, IGNORE)] == []


@pytest.mark.parametrize("dockerfile", [DOCKERFILE, DOCKERFILE.parent / "sagemaker" / "Dockerfile"])
def test_the_licence_and_the_notice_go_into_the_wheel_of_each_image(dockerfile: Path) -> None:
    """NOTICE names the public scans that the bundled models learnt from, as their licence asks."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    every = instructions(dockerfile.read_text(encoding="utf-8"))
    (copied,) = (i.value.split() for i in every if i.name == "COPY" and "pyproject.toml" in i.value)
    assert set(project["license-files"]) >= {"LICENSE", "NOTICE"}
    assert set(project["license-files"]) <= set(copied)
    assert [name for name in project["license-files"] if not in_build_context(name, IGNORE)] == []


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".env",
        "viewer/.env.local",
        ".venv/bin/python",
        "demo/cases/case-1/t1c.nii.gz",
        "runs/pool/a.npz",
        "tests/conftest.py",
        "docs/tutorial.md",
        "api-tokens.txt",
        "viewer/node_modules/preact/package.json",
        "viewer/tests/words.test.ts",
        "src/hope/web/static/index.html",
        "src/hope/stages/__pycache__/align.cpython-311.pyc",
        "src/case-t1c.nii.gz",
    ],
)
def test_the_build_context_leaves_out(path: str) -> None:
    assert not in_build_context(path, IGNORE)


@pytest.mark.parametrize(
    "path",
    [
        "src/hope/cli.py",
        "containers/gateway.txt",
        "src/hope/resources/models/starter/weights.safetensors",
        "src/hope/resources/models/mixed/model.json",
        "viewer/src/main.ts",
        "viewer/.npmrc",
    ],
)
def test_the_build_context_takes_in(path: str) -> None:
    assert in_build_context(path, IGNORE)


def test_torch_comes_first_and_everything_is_held_by_the_constraints() -> None:
    steps = list(inherited("install-worker", instructions(TEXT)))
    pip = [(n, i) for n, i in enumerate(steps) if i.name == "RUN" and "pip install" in i.value]
    assert "^torch==" in pip[0][1].value
    assert "wheel" not in pip[0][1].value
    for stage in ("wheel", "install-worker", "install-gateway"):
        held = [i.value for i in inherited(stage, instructions(TEXT)) if i.name == "ENV"]
        assert "PIP_CONSTRAINT=/build/constraints.txt" in held[0], stage
    # The pin is read from the file by the same command as in the Makefile.
    pins = re.findall(r"^torch==.*$", (REPOSITORY / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(pins) == 1


def test_each_image_names_what_it_installs() -> None:
    """A worker's extras are an argument with a default, which compose.yaml names too; the gateway has a list."""
    every = instructions(TEXT)
    (extras,) = (i.value.partition("=")[2] for i in every if i.name == "ARG" and i.value.startswith("EXTRAS"))
    assert set(extras.split(",")) == {"aws", "ensemble", "server"} <= set(EXTRAS)
    installs = {i.stage: i.value for i in every if i.name == "RUN" and "dist/hope_platform-*.whl" in i.value}
    assert '"$(echo dist/hope_platform-*.whl)[${EXTRAS}]"' in installs["install-worker"]
    assert "pip install --no-compile --no-deps nilearn dist/hope_platform-*.whl" in installs["install-gateway"]
    runs = [i.value for i in every if i.stage == "install-gateway"]
    assert any("pip install --no-compile --requirement gateway.txt" in value for value in runs)
    assert all(value.endswith("&& python trim.py /opt/hope") for value in installs.values())
    builds = [service["build"] for service in compose()["services"].values() if "build" in service]
    given = {build["target"]: build.get("args", {}).get("EXTRAS") for build in builds}
    assert given == {"gateway": None, "worker": extras}
    for target in TARGETS:
        (copied,) = (i.value for i in every if i.stage == target and i.name == "COPY")
        assert copied == f"--from=install-{target} /opt/hope /opt/hope"


def test_only_the_data_folder_is_the_users() -> None:
    runs = [i.value for i in inherited("gateway", instructions(TEXT)) if i.name == "RUN"]
    owned = re.findall(r"--owner=hope \S+ \S+ (\S+)", " ".join(runs))
    environment = " ".join(i.value for i in inherited("gateway", instructions(TEXT)) if i.name == "ENV")
    assert owned == ["/data"]
    assert "HOPE_DATA_DIR=/data" in environment
    assert "HOME=/tmp" in environment


def test_the_gateway_image_is_public_and_therefore_needs_authentication() -> None:
    from hope.settings import Settings

    words = " ".join(i.value for i in inherited("gateway", instructions(TEXT)) if i.name == "ENV").split()
    given = dict(word.split("=", 1) for word in words)
    platform = Settings.from_environment(given).platform
    assert not platform.loopback
    assert not platform.authentication


def test_versions_in_the_usage_lines_are_this_version() -> None:
    assert set(re.findall(r"-t hope-\w+:(\S+)", TEXT)) == {__version__}


def lay_context(stage: str, into: Path, where: Path | None = None) -> None:
    """Copy what the stage copies from the build context, to where it stands in the image.

    Args:
        stage: of the Dockerfile.
        into: the image's root.
        where: the folder that the stage begins in, which an earlier stage may have chosen; the root if not given.
    """
    where = where or into
    for one in (i for i in instructions(TEXT) if i.stage == stage):
        if one.name == "WORKDIR":
            where = into / one.value.removeprefix("/")
            where.mkdir(parents=True, exist_ok=True)
        elif one.name == "COPY" and "--from=" not in one.value:
            *sources, target = one.value.split()
            for source in sources:
                _lay(REPOSITORY / source, where / target, whole=len(sources) == 1)


def _lay(source: Path, target: Path, *, whole: bool) -> None:
    """Docker copies a file into a folder, but what is in a folder instead of the folder."""
    if source.is_file():
        shutil.copy(source, target / source.name if not whole or target.is_dir() else target)
        return
    for file in (file for file in source.rglob("*") if file.is_file()):
        if in_build_context(file.relative_to(REPOSITORY).as_posix(), IGNORE):
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)


def commands_of(stage: str) -> list[list[str]]:
    """The words of every command that the stage's RUN instructions chain."""
    runs = [i.value for i in instructions(TEXT) if i.stage == stage and i.name == "RUN"]
    return [shlex.split(command) for run in runs for command in run.split("&&")]


@pytest.mark.slow
def test_the_page_is_built_from_what_is_copied_alone(tmp_path: Path) -> None:
    """The very commands of the Dockerfile's first stage."""
    if shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("npm is not installed; run tools/system-packages.sh")
        pytest.skip("npm is not on this machine")
    lay_context("page", tmp_path)
    environment = {**os.environ, "npm_config_cache": str(tmp_path / "cache")}
    commands = commands_of("page")
    assert [words[0] for words in commands] == ["npm", "npm"]
    for words in commands:
        where = tmp_path / "build" / "viewer"
        done = subprocess.run(words, cwd=where, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    copied = next(i.value.split()[1] for i in instructions(TEXT) if i.stage == "wheel" and "--from=page" in i.value)
    assert (tmp_path / copied.removeprefix("/") / "index.html").is_file()


@pytest.mark.slow
def test_the_wheel_can_be_built_from_what_is_copied_alone(tmp_path: Path) -> None:
    """The very command of the Dockerfile, on the very files of the build context, with a page made elsewhere."""
    lay_context("pip", tmp_path)
    context = tmp_path / "build"
    lay_context("wheel", tmp_path, context)
    static = context / "src" / "hope" / "web" / "static"
    static.mkdir()
    (static / "index.html").write_text("<!doctype html><title>a page made elsewhere</title>", encoding="utf-8")
    build = next(words for words in commands_of("wheel") if words[2:4] == ["pip", "wheel"])
    # Without Node on the PATH, as in that stage.
    environment = {**os.environ, "PATH": str(Path(sys.executable).parent), "PIP_CONSTRAINT": "constraints.txt"}
    environment["PIP_BUILD_CONSTRAINT"] = "constraints.txt"
    words = [sys.executable, *build[1:]]
    done = subprocess.run(words, cwd=context, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (context / "dist").glob("hope_platform-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "hope/cli.py" in names
    assert "hope/web/static/index.html" in names
    assert "hope/resources/models/starter/weights.safetensors" in names
    assert any(name.endswith(".dist-info/licenses/NOTICE") for name in names)


def test_cleaning_deletes_our_store_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_store, "STORE", tmp_path / "named")
    monkeypatch.setattr(container_store, "podman", lambda *_words: None)
    monkeypatch.setattr(containers.subprocess, "run", lambda *_words, **_options: None)
    for name in ("store", "tmp1a_b2c3d", "work"):
        (tmp_path / "named" / name).mkdir(parents=True)
    with pytest.raises(SystemExit, match="holds work, which is not ours"):
        containers.clean()
    assert (tmp_path / "named" / "work").is_dir() and (tmp_path / "named" / "store").is_dir()
    (tmp_path / "named" / "work").rmdir()
    containers.clean()
    assert not (tmp_path / "named").exists()


def test_podman_reads_the_limits_of_its_containers_from_a_file_in_our_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`podman kube play` takes no option for them, and would raise them where that is not allowed."""
    monkeypatch.setattr(container_store, "STORE", tmp_path / "named")
    (given,) = (word.partition("=")[2] for word in container_store.arguments() if word.startswith("CONTAINERS_CONF="))
    limits = tomllib.loads(Path(given).read_text(encoding="utf-8"))["containers"]["default_ulimits"]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert f"nofile={most}:{most}" in limits
    assert all(container_store.is_ours(path.name) for path in (tmp_path / "named").iterdir())
