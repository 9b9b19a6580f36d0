"""The endpoint as a process: where its models are, what it listens on, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import socket as sockets
import tempfile
import threading
from collections.abc import Mapping, MutableMapping
from pathlib import Path

import uvicorn

from hope.domain.errors import InputError
from hope.endpoint.app import create_app
from hope.endpoint.inputs import Limits
from hope.endpoint.invocation import Invocations, Models
from hope.endpoint.readiness import Readiness
from hope.jobs.listening import listen
from hope.jobs.processes import StageProcesses
from hope.jobs.scratch import Scratch, Sweeper
from hope.services import DEFAULT_SEGMENTER, Services
from hope.settings import Settings

MODEL_FOLDER = "/opt/ml/model"
"""Where SageMaker puts the files of a model."""

PORT = 8080

_MANIFEST = "model.json"
_FOR_EVER = 10.0 * 365 * 86400
_MIB = 2**20
_AFTER_GRACE_SECONDS = 4.0
"""After a kill there is only word to be told and folders to be removed; then the process ends whatever it is doing."""

log = logging.getLogger("hope.endpoint")


def use_model_folder(environment: MutableMapping[str, str], folder: Path = Path(MODEL_FOLDER)) -> None:
    """Let the models of SageMaker's folder be those of this process and its children, which always predict themselves.

    Args:
        environment: changed: HOPE_MODELS_DIR if the folder holds bundles (one as it is, or one per directory), and
            HOPE_ENDPOINT_MODEL if it holds a single one and no other was chosen.
        folder: where to look.
    """
    environment["HOPE_PREDICTOR"] = "local"
    alone = (folder / _MANIFEST).is_file()
    bundles = [folder] if alone else sorted(path.parent for path in folder.glob(f"[!.]*/{_MANIFEST}"))
    if not bundles:
        return
    environment["HOPE_MODELS_DIR"] = str(folder.parent if alone else folder)
    if len(bundles) == 1 and not environment.get("HOPE_ENDPOINT_MODEL"):
        environment["HOPE_ENDPOINT_MODEL"] = _id_in(bundles[0])


def port_of(environment: Mapping[str, str]) -> int:
    """The port that SageMaker asks for, or 8080.

    Raises:
        InputError: if it is none.
    """
    text = environment.get("SAGEMAKER_BIND_TO_PORT") or str(PORT)
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise InputError("SAGEMAKER_BIND_TO_PORT is not usable", expected="a TCP port", got=text)
    return int(text)


def serve_endpoint(host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        InputError: if a setting is not usable, the address is taken, or the folder for temporary files is not ours.
    """
    use_model_folder(os.environ)
    settings = Settings.from_environment()
    chosen = settings.endpoint
    services = Services(settings)
    listener = listen(host, port, 128)
    scratch = Scratch(_scratch_root(chosen.scratch))
    try:
        Sweeper(scratch, lambda _: None).start()
        server = _Server(services, settings, scratch)
        # When the server has closed it repeats the signal that ended it; there is still something to put away.
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            server.run(sockets=[listener])
    finally:
        scratch.close()


class _Server(uvicorn.Server):
    """Ends in SageMaker's 30 seconds: what runs may finish for a while, then it is killed.

    Args:
        services: models and objects.
        settings: what the environment chose.
        scratch: private folders; everything in them goes at the end.
    """

    def __init__(self, services: Services, settings: Settings, scratch: Scratch) -> None:
        chosen = settings.endpoint
        default = chosen.model or DEFAULT_SEGMENTER
        self._grace, self._scratch = chosen.grace_seconds, scratch
        self._processes = StageProcesses(chosen.bodies, keep=chosen.cases_at_once, keep_seconds=_FOR_EVER)
        self._invocations = Invocations(
            services.objects(),
            Models(services.models, default),
            self._processes,
            scratch,
            Limits(settings.platform.max_upload_mb * _MIB, chosen.max_input_mb * _MIB),
            at_once=chosen.cases_at_once,
            waiting=chosen.cases_waiting,
            timeout_seconds=chosen.timeout_seconds,
        )
        readiness = Readiness(self._processes, scratch, self._invocations.gate, chosen.cases_at_once, default)
        config = uvicorn.Config(
            create_app(self._invocations, readiness),
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            timeout_graceful_shutdown=math.ceil(self._grace + _AFTER_GRACE_SECONDS),
        )
        super().__init__(config)

    async def shutdown(self, sockets: list[sockets.socket] | None = None) -> None:
        """Stop listening, give back or finish what runs, end the children."""
        last = threading.Timer(self._grace + _AFTER_GRACE_SECONDS, self._end_now)
        last.daemon = True
        last.start()
        leaving = asyncio.create_task(self._invocations.leave(self._grace))
        await super().shutdown(sockets)
        await leaving
        await self._processes.close()

    def _end_now(self) -> None:
        """A call to the store that does not come back must not keep us; children die with this process."""
        log.error("not everything could be put away in time")
        self._scratch.close()
        os._exit(1)


def _scratch_root(chosen: str) -> Path:
    """A folder for temporary files that nobody else can look into.

    Raises:
        InputError: if it belongs to somebody else.
    """
    root = Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"hope-endpoint-{os.getuid()}"
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if root.is_symlink() or root.stat().st_uid != os.getuid():
            raise InputError(
                "the folder for temporary files belongs to another user", fix="choose one with HOPE_ENDPOINT_SCRATCH"
            )
        root.chmod(0o700)
    except OSError as error:
        raise InputError(
            f"the folder for temporary files cannot be used: {error.strerror}",
            fix="choose one with HOPE_ENDPOINT_SCRATCH",
        ) from error
    return root


def _id_in(bundle: Path) -> str:
    """The id that a bundle's manifest gives; empty if it cannot be read, which the registry will say."""
    try:
        return str(json.loads((bundle / _MANIFEST).read_bytes())["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
