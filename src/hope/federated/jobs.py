"""A job as FLARE takes it: a directory that names classes of this package and holds no code and no path."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hope.domain.errors import InputError
from hope.federated.averaging import TASKS, TRAIN
from hope.federated.plan import TrainingPlan
from hope.federated.site import KINDS, TRAINING
from hope.formats.atomic import atomic_directory, is_free

META: Final = "meta.json"
APP: Final = "app"
TASK: Final = "hope"
RESULTS: Final = "hope"
"""Directory of the results among what the server keeps of a job."""
_CLASSES: Final = "hope.federated.flare"
_TRAINING: Final = "hope.federated.flare_training"
PRIVACY_FILTER: Final = "nvflare.app_common.filters.percentile_privacy.PercentilePrivacy"
SITE_CLASSES: Final = (
    f"{_CLASSES}.SiteExecutor",
    f"{_CLASSES}.AggregatesOnly",
    f"{_TRAINING}.TrainingExecutor",
    PRIVACY_FILTER,
)
SERVER_CLASSES: Final = (f"{_CLASSES}.CollectResponses", f"{_TRAINING}.FederatedTraining")
AGGREGATES: Final = {"path": SITE_CLASSES[1], "args": {}}
Files = dict[str, Mapping[str, Any]]


def job_files(job: str, model: str, sha256: str, hours: float) -> Files:
    """The files of a job, by their place in its directory.

    Args:
        job: its kind, one of ``site.KINDS`` but training.
        model: id of the bundle, if it needs one.
        sha256: hash that every site's copy of the bundle must have.
        hours: how long the server waits for the sites.
    """
    asked = {"job": job, "model": model, "sha256": sha256}
    server = {"path": SERVER_CLASSES[0], "args": {**asked, "hours": hours}}
    return _files(job, server, {"path": SITE_CLASSES[0], "args": asked}, {TASK: [AGGREGATES]})


def training_files(model: str, sha256: str, plan: TrainingPlan, hours: float) -> Files:
    """The files of a training, by their place in the job's directory.

    Args:
        model: id of the bundle that the training starts from.
        sha256: its hash.
        plan: of the training.
        hours: how long the server waits for the sites in each task.
    """
    asked = {"model": model, "sha256": sha256, "plan": plan.model_dump()}
    server = {"path": SERVER_CLASSES[1], "args": {**asked, "hours": hours}}
    filters = {task: [AGGREGATES] for task in TASKS}
    if plan.percentile is not None:
        kept = {"percentile": plan.percentile, "gamma": plan.gamma}
        filters[TRAIN] = [{"path": PRIVACY_FILTER, "args": kept}, AGGREGATES]
    return _files(TRAINING, server, {"path": SITE_CLASSES[2], "args": asked}, filters)


def _files(
    job: str, server: Mapping[str, Any], executor: Mapping[str, Any], filters: Mapping[str, Sequence[Any]]
) -> Files:
    """The files of a job; ``filters`` holds the chain of each task's results, of which FLARE takes one a task."""
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
            "executors": [{"tasks": list(filters), "executor": executor}],
            "components": [],
            "task_data_filters": [],
            "task_result_filters": [{"tasks": [task], "filters": chain} for task, chain in filters.items()],
        },
    }


def write_job(folder: Path, files: Files) -> None:
    """Write a job, all of it or nothing.

    Args:
        folder: made; must not hold anything yet.
        files: what ``job_files`` or ``training_files`` gave.

    Raises:
        InputError: if the directory holds something.
        OutputError: if it cannot be written.
    """
    if not is_free(folder):
        raise InputError("the job's directory holds something", fix="name a new one with -o")
    with atomic_directory(folder, last=META) as made:
        for name, content in files.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


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
