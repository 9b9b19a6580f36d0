"""What a job leaves in the bucket: files under a run's own prefix, the manifest last, or why there is none.

<output>/<job id>/runs/<run id>/<file>    of one attempt
<output>/<job id>/manifest.json           written when all files of its run are there
<output>/<job id>/failure.json            why the last attempt failed; gone when a later one succeeds
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hope import __version__
from hope.contract.job import ConflictError, DamagedError
from hope.domain.errors import HopeError, OutputError
from hope.endpoint.payload import Payload
from hope.endpoint.problems import Problem, blamed_on
from hope.endpoint.store import Store

FORMAT = "hope-output/1"
FAILURE_FORMAT = "hope-failure/1"
MANIFEST, FAILURE, RUNS = "manifest.json", "failure.json", "runs"

_TRIES = 3
_RUN_ID = re.compile(r"\d{8}t\d{6}-[0-9a-f]{12}")

log = logging.getLogger(__name__)


def new_run_id() -> str:
    """A folder of one attempt; what else lies beside it is not ours and never deleted."""
    return f"{datetime.now(UTC):%Y%m%dt%H%M%S}-{secrets.token_hex(6)}"


def prior_result(objects: Store, payload: Payload) -> dict[str, Any] | None:
    """The manifest of an earlier attempt at this very job, if all its files are there; None if there is none.

    Raises:
        ConflictError: if the job's id belongs to another payload.
        InputError: if there is no such bucket, or it cannot be read.
        ConnectionError: if the store does not answer.
    """
    try:
        manifest = objects.get_json(f"{payload.folder}/{MANIFEST}")
    except DamagedError:
        raise _taken() from None
    except ConnectionError as error:
        if theirs := blamed_on(error, "output_location"):
            raise theirs from error
        raise
    if manifest is None:
        return None
    if manifest.get("format") != FORMAT or manifest.get("payload_sha256") != payload.sha256:
        raise _taken()
    return manifest if _complete(objects, payload, manifest) else None


def commit(
    objects: Store, payload: Payload, run_id: str, files: Sequence[Path], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Upload the files of a run, then the manifest, then remove what killed attempts left.

    Args:
        objects: the store.
        payload: the job.
        run_id: of this attempt.
        files: what to upload.
        facts: ``sha256`` and ``bytes`` per file name under ``files``; the rest goes into the manifest.

    Returns:
        The manifest: this run's, or that of another one which was sooner.

    Raises:
        OutputError: if the store does not take a file.
        ConnectionError: if it does not answer.
        ConflictError: if another payload took the job's id meanwhile.
    """
    rest = dict(facts)
    known: Mapping[str, Mapping[str, Any]] = rest.pop("files")
    prefix = f"{payload.folder}/{RUNS}/{run_id}"
    try:
        for path in files:
            objects.upload(path, f"{prefix}/{path.name}", known[path.name]["sha256"])
        manifest = {
            "format": FORMAT,
            "job_id": payload.job_id,
            "run_id": run_id,
            "state": "done",
            "payload_sha256": payload.sha256,
            "software": f"hope {__version__}",
            **rest,
            "files": [
                {"name": path.name, "key": f"{prefix}/{path.name}".split("/", 3)[3], **known[path.name]}
                for path in files
            ],
        }
        if sooner := _put_manifest(objects, payload, manifest):
            _remove(objects, f"{prefix}/")
            return sooner
    except BaseException:
        _remove(objects, f"{prefix}/")
        raise
    _tidy(objects, payload, run_id)
    return manifest


def tell_failure(objects: Store, folder: str, problem: Problem) -> None:
    """Leave word of a failure for whoever polls the job's folder, unless there is a result.

    Never fails itself: the store may be what failed, and the caller has an answer anyway.
    """
    try:
        if objects.get_json(f"{folder}/{MANIFEST}") is None:
            facts = {"format": FAILURE_FORMAT, "job_id": folder.rpartition("/")[2]}
            objects.put_json(f"{folder}/{FAILURE}", {**facts, "status": problem.status, "detail": problem.detail})
    except (HopeError, OSError) as error:
        log.warning("a failure could not be told: %s", type(error).__name__)


def _put_manifest(objects: Store, payload: Payload, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """Let this manifest be the job's, in place of one of an older input or whose files are gone.

    Returns:
        None; or the manifest of another endpoint that was given the same job and was sooner: its files stay.

    Raises:
        ConflictError: if another payload took the job's id meanwhile.
        ConnectionError: if that of others comes back again and again.
    """
    location = f"{payload.folder}/{MANIFEST}"
    for _ in range(_TRIES):
        if objects.put_new_json(location, manifest):
            return None
        there = prior_result(objects, payload)
        if (
            there
            and there.get("input_sha256") == manifest["input_sha256"]
            and (payload.named or there.get("model") == manifest["model"])
        ):
            return there
        objects.delete(location)
    raise ConnectionError("other endpoints write the same manifest")


def _complete(objects: Store, payload: Payload, manifest: Mapping[str, Any]) -> bool:
    try:
        wanted = {f"{manifest['run_id']}/{entry['name']}": entry["bytes"] for entry in manifest["files"]}
    except (KeyError, TypeError):
        return False
    there = {entry.key: entry.bytes for entry in objects.list(f"{payload.folder}/{RUNS}/")}
    return bool(wanted) and all(there.get(key) == size for key, size in wanted.items())


def _tidy(objects: Store, payload: Payload, run_id: str) -> None:
    """Remove what earlier attempts left. The result stands whether this succeeds or not."""
    try:
        runs = {entry.key.partition("/")[0] for entry in objects.list(f"{payload.folder}/{RUNS}/")}
        for other in sorted(run for run in runs - {run_id} if _RUN_ID.fullmatch(run)):
            objects.delete_prefix(f"{payload.folder}/{RUNS}/{other}/")
        objects.delete(f"{payload.folder}/{FAILURE}")
    except (OutputError, OSError) as error:
        log.warning("what earlier attempts left could not be removed: %s", type(error).__name__)


def _remove(objects: Store, prefix: str) -> None:
    try:
        objects.delete_prefix(prefix)
    except (OutputError, OSError) as error:
        log.warning("an unfinished upload could not be removed: %s", type(error).__name__)


def _taken() -> ConflictError:
    return ConflictError(
        "this job_id has a result of another payload at this output_location; use another job_id for another call"
    )
