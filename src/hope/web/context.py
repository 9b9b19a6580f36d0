"""What the gateway works with: ports and doers, given to `create_app` and reached by routes through the request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hope.contract.job import CaseRecord, DeletionReceipt
from hope.contract.options import RunOptions
from hope.domain.progress import silent
from hope.ports import BlobStore, CaseStore, JobQueue
from hope.settings import Settings


class CaseLifecycle(Protocol):
    """Starts and ends what a session holds."""

    async def delete_session(self, session_id: str, reason: str) -> DeletionReceipt:
        """Stop the session's work and delete everything in it."""
        ...

    async def delete_case(self, case: CaseRecord) -> DeletionReceipt:
        """Stop a case's work and delete everything of it."""
        ...

    async def cancel_case(self, case: CaseRecord) -> CaseRecord:
        """Stop a case's work; its scans stay."""
        ...

    def run_case(self, case: CaseRecord, choice: RunOptions) -> CaseRecord:
        """Start a run. Blocks; raises ConflictError if the case or its session may not have one now."""
        ...


class Tasks(Protocol):
    """Runs short work on voxels in a child process."""

    async def run(self, job: dict[str, Any], progress: Callable[[str, float], None] = silent) -> dict[str, Any]:
        """Do a task (``dicom``, ``sample``, ``segmentation``) and return its "done" value.

        Raises:
            InputError: if the input is to blame.
            StageError: if we are.
        """
        ...


@dataclass(frozen=True)
class WebContext:
    """Everything that routes need.

    Attributes:
        settings: what the environment chose.
        store: metadata.
        blobs: bytes.
        queue: the durable engine; routes only ask whether it is well.
        lifecycle: starts and ends work.
        tasks: short work in child processes.
        models: what the installed model bundles say of themselves, ``{"id", "title", "licence", ...}`` each.
        scratch: a private directory of this process for uploads in flight.
        executor: id of this process, as its scratch directory has it.
    """

    settings: Settings
    store: CaseStore
    blobs: BlobStore
    queue: JobQueue
    lifecycle: CaseLifecycle
    tasks: Tasks
    models: Callable[[], list[dict[str, Any]]]
    scratch: Path
    executor: str = "gateway"
