"""A small deployment of FLARE on this machine: certificates, one server, a client for each site, TLS in between.

Every process is a real one that `nvflare provision` made a kit for, with the site policy in its kit. All of it lies in
one directory, also what FLARE writes into the home.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from hope.domain.errors import StageError
from hope.federated.policy import RESOURCES, write_policy
from hope.formats.bounded_program import bounded_command

_PROJECT: Final = "hope"
_ORGANISATION: Final = "hope"
_ADMIN: Final = "admin@hope.example"
_SERVER: Final = "localhost"
KITS: Final = Path("kits", _PROJECT, "prod_00")
FETCHED: Final = "fetched"
OUTCOME: Final = {"NVFLARE_CLIENT_OUTCOME_WAIT_TIMEOUT": "10"}
"""A server ends a job only so many seconds after its result where a site died; FLARE waits 900 unless told."""
LEAVE_SECONDS: Final = 20.0
"""How long the processes have to end after the shutdown, before they are killed."""
_KILLED_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 0.5


def run_deployment(root: Path, names: Sequence[str], environment: Mapping[str, str], said: Path) -> Path | None:
    """Provision, start, run the job in ``root/job``, shut down.

    Args:
        root: private directory; the kits of all participants go there.
        names: of the sites.
        environment: of every process.
        said: what the processes print goes there.

    Returns:
        directory of the fetched result; None if there is none.

    Raises:
        StageError: if the kits cannot be made.
    """
    with said.open("wb") as output:
        _provision(root, names, environment, output)
        kits = root / KITS
        for name in (_SERVER, *names):
            protect(kits / name / "local")
        with ExitStack() as running:
            # Last of all, when nothing is left that would start more.
            running.callback(end_jobs, root)
            server = running.enter_context(_process(kits / _SERVER, "server", "", {**environment, **OUTCOME}, output))
            for name in names:
                running.enter_context(_process(kits / name, "client", name, environment, output))
            command = [
                sys.executable,
                "-m",
                "hope.federated.flare_session",
                _ADMIN,
                str(kits / _ADMIN),
                str(root / "job"),
            ]
            command += [str(len(names)), str(root / FETCHED)]
            with _started(command, root, environment, output) as session:
                wait_for_session(session, server)
    return next((root / FETCHED).glob("*"), None)


def _provision(root: Path, names: Sequence[str], environment: Mapping[str, str], output: BinaryIO) -> None:
    project = project_of(names, free_port())
    (root / "project.yml").write_text(json.dumps(project), encoding="utf-8")  # JSON is YAML too
    command = [sys.executable, "-m", "nvflare.cli", "provision", "-p", "project.yml", "-w", "kits"]
    run_to_end(command, root, environment, output)
    if not (root / KITS / _ADMIN).is_dir():
        raise StageError("FLARE did not make the startup kits; --keep DIR keeps what it said")


def project_of(names: Sequence[str], port: int) -> dict[str, Any]:
    """What `nvflare provision` reads: a server, a client for each site and an administrator."""
    own = {"org": _ORGANISATION}
    return {
        "api_version": 3,
        "name": _PROJECT,
        "participants": [
            {"name": _SERVER, "type": "server", **own, "fed_learn_port": port},
            *({"name": name, "type": "client", **own} for name in names),
            {"name": _ADMIN, "type": "admin", **own, "role": "project_admin"},
        ],
        "builders": [
            {"path": "nvflare.lighter.impl.workspace.WorkspaceBuilder", "args": {}},
            {"path": "nvflare.lighter.impl.static_file.StaticFileBuilder", "args": {"config_folder": "config"}},
            {"path": "nvflare.lighter.impl.cert.CertBuilder", "args": {}},
            {"path": "nvflare.lighter.impl.signature.SignatureBuilder", "args": {}},
        ],
    }


def protect(local: Path) -> None:
    """Put the policy into a kit as the how-to says: two files, and two keys of the resources that are there."""
    write_policy(local, "privacy.json", "authorization.json", replace=True)
    resources = json.loads((local / "resources.json.default").read_bytes())
    (local / "resources.json").write_text(json.dumps({**resources, **RESOURCES}), encoding="utf-8")


def wait_for_session(session: subprocess.Popen[bytes], server: subprocess.Popen[bytes]) -> None:
    """Wait until the session has ended; where its server ends first, it waits ``LEAVE_SECONDS`` more.

    A session of FLARE's asks a dead server for ever. One that has shut its server down ends by itself at once.
    """
    while server.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            session.wait(_LOOK_SECONDS)
            return
    with contextlib.suppress(subprocess.TimeoutExpired):
        session.wait(LEAVE_SECONDS)


def run_to_end(command: Sequence[str], root: Path, environment: Mapping[str, str], output: BinaryIO) -> None:
    """Run a command of FLARE's in ``root``; what it says goes to ``output``, and its status is not looked at."""
    subprocess.run(
        bounded_command(command, {}),
        cwd=root,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        check=False,
    )


@contextmanager
def _process(
    kit: Path, kind: str, name: str, environment: Mapping[str, str], output: BinaryIO
) -> Iterator[subprocess.Popen[bytes]]:
    """What the kit's start script runs, but for its loop that starts a dead process again."""
    given = [f"uid={name}"] if name else []
    command = [
        *(sys.executable, "-u", "-m", f"nvflare.private.fed.app.{kind}.{kind}_train"),
        *("-m", str(kit), "-s", f"fed_{kind}.json", "--set", "secure_train=true", *given),
        *(f"org={_ORGANISATION}", "config_folder=config"),
    ]
    with _started(command, kit, environment, output) as child:
        yield child
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(LEAVE_SECONDS)


@contextmanager
def _started(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], output: BinaryIO
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which is killed at the end."""
    child = subprocess.Popen(
        bounded_command(command, {}),
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def end_jobs(root: Path) -> None:
    """Kill the processes of jobs, and wait until they are dead.

    FLARE starts each in a session of its own, so that it outlives the group of the process that started it. Its command
    line names a directory below ``root``. Where the system has no /proc they end by themselves, some seconds later.

    Args:
        root: the private directory of this deployment alone.
    """
    mark, programs = os.fsencode(f"{root}/"), (b"nvflare", b"hope.federated")
    found = True
    while found:
        found = False
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                command = (place / "cmdline").read_bytes()
                if mark in command and any(name in command for name in programs):
                    os.kill(int(place.name), signal.SIGKILL)
                    found = True
        time.sleep(_KILLED_SECONDS if found else 0)


def free_port() -> int:
    """A port of this machine that nobody listens at now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
