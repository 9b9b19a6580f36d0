"""Seams of the platform: where it keeps things and what runs them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hope.contract.job import Artifact, Attempt, CaseEvent, CaseRecord, StageJob
from hope.contract.options import RunOptions
from hope.ports.scans import ScanStore
from hope.ports.sessions import SessionStore
from hope.ports.uploads import UploadStore


@dataclass(frozen=True)
class BlobInfo:
    """One stored blob: its key and size."""

    key: str
    bytes: int


class BlobStore(Protocol):
    """Keeps voxels and other bytes under keys such as ``cases/ID/series/t1c-TOKEN``. All calls block."""

    def put_file(self, key: str, path: Path, sha256: str) -> None:
        """Store a local file, whole or not at all. The file may be moved: the caller must not need it afterwards.

        Raises:
            OutputError: if it cannot be written (disk full, refused by the server).
        """
        ...

    def fetch(self, key: str, to: Path, sha256: str) -> None:
        """Bring a blob to a local file (perhaps a hard link: never write to it) and check its hash.

        Raises:
            DamagedError: if it is missing or its bytes are not those that were stored.
        """
        ...

    def read(self, key: str, sha256: str) -> Iterator[bytes]:
        """The bytes in chunks of at most 1 MiB, for a download; nothing is held in memory.

        Raises:
            DamagedError: before the last chunk if the hash differs, at once if it is missing.
        """
        ...

    def keys(self, prefix: str) -> Iterator[BlobInfo]:
        """What lies under a prefix that ends in a slash."""
        ...

    def delete_prefix(self, prefix: str) -> tuple[int, int]:
        """Delete all under a prefix that ends in a slash; returns how many blobs and bytes. Missing is fine."""
        ...

    def free_bytes(self) -> int | None:
        """How many bytes may still be stored; None where there is no disk whose end is known."""
        ...

    def check(self) -> None:
        """Do a cheap round trip for ``/readyz``; raises what is wrong."""
        ...


class CaseStore(SessionStore, ScanStore, UploadStore, Protocol):
    """Cases, attempts, files and events. All calls block and are safe from many threads and processes."""

    def create_case(self, session_id: str) -> CaseRecord:
        """A new case; raises GoneError if the session is gone."""
        ...

    def case(self, case_id: str, session_id: str | None = None) -> CaseRecord:
        """A case with stages and series; raises GoneError, also if it belongs to another session than the one given."""
        ...

    def cases(self, session_id: str) -> list[CaseRecord]:
        """All cases of a session, oldest first."""
        ...

    def living_cases(self, case_ids: Collection[str]) -> set[str]:
        """Those of the ids whose case is there and whose session is not closed."""
        ...

    def queue_case(self, case_id: str, choice: RunOptions, max_in_work: int) -> CaseRecord:
        """Start a new run: run + 1, state queued, four waiting stages, result and problem cleared, an event.

        Raises:
            GoneError: if the case is gone.
            ConflictError: if it is in work already, has no scan, or the session has ``max_in_work`` cases in work.
        """
        ...

    def label_case(self, case_id: str, label: str) -> CaseRecord:
        """Give a case the user's name for it, which stands in its row and nowhere else; raises GoneError."""
        ...

    def cancel_case(self, case_id: str, run: int | None = None) -> CaseRecord:
        """State cancelled with an event if it is in work (and in that run); its attempts are fenced from now on."""
        ...

    def begin_attempt(self, job: StageJob, executor: str) -> Attempt:
        """Take the right to do a stage: earlier attempts of it are fenced; stage and case become running; events.

        Raises:
            GoneError: if case or session is gone.
            FencedError: if the run is not the current one, was cancelled or failed, or the stage is done already.
        """
        ...

    def heartbeat(self, attempt: Attempt, share: float, message: str) -> None:
        """Progress of an attempt: updates the stage row and appends an event if share or message changed.

        Raises:
            FencedError: if the attempt is no longer current. GoneError: if the case is gone.
        """
        ...

    def commit_attempt(
        self, attempt: Attempt, artifacts: Sequence[Artifact], result: Mapping[str, Any] | None = None
    ) -> None:
        """Make a stage's files visible and mark it done, in one transaction; the last stage makes the case done.

        Raises:
            FencedError: if the attempt is no longer current. GoneError: if the case is gone.
        """
        ...

    def fail_attempt(self, attempt: Attempt, problem: str, *, ours: bool, final: bool) -> None:
        """The attempt ended without an outcome. ``final`` makes stage and case failed; else the stage waits again.

        Silent if the attempt is no longer current.
        """
        ...

    def end_attempt(self, attempt: Attempt) -> None:
        """Say that the attempt's process is dead, whatever came of it. Idempotent, silent if its rows are gone."""
        ...

    def running_attempts(self, *, session_id: str | None = None, case_id: str | None = None) -> list[Attempt]:
        """Attempts whose process may still live: begun, not ended, and their executor's lease not expired."""
        ...

    def open_attempts(self, *, session_id: str | None = None, case_id: str | None = None) -> list[Attempt]:
        """Attempts that have not ended, also of dead executors: scratch directories may still hold their scans."""
        ...

    def end_attempts_of(self, executor: str) -> None:
        """Say that an executor is dead and its scratch directory deleted: its attempts and uploads have ended."""
        ...

    def artifacts(self, case_id: str, *, public: bool | None = None) -> list[Artifact]:
        """Files of the current run that finished stages left, and corrections; raises GoneError."""
        ...

    def add_segmentation(
        self,
        case_id: str,
        artifacts_of_it: Artifact | Sequence[Artifact],
        result: Mapping[str, Any],
        run: int | None = None,
        upload: str = "",
        newest_known: int | None = None,
    ) -> Artifact:
        """Keep a corrected mask and what was made of it as the next version, with what it measures.

        `UNKNOWN_VERSION` in their names becomes the number, in the transaction that gives it; the answer is the mask
        and says both. It is the case's current version from now on. The bytes of ``upload`` count no more, since the
        mask's do from now on.

        Raises:
            GoneError: if the case is gone. ConflictError: unless it is done (in that run, if one is given), or if there
            is a newer version than ``newest_known``, if that is given.
        """
        ...

    def segmentation_results(self, case_id: str) -> dict[int, Mapping[str, Any]]:
        """Version -> what was measured of it, for corrections."""
        ...

    def cases_in_work(self, older_than_seconds: float) -> list[CaseRecord]:
        """Queued and running cases of all sessions whose current run was queued longer ago than this."""
        ...

    def fail_case(self, case_id: str, run: int, problem: str) -> None:
        """Mark a run that is in work as failed by our own fault, with an event; silent if it is not in work."""
        ...

    def events(self, case_ids: Collection[str], after: int, limit: int = 500) -> list[CaseEvent]:
        """Events of some cases in order of number, later than ``after``."""
        ...

    def delete_case(self, case_id: str) -> None:
        """Write a tombstone and delete every row of a case. Idempotent."""
        ...

    def renew_lease(self, executor: str, seconds: float) -> list[str]:
        """Say that an executor lives; the database's or this machine's clock plus ``seconds`` is its deadline.

        Returns:
            All executors whose deadline has passed, those that ran out first before the others.
        """
        ...

    def end_lease(self, executor: str) -> bool:
        """Let an executor's lease expire now, since its process is known to be dead; whether it had not yet."""
        ...

    def forget_executor(self, executor: str, seconds: float = 0.0) -> None:
        """Remove a lease that expired ``seconds`` ago or earlier; one that was renewed meanwhile stays."""
        ...

    def counts(self) -> dict[str, int]:
        """Figures for /metrics: cases per state (``cases_running`` ...), ``sessions``, ``attempts_running``."""
        ...

    def check(self) -> None:
        """Do a cheap round trip for ``/readyz``; raises what is wrong."""
        ...


class JobQueue(Protocol):
    """Runs pipelines durably: what was enqueued is finished, whatever process dies."""

    def enqueue(self, case_id: str, session_id: str, run: int, priority: int) -> None:
        """Start the pipeline of a run; the same run twice runs once. Blocks."""
        ...

    def cancel(self, case_id: str, run: int) -> None:
        """Stop a run's workflows; running stage processes die within two seconds. Blocks only to say so."""
        ...

    def has_ended(self, case_id: str, run: int) -> bool | None:
        """Whether the pipeline of a run has come to an end, whatever end; None if it was never enqueued. Blocks."""
        ...

    def recover(self, executors: Sequence[str]) -> int:
        """Give the unfinished work of dead processes back to the queues; returns how many pieces. Blocks."""
        ...

    def held(self) -> dict[str, int]:
        """Cases that the engine holds anything about, and their highest run. Blocks."""
        ...

    def forget(self, case_id: str, runs: int) -> None:
        """Delete all the engine kept about runs 1 to ``runs`` of a case; call after `cancel` has taken effect."""
        ...

    def check(self) -> None:
        """Do a cheap round trip for ``/readyz``; raises what is wrong."""
        ...
