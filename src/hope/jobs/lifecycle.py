"""How work starts and how it ends: runs, cancellations, and sessions that leave nothing behind.

A kill has an order that survives every crash: tombstone first (from then on nothing of the session may begin or be
written), then the engine and the running processes, then files, then rows. Who finds a tombstone with rows finishes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from hope.contract.job import USUAL_PRIORITY, CaseRecord, DeletionReceipt, GoneError
from hope.contract.options import RunOptions
from hope.domain.errors import OutputError
from hope.domain.ids import reference_of
from hope.jobs.disk_space import Ballast
from hope.ports import BlobStore, CaseStore, JobQueue

DEATH_SECONDS = 15.0
"""How long a kill waits for running stages to be dead. A worker that does not answer loses its lease before that."""

POLL_SECONDS = 0.05

MOST_RECONCILIATIONS = 3
"""How often a run that the engine lost is started again."""

GONE = "the case has been deleted"

_UNCONFIRMED = (
    "{workers} worker(s) died or did not answer: copies of scans in their scratch directories are deleted when they,"
    " or others on the same volume, start again"
)

_UPLOADS = (
    "{uploads} upload(s) had not ended, because their gateway died or did not answer: what they sent is deleted when it"
    " or another on the same volume starts again"
)

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass
class _Removed:
    files: int = 0
    bytes: int = 0

    def add(self, removed: tuple[int, int]) -> None:
        self.files += removed[0]
        self.bytes += removed[1]

    def receipt(
        self, identifier: str, cases: int, stopped: int, reason: str, unconfirmed: tuple[str, ...]
    ) -> DeletionReceipt:
        """What the user is told, now that it is complete."""
        now, reference = time.time(), reference_of(identifier)
        return DeletionReceipt(reference, cases, self.files, self.bytes, stopped, now, reason, unconfirmed)


class CaseLifecycle:
    """Starts and ends work.

    Args:
        store: metadata.
        blobs: voxels.
        queue: the engine.
        max_cases_in_work: of one session.
        staging: where cases are copied on their way to a model that runs elsewhere.
        ballast: what is given up for a deletion on a full disk.
        sweep_seconds: how long a deletion waits until what dead processes left is deleted; a peer needs two seconds.

    Attributes:
        longest_wait_seconds: a deletion that takes much longer than this has lost its process.
    """

    def __init__(
        self,
        store: CaseStore,
        blobs: BlobStore,
        queue: JobQueue,
        max_cases_in_work: int = 10,
        staging: BlobStore | None = None,
        ballast: Ballast | None = None,
        *,
        sweep_seconds: float,
    ) -> None:
        self._ballast, self._sweep_seconds = ballast, sweep_seconds
        # It waits for uploads and for attempts, one after the other.
        self.longest_wait_seconds = DEATH_SECONDS + 2 * sweep_seconds
        self._store, self._blobs, self._queue, self._staging = store, blobs, queue, staging
        self._max_in_work = max_cases_in_work
        self._reconciled: dict[tuple[str, int], int] = {}
        self._deleting: dict[str, asyncio.Task[DeletionReceipt]] = {}

    def run_case(self, case: CaseRecord, choice: RunOptions) -> CaseRecord:
        """Start a run. Blocks.

        A session's second, third, ... case in work gets a lower priority each, so that sessions take turns.

        Raises:
            GoneError: if the case is gone.
            ConflictError: if it is in work, has no scan, or the session has too many in work.
        """
        others = sum(other.state.in_work for other in self._store.cases(case.session_id) if other.id != case.id)
        queued = self._store.queue_case(case.id, choice, self._max_in_work)
        if case.run:
            self._drop_earlier_runs(queued)
        self._enqueue(queued, USUAL_PRIORITY + others)
        return queued

    def _enqueue(self, case: CaseRecord, priority: int) -> None:
        """Hand a run to the engine, and take it back if the case was deleted meanwhile.

        Whoever deleted it may have asked the engine to forget before there was anything to forget.

        Raises:
            GoneError: if so.
        """
        self._queue.enqueue(case.id, case.session_id, case.run, priority)
        if not self.exists(case.id):
            self._queue.cancel(case.id, case.run)
            self._queue.forget(case.id, case.run)
            raise GoneError(GONE)

    def _drop_earlier_runs(self, case: CaseRecord) -> None:
        """Files of runs that a new one replaces; corrections go with the result that they correct."""
        for run in range(1, case.run):
            self._blobs.delete_prefix(f"cases/{case.id}/{run}/")

    async def cancel_case(self, case: CaseRecord) -> CaseRecord:
        """Stop a run; the stage's process is dead when this returns, unless its worker does not answer."""
        cancelled = await asyncio.to_thread(self._store.cancel_case, case.id, case.run)
        if case.run:
            await asyncio.to_thread(self._queue.cancel, case.id, case.run)
            await self._until_dead(case_id=case.id)
        return cancelled

    async def delete_case(self, case: CaseRecord, reason: str = "case deleted") -> DeletionReceipt:
        """Stop and delete one case, for good.

        Raises:
            GoneError: if somebody else has deleted it.
        """
        stopped = len(await asyncio.to_thread(lambda: self._store.running_attempts(case_id=case.id)))
        # Whatever run it is in now, which need not be the one that the caller has seen.
        removed = _Removed()
        current = await asyncio.to_thread(self._with_space, removed, [case], self._store.cancel_case, case.id)
        unconfirmed: tuple[str, ...] = ()
        if current.run:
            cancel = partial(self._queue.cancel, run=current.run)
            await asyncio.to_thread(self._with_space, removed, [case], cancel, case.id)
            unconfirmed = await self._until_cleared(case_id=case.id)
        await asyncio.to_thread(self._with_space, removed, [case], self._store.delete_case, case.id)
        await asyncio.to_thread(self._remove, [current], removed)
        unconfirmed += await self._until_uploads_end(case.id)
        # An upload whose gateway was killed before its row was refused could not take back what it had stored.
        await asyncio.to_thread(self._remove, [current], removed)
        return removed.receipt(case.id, 1, stopped, reason, unconfirmed)

    async def delete_session(self, session_id: str, reason: str) -> DeletionReceipt:
        """Stop all that runs for a session and delete all it has; a second call while one is under way joins it.

        Raises:
            GoneError: if there is no such session.
        """
        task = self._deleting.get(session_id)
        if task is None:
            task = asyncio.ensure_future(self._delete_session(session_id, reason))
            self._deleting[session_id] = task
            task.add_done_callback(lambda _: self._deleting.pop(session_id, None))
        # A client that hangs up does not stop a deletion.
        return await asyncio.shield(task)

    async def _delete_session(self, session_id: str, reason: str) -> DeletionReceipt:
        removed = _Removed()
        cases = await asyncio.to_thread(self._store.cases, session_id)
        await asyncio.to_thread(self._with_space, removed, cases, self._store.close_session, session_id)
        cases = await asyncio.to_thread(self._store.cases, session_id)
        stopped = len(await asyncio.to_thread(lambda: self._store.running_attempts(session_id=session_id)))
        for case in cases:
            if case.state.in_work:
                cancel = partial(self._queue.cancel, run=case.run)
                await asyncio.to_thread(self._with_space, removed, cases, cancel, case.id)
        unconfirmed = await self._until_cleared(session_id=session_id)
        await asyncio.to_thread(self._remove, cases, removed)
        await asyncio.to_thread(self._store.delete_session_rows, session_id)
        # A worker that was refused its commit takes back what it wrote; what it wrote meanwhile goes here.
        await asyncio.to_thread(self._remove, cases, removed)
        return removed.receipt(session_id, len(cases), stopped, reason, unconfirmed)

    def _with_space(
        self, removed: _Removed, cases: Sequence[CaseRecord], write: Callable[[str], T], identifier: str
    ) -> T:
        """Make the first write of a deletion; if the disk is full, after the files that are to go have made room."""
        try:
            return write(identifier)
        except OutputError:
            log.warning("the disk is full: files are deleted before their tombstone is written")
            if self._ballast is not None:
                self._ballast.give_up()
            for case in cases:
                removed.add(self._blobs.delete_prefix(f"cases/{case.id}/"))
            return write(identifier)

    def _remove(self, cases: Sequence[CaseRecord], removed: _Removed) -> None:
        for case in cases:
            removed.add(self._blobs.delete_prefix(f"cases/{case.id}/"))
            self._queue.forget(case.id, case.run)
        # Last, since it may be far away: a deletion that fails here is taken up again, with the rest done.
        if self._staging is not None:
            for case in cases:
                removed.add(self._staging.delete_prefix(f"cases/{case.id}/"))

    async def _until_cleared(self, *, session_id: str | None = None, case_id: str | None = None) -> tuple[str, ...]:
        """Wait until the stages are dead and what workers that died left is deleted; returns what is not known to be.

        A worker that lives deletes its files before it says that the attempt has ended. One that died leaves that to
        its next start, or to a peer on the same volume.
        """
        await self._until_dead(session_id=session_id, case_id=case_id)
        uploads = await self._until_uploads_end(str(session_id)) if session_id else ()
        deadline = time.monotonic() + self._sweep_seconds
        while left := await asyncio.to_thread(
            lambda: self._store.open_attempts(session_id=session_id, case_id=case_id)
        ):
            if time.monotonic() > deadline:
                workers = len({attempt.executor for attempt in left})
                log.error("the scratch directories of %d worker(s) are not known to be deleted", workers)
                return (_UNCONFIRMED.format(workers=workers), *uploads)
            await asyncio.sleep(POLL_SECONDS)
        return uploads

    async def _until_uploads_end(self, identifier: str) -> tuple[str, ...]:
        """Wait until nothing of a deleted session's or case's uploads lies in a gateway's scratch directory."""
        deadline = time.monotonic() + self._sweep_seconds
        while left := await asyncio.to_thread(self._store.open_uploads, identifier):
            if time.monotonic() > deadline:
                return (_UPLOADS.format(uploads=left),)
            await asyncio.sleep(POLL_SECONDS)
        return ()

    async def _until_dead(self, *, session_id: str | None = None, case_id: str | None = None) -> None:
        deadline = time.monotonic() + DEATH_SECONDS
        while await asyncio.to_thread(lambda: self._store.running_attempts(session_id=session_id, case_id=case_id)):
            if time.monotonic() > deadline:
                log.error("a stage did not end within %.0f s of being stopped", DEATH_SECONDS)
                return
            await asyncio.sleep(POLL_SECONDS)

    def reconcile(self, case: CaseRecord) -> None:
        """Bring store and engine together again after a crash between the two. Blocks.

        A run that the engine never heard of, or whose pipeline ended without a word, is enqueued again: stages that are
        done are not done twice. One that does not get on by that is marked as failed.
        """
        ended = self._queue.has_ended(case.id, case.run)
        try:
            current = self._store.case(case.id)
        except GoneError:
            return
        if ended is False or not current.state.in_work or current.run != case.run:
            return
        tries = self._reconciled[(case.id, case.run)] = self._reconciled.get((case.id, case.run), 0) + 1
        if tries > MOST_RECONCILIATIONS:
            log.error("a run was lost %d times; its case is marked as failed", tries)
            self._store.fail_case(case.id, case.run, "the platform lost this run several times; please start it again")
            return
        log.warning("a run was lost by the engine and is started again")
        if ended:
            self._queue.forget(case.id, case.run)
        with contextlib.suppress(GoneError):
            self._enqueue(case, USUAL_PRIORITY)

    def prune_orphans(self) -> None:
        """Let the engine forget cases that no longer exist, which an interrupted deletion left in it. Blocks."""
        for case_id, runs in self._queue.held().items():
            if not self.exists(case_id):
                self._queue.cancel(case_id, runs)
                self._queue.forget(case_id, runs)

    def take_ballast(self) -> None:
        """Take up again the room that a deletion on a full disk needed. Blocks."""
        if self._ballast is not None:
            self._ballast.take()

    def is_in_work(self, case_id: str, run: str) -> bool:
        """Whether a run (its number as it stands in keys) is the current one of its case, and in work. Blocks."""
        try:
            case = self._store.case(case_id)
        except GoneError:
            return False
        return case.state.in_work and str(case.run) == run

    def unnamed(self, case_id: str, folders: Collection[str]) -> list[str]:
        """Which folders of a case hold nothing that a row names. Blocks.

        Args:
            case_id: of a case that lives.
            folders: keys that end in a slash, listed before this is called: what is written later is not judged.

        Returns:
            folders that may be deleted; none while an upload or a stage of the case is under way, since it writes its
            files before its row.
        """
        if not self._without_rows(case_id, folders):
            return []
        # In this order: what has ended by now has its row by now.
        if self._store.open_uploads(case_id) or self._store.open_attempts(case_id=case_id):
            return []
        return self._without_rows(case_id, folders)

    def _without_rows(self, case_id: str, folders: Collection[str]) -> list[str]:
        try:
            scans = self._store.case(case_id).series
            named = [scan.blob_key for scan in scans] + [a.blob_key for a in self._store.artifacts(case_id)]
        except GoneError:
            return []  # whoever deletes it deletes all of it
        return sorted(folder for folder in folders if not any(key.startswith(folder) for key in named))

    def exists(self, case_id: str) -> bool:
        """Whether there is such a case, in a living session. Blocks."""
        try:
            self._store.case(case_id)
        except GoneError:
            return False
        return True
