"""What a child does in `malformed.py` besides the platform's own tasks: read a bundle, a pickle or a checkpoint."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hope.domain.errors import BundleError, InputError
from hope.domain.progress import Progress
from hope.jobs import bodies


def run(job: Mapping[str, Any], reported: Progress) -> dict[str, Any]:
    """Do a task of the gateway, or read what ``bundle`` or ``checkpoint`` names and run nothing of it."""
    if job["do"] not in ("bundle", "checkpoint"):
        return bodies.run(job, reported)
    from hope.models.importers.pickles import load
    from hope.models.importers.torch_files import TorchFile
    from hope.models.registry import ModelRegistry

    path = Path(job["in"]) / "upload"
    try:
        if job["do"] == "bundle":
            ModelRegistry(Path(job["out"])).add(path)
        elif path.read_bytes()[:2] == b"PK":
            file = TorchFile(path, "the checkpoint")
            file.outline(file.content, "state")
        else:
            load(io.BytesIO(path.read_bytes()), "the pickle")
    except BundleError as error:  # the command line says it in one sentence too
        raise InputError(str(error)) from error
    return {"artifacts": [], "result": {}}
