"""One stage of one case: fetch, run, store, commit. The outcome of an attempt counts only if it is still current."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hope.contract.job import MADE_ON, Artifact, Attempt, CaseState, FencedError, GoneError, StageJob, StageState
from hope.contract.outputs import OutputFile
from hope.contract.stages import SCANS
from hope.domain.errors import FullError, HopeError, InputError, StageError
from hope.formats.hashing import hash_file
from hope.jobs.disk_space import DiskSpace
from hope.jobs.failures import is_full, message_of
from hope.jobs.processes import StageProcesses
from hope.jobs.scratch import Scratch
from hope.jobs.waiting import AWAY_SECONDS, in_thread, patiently, patiently_or_undone, race
from hope.ports import BlobStore, CaseStore

DONE, FAILED, STOPPED = "done", "failed", "stopped"
"""What `StageWorker.run` answers: go on with the next stage, the case has failed, or nobody wants it any more."""

HEARTBEAT_SECONDS = 0.5
"""How often progress is written, and how soon a worker notices that its case was cancelled or deleted."""

QUIET_HEARTBEATS = 4
"""Without news only every so many beats are written, as a sign of life."""

MAX_ATTEMPTS = 10
"""A stage that was begun this often is given up, whatever ended it: it may be what kills the workers."""

SPACE_BYTES = 2**20
"""A stage that met a full disk is tried again when so much more is free than after it."""

FULL_SECONDS = 60.0
"""It is tried again after this long anyway."""

_FULL_MESSAGE = "the disk is full; the stage goes on when there is room"

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

log = logging.getLogger(__name__)


class _NoSpaceError(FullError):
    """A stage met a full disk, on which so many bytes were free right after it."""

    def __init__(self, free: int) -> None:
        super().__init__(_FULL_MESSAGE)
        self.free = free


@dataclass
class _News:
    """The last thing a child said."""

    message: str = ""
    share: float = 0.0
    changed: bool = False

    def tell(self, message: str, share: float) -> None:
        self.message, self.share, self.changed = message, min(1.0, max(0.0, share)), True


@dataclass
class _Tries:
    """What became of the attempts of one call of `StageWorker.run`: how many met a full disk, how many failed.

    The number of an attempt also counts those that ended with their worker or its database: no fault of the stage.
    """

    full: int = 0
    failed: int = 0


class StageWorker:
    """Does stages, as many at once as ``slots``.

    Args:
        store: metadata.
        blobs: voxels.
        processes: where the bodies run.
        scratch: private folders.
        executor: this process's id, unique for every start.
        slots: stages at once.
        tries: how often a stage that failed by our own fault is tried.
        timeout_seconds: longest time a stage may take.
        staging: where a stage may keep a copy of its case on the way to a model that runs elsewhere.
    """

    def __init__(
        self,
        store: CaseStore,
        blobs: BlobStore,
        processes: StageProcesses,
        scratch: Scratch,
        executor: str,
        *,
        slots: int = 1,
        tries: int = 3,
        timeout_seconds: float = 3600.0,
        staging: BlobStore | None = None,
    ) -> None:
        self._store, self._blobs, self._processes, self._scratch = store, blobs, processes, scratch
        self._disk = DiskSpace(scratch.directory, blobs, 0)
        self._executor, self._slots = executor, slots
        self._tries, self._timeout, self._staging = tries, timeout_seconds, staging
        self._gate: asyncio.Semaphore | None = None

    async def run(self, job: StageJob) -> str:
        """Do one stage until it is done, has failed for good, or is no longer wanted.

        Returns:
            ``DONE``, ``FAILED`` or ``STOPPED``.
        """
        # Made here because a semaphore belongs to the loop that runs the jobs.
        self._gate = self._gate or asyncio.Semaphore(self._slots)
        try:
            tries = _Tries()
            while True:
                try:
                    async with self._gate:
                        return await self._until_it_ends(job, tries)
                except _NoSpaceError as error:
                    # Others may have what they need: this one waits outside of the gate.
                    tries.full += 1
                    await self._until_space(job, error.free)
        except GoneError:
            return STOPPED
        except FencedError:
            return await self._outcome_of_others(job)

    async def _outcome_of_others(self, job: StageJob) -> str:
        """Wait for what another attempt makes of the stage, or find that the run is over.

        The engine may keep the first answer that it hears, also that of an attempt that was fenced: it has to be true.
        """
        while True:
            try:
                case = await in_thread(self._store.case, job.case_id)
            except GoneError:
                return STOPPED
            if case.run != job.run:
                return STOPPED
            if any(s.stage is job.stage and s.state is StageState.DONE for s in case.stages):
                return DONE
            if not case.state.in_work:
                return FAILED if case.state is CaseState.FAILED else STOPPED
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _until_it_ends(self, job: StageJob, tries: _Tries) -> str:
        """Try until there is an outcome."""
        while True:
            begin = partial(self._store.begin_attempt, job, self._executor)
            attempt = await patiently_or_undone(begin, self._store.end_attempt)
            if outcome := await self._try(attempt, tries):
                return outcome
            await asyncio.sleep(min(5.0, 0.2 * 2**attempt.number))

    async def _until_space(self, job: StageJob, before: int) -> None:
        """Wait until more is free than right after the attempt that met a full disk, or the run is not wanted any more.

        The full disk may be one that cannot be measured from here: so after a while it is tried anyway.
        """
        deadline = time.monotonic() + FULL_SECONDS
        while time.monotonic() < deadline:
            if await in_thread(self._disk.free) > before + SPACE_BYTES:
                return
            await asyncio.sleep(AWAY_SECONDS)
            case = await patiently(self._store.case, job.case_id)
            if case.run != job.run or not case.state.in_work:
                return

    async def _try(self, attempt: Attempt, tries: _Tries) -> str | None:
        """One attempt; None means try again. Whatever happens, the store learns when its process is dead.

        Raises:
            FullError: if a disk is full; the stage waits then, and how often it was tried does not count.
        """
        tidy = False
        try:
            await self._attempt(attempt, attempt.number - tries.full)
            tidy = True
            return DONE
        except (GoneError, FencedError):
            raise
        except InputError as error:
            await self._failed(attempt, str(error), ours=False, final=True)
            return FAILED
        except TimeoutError:
            reason = f"the stage {attempt.job.stage} took longer than {self._timeout / 60:.0f} minutes and was stopped"
            await self._failed(attempt, reason, ours=True, final=True)
            return FAILED
        except (HopeError, OSError) as error:
            if is_full(error):
                log.warning("stage %s waits: the disk is full", attempt.job.stage)
                # Now: the store may be on the same disk, and takes the news only when there is room.
                free = await in_thread(self._disk.free)
                await self._failed(attempt, _FULL_MESSAGE, ours=True, final=False)
                raise _NoSpaceError(free) from error
            # A store that is away for a while is not the stage's fault, and comes back.
            tries.failed += not isinstance(error, ConnectionError)
            final = tries.failed >= self._tries or attempt.number - tries.full >= MAX_ATTEMPTS
            log.warning("stage %s failed (try %d): %s", attempt.job.stage, attempt.number, message_of(error))
            await self._failed(attempt, message_of(error), ours=True, final=final)
            return FAILED if final else None
        finally:
            # A kill waits for these words.
            await asyncio.shield(patiently(self._store.end_attempt, attempt))
            if not tidy:
                await in_thread(self._drop_staged, attempt.job, _prefix(attempt))

    async def _failed(self, attempt: Attempt, problem: str, *, ours: bool, final: bool) -> None:
        await patiently(lambda: self._store.fail_attempt(attempt, problem, ours=ours, final=final))

    async def _attempt(self, attempt: Attempt, number: int) -> None:
        if number > MAX_ATTEMPTS:
            raise StageError(
                f"the stage was begun {MAX_ATTEMPTS} times and never ended; its process may not survive it"
            )
        if attempt.number > 1:
            await in_thread(self._drop_staged, attempt.job, _stage_prefix(attempt.job))
        with self._scratch.folder() as folder:
            paths = {name: folder / name for name in ("in", "out", "scratch")}
            for path in paths.values():
                path.mkdir()
            news = _News()

            async def work() -> None:
                sources = await in_thread(self._fetch, attempt, paths["in"])
                done = await self._processes.run({**_job(attempt, paths), "sources": sources}, news.tell)
                await in_thread(self._finish, attempt, done, paths["out"])

            async with asyncio.timeout(self._timeout):
                await race(work(), self._heartbeats(attempt, news))

    async def _heartbeats(self, attempt: Attempt, news: _News) -> None:
        """Write progress until cancelled; ends with FencedError or GoneError when the work is no longer wanted."""
        quiet = 0
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            quiet = 0 if news.changed else quiet + 1
            news.changed = False
            if quiet == 0 or quiet % QUIET_HEARTBEATS == 0:
                await in_thread(self._store.heartbeat, attempt, news.share, news.message)
            else:
                await in_thread(self._check_wanted, attempt)

    def _drop_staged(self, job: StageJob, prefix: str) -> None:
        """Delete what a killed stage left on its way to a model elsewhere; the maintenance loop looks once more."""
        if self._staging is None or not job.stage.spec.elsewhere:
            return
        try:
            self._staging.delete_prefix(prefix)
        except (HopeError, OSError) as error:
            log.warning("copies of a case could not be deleted yet: %s", error)

    def _check_wanted(self, attempt: Attempt) -> None:
        case = self._store.case(attempt.job.case_id)
        if case.run != attempt.job.run or not case.state.in_work:
            raise FencedError("the run was stopped")

    def _fetch(self, attempt: Attempt, into: Path) -> dict[str, dict[str, Any]]:
        """Bring what the stage reads; returns how each sequence was identified, where that is known."""
        sources = {}
        case = self._store.case(attempt.job.case_id)
        reads = attempt.job.stage.spec.reads
        for series in case.series:
            if series.sequence is not None:
                known = {name: series.facts[name] for name in ("confidence", "reason", "whose") if name in series.facts}
                if known:
                    sources[str(series.sequence)] = known
                if SCANS in reads:
                    self._blobs.fetch(series.blob_key, into / f"{series.sequence}.nii", series.sha256)
        if any(what != SCANS for what in reads):
            for artifact in self._store.artifacts(attempt.job.case_id):
                if artifact.stage is not None and artifact.version == 0 and _reads(reads, artifact):
                    self._blobs.fetch(artifact.blob_key, into / artifact.name, artifact.sha256)
        return sources

    def _finish(self, attempt: Attempt, done: Mapping[str, Any], out: Path) -> None:
        """Store the files, then commit; if that is refused, nothing stays behind.

        A connection that breaks may have broken after the commit, so that rows name the files: they stay. If no row
        does, the maintenance loop finds them.
        """
        try:
            result = done.get("result")
            if result is not None:
                # No scan of a case in work changes, so these are the ones that its stages read.
                result = {**result, MADE_ON: self._store.case(attempt.job.case_id).scans}
            self._store.commit_attempt(attempt, self._store_files(attempt, done, out), result)
        except ConnectionError:
            raise
        except BaseException:
            self._blobs.delete_prefix(_prefix(attempt))
            raise

    def _store_files(self, attempt: Attempt, done: Mapping[str, Any], out: Path) -> list[Artifact]:
        stored = []
        for entry in done.get("artifacts", []):
            if not _FILE_NAME.fullmatch(entry["name"]):
                raise StageError(f"the stage {attempt.job.stage} gave a file a name that cannot be stored")
            path = out / entry["name"]
            digest, size = hash_file(path)
            artifact = Artifact(
                name=entry["name"],
                kind=entry.get("kind", ""),
                blob_key=_prefix(attempt) + entry["name"],
                bytes=size,
                sha256=digest,
                stage=attempt.job.stage,
                public=bool(entry.get("public", False)),
                output=OutputFile.from_json(entry),
            )
            self._blobs.put_file(artifact.blob_key, path, digest)
            stored.append(artifact)
        return stored


def _reads(roles: Collection[str], artifact: Artifact) -> bool:
    """Whether a stage that reads these roles needs the file; one of an earlier version's worker names no role."""
    return artifact.output is None or artifact.output.role in roles


def _prefix(attempt: Attempt) -> str:
    token = hashlib.sha256(attempt.token.encode()).hexdigest()[:12]
    return f"{_stage_prefix(attempt.job)}{token}/"


def _stage_prefix(job: StageJob) -> str:
    return f"cases/{job.case_id}/{job.run}/{job.stage}/"


def _job(attempt: Attempt, paths: Mapping[str, Path]) -> dict[str, Any]:
    return {
        "do": str(attempt.job.stage),
        **{name: str(path) for name, path in paths.items()},
        "case": f"case-{attempt.job.case_id[:8]}",
        "choice": attempt.choice.to_json(),
        "staging": _prefix(attempt),
    }
