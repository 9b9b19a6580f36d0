"""A job as FLARE takes it: a directory that names classes of this package and holds no code and no path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hope.domain.errors import InputError
from hope.federated.site import KINDS
from hope.formats.atomic import atomic_output, output_error

META: Final = "meta.json"
APP: Final = "app"
TASK: Final = "hope"
_CLASSES: Final = "hope.federated.flare"
SITE_CLASSES: Final = (f"{_CLASSES}.SiteExecutor", f"{_CLASSES}.AggregatesOnly")
SERVER_CLASSES: Final = (f"{_CLASSES}.CollectResponses",)


def job_files(job: str, model: str, sha256: str, hours: float) -> dict[str, Mapping[str, Any]]:
    """The files of a job, by their place in its directory.

    Args:
        job: its kind, one of ``site.KINDS``.
        model: id of the bundle, if it needs one.
        sha256: hash that every site's copy of the bundle must have.
        hours: how long the server waits for the sites.
    """
    asked = {"job": job, "model": model, "sha256": sha256}
    server = {"path": SERVER_CLASSES[0], "args": {**asked, "hours": hours}}
    return {
        META: {
            "name": f"hope-{job}",
            "resource_spec": {},
            "deploy_map": {APP: ["@ALL"]},
            "min_clients": 1,
        },
        f"{APP}/config/config_fed_server.json": {
            "format_version": 2,
            "workflows": [{"id": "collect", **server}],
            "components": [],
            "task_data_filters": [],
            "task_result_filters": [],
        },
        f"{APP}/config/config_fed_client.json": {
            "format_version": 2,
            "executors": [{"tasks": [TASK], "executor": {"path": SITE_CLASSES[0], "args": asked}}],
            "components": [],
            "task_data_filters": [],
            "task_result_filters": [{"tasks": [TASK], "filters": [{"path": SITE_CLASSES[1], "args": {}}]}],
        },
    }


def write_job(folder: Path, job: str, model: str = "", sha256: str = "", hours: float = 24.0) -> None:
    """Write a job.

    Args:
        folder: made; must not hold anything yet.
        job: its kind, one of ``site.KINDS``.
        model: id of the bundle, if it needs one.
        sha256: hash that every site's copy of the bundle must have.
        hours: how long the server waits for the sites.

    Raises:
        InputError: if the directory holds something.
        OutputError: if it cannot be written.
    """
    try:
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise InputError("the job's directory holds something", fix="name a new one with -o")
        for name, content in job_files(job, model, sha256, hours).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with atomic_output(folder / name) as stream:
                stream.write((json.dumps(content, indent=2) + "\n").encode())
    except OSError as error:
        raise output_error("the job's directory", error) from error


def kind_of_job(folder: Path) -> str:
    """The kind of a job in a directory.

    Raises:
        InputError: if it is no job of `hope federate export`.
    """
    try:
        name = str(json.loads((folder / META).read_bytes())["name"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError("the job cannot be read", expected="what `hope federate export` wrote") from error
    kind = name.removeprefix("hope-")
    if kind not in KINDS:
        raise InputError("the job is none of this version", expected=", ".join(KINDS), got=kind[:40])
    return kind
