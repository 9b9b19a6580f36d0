"""The maintenance loop of a process: its lease, dead peers' work, sessions that have ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
import time
from collections.abc import Awaitable, Callable

from hope.contract.job import GoneError, Session
from hope.jobs.lifecycle import CaseLifecycle
from hope.ports import BlobStore, CaseStore, JobQueue

PAUSE_SECONDS = 2.0
"""Between two rounds of the maintenance loop."""

RENEWALS = 5
"""How often a lease is renewed before it would run out."""

LEAVE_SECONDS = 20.0
"""A page that said goodbye may be a page that is being reloaded: it has this long to come back."""

RECONCILE_SECONDS = 5.0
"""A run is looked at by `Sessions.mend` only when it has been in work this long: enqueueing takes a moment."""

INTERRUPTED_SECONDS = 5.0
"""A kill that takes this much longer than it may wait for others has lost its process."""

ORPHAN_SECONDS = 900.0
"""How often files are looked for that no row names; it lists all blobs."""

STAGING_SECONDS = 300.0
"""How often copies are looked for that an endpoint wrote after nobody waited for it any more."""

_COPY = re.compile(r"cases/([0-9A-Za-z]+)/([0-9]+)/", re.ASCII)

PRUNE_SECONDS = 30.0
"""The engine may note the end of what it was just told to forget; that is cleared this often."""

log = logging.getLogger(__name__)


class Lease:
    """Says in a thread of its own that this process lives, and gives dead peers' work back to the queues.

    A thread, because an event loop that is busy must not look like a dead process. A peer is dead when its lease has
    expired, or when `died` was told of it.
    """

    def __init__(self, store: CaseStore, queue: JobQueue, executor: str, seconds: float) -> None:
        self._store, self._queue, self._executor, self._seconds = store, queue, executor, seconds
        self._wake, self._stop, self._engine_runs = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="hope-lease", daemon=True)
        self._gone: dict[str, float] = {}
        self._taken_up: set[str] = set()
        self._judge_from = self.renewed_at = 0.0

    def start(self) -> None:
        """Take the lease, then keep it."""
        self._store.renew_lease(self._executor, self._seconds)
        self.renewed_at = time.monotonic()
        self._thread.start()

    def judge_peers(self) -> None:
        """Begin to take up dead peers' work: the engine of this process runs."""
        self._engine_runs.set()
        self._wake.set()

    def died(self, executor: str) -> None:
        """Say that a peer is certainly dead, whatever its lease says: its work is taken up at once."""
        self._gone[executor] = time.monotonic() + self._seconds
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._seconds / RENEWALS)
            self._wake.clear()
            if self._stop.is_set():
                return
            try:
                self._round()
            except Exception:  # the database may be away for a while; the lease must go on trying
                log.exception("the lease could not be renewed")

    def _round(self) -> None:
        # What a process had sent to the database may be done after its death: a renewal, or a claim of work. So its
        # lease is ended, and its work taken up, again and again for as long as a lease lasts.
        gone = dict(self._gone)
        for name in gone:
            self._store.end_lease(name)
        expired = self._store.renew_lease(self._executor, self._seconds)
        now = time.monotonic()
        if now - self.renewed_at > self._seconds:
            # The database was away, for the others too: they have not died, they could not say that they live.
            self._judge_from = now + 2 * self._seconds
        self.renewed_at = now
        if not self._engine_runs.is_set():
            return
        dead = [n for n in expired if n != self._executor and (n in gone or now >= self._judge_from)]
        if dead:
            self._take_up(dead)
        self._taken_up.intersection_update(dead)
        for name, until in gone.items():
            if now > until and self._gone[name] == until:
                del self._gone[name]

    def _take_up(self, dead: list[str]) -> None:
        pieces = self._queue.recover(dead)
        if pieces or not self._taken_up.issuperset(dead):
            names = " ".join(name[:8] for name in dead)
            log.warning("%d dead process(es) noticed, %d pieces of work taken up: %s", len(dead), pieces, names)
        self._taken_up.update(dead)
        for name in dead:
            self._store.forget_executor(name, self._seconds)

    def end(self) -> None:
        """Give the lease back, so that peers take up at once what this process leaves."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=self._seconds)
        self._store.renew_lease(self._executor, 0.0)


class MaintenanceLoop:
    """Ends sessions whose time has come, finishes interrupted kills, mends runs, deletes what belongs to nobody.

    Args:
        store, blobs, lifecycle: what it looks after.
        session_hours: an idle session ends after this.
        on_end: called for every ended session (for the audit log): owner's name, session id, outcome.
        pause: seconds between two rounds.
        staging: where cases are copied on their way to a model that runs elsewhere; of this platform alone.
    """

    def __init__(
        self,
        store: CaseStore,
        blobs: BlobStore,
        lifecycle: CaseLifecycle,
        session_hours: float,
        on_end: Callable[[str, str], None],
        pause: float = PAUSE_SECONDS,
        staging: BlobStore | None = None,
    ) -> None:
        self._store, self._blobs, self._lifecycle = store, blobs, lifecycle
        self._staging = staging
        self._idle_seconds, self._on_end, self._pause = session_hours * 3600, on_end, pause
        self._next_orphans = self._next_prune = self._next_staging = 0.0
        self._closing_since: dict[str, float] = {}
        self._unchanged: dict[str, tuple[float, float | None, float]] = {}

    async def run(self) -> None:
        """Go round until cancelled."""
        while True:
            await self.run_once()
            await asyncio.sleep(self._pause)

    async def run_once(self) -> None:
        """Do once what there is to do; a task that fails is logged, and the others are done."""
        for task in (
            self._finish_deletions,
            self._end_sessions,
            self._reconcile_runs,
            self._clear,
            self._clear_staging,
        ):
            await self._careful(task)

    @staticmethod
    async def _careful(task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except Exception:  # one round that fails must not end housekeeping; it is logged and tried again
            log.exception("housekeeping failed and will be tried again")

    async def _finish_deletions(self) -> None:
        """Finish kills whose process died. One under way is left alone: its receipt has to count what it deletes."""
        now = time.monotonic()
        closing = await asyncio.to_thread(self._store.closing_sessions)
        self._closing_since = {session_id: self._closing_since.get(session_id, now) for session_id in closing}
        for session_id, since in self._closing_since.items():
            if now - since >= self._lifecycle.longest_wait_seconds + INTERRUPTED_SECONDS:
                await self._delete_session(session_id, "interrupted")

    async def _end_sessions(self) -> None:
        now = await asyncio.to_thread(self._store.now)
        living = await asyncio.to_thread(self._store.sessions)
        self._unchanged = {session.id: (session.seen_at, session.left_at, self._since(session)) for session in living}
        for session in living:
            if not await self._reason_to_end(session, now):
                continue
            # Ending others took its time: this one may have been used again meanwhile.
            with contextlib.suppress(GoneError):
                session = await asyncio.to_thread(self._store.session, session.id)
                if reason := await self._reason_to_end(session, now):
                    await self._delete_session(session.id, reason)

    def _since(self, session: Session) -> float:
        """Since when, by a clock that never goes back, this process has seen nothing happen to a session."""
        seen_at, left_at, since = self._unchanged.get(session.id, (None, None, 0.0))
        return since if (seen_at, left_at) == (session.seen_at, session.left_at) else time.monotonic()

    async def _reason_to_end(self, session: Session, now: float) -> str | None:
        # The clock of the database may have been put back: a session must not outlive its time by that.
        unchanged = time.monotonic() - self._since(session)
        left_at = session.left_at
        if session.close_with_page and left_at is not None and max(now - left_at, unchanged) > LEAVE_SECONDS:
            return "page closed"
        if max(now - session.seen_at, unchanged) <= self._idle_seconds:
            return None
        cases = await asyncio.to_thread(self._store.cases, session.id)
        return None if any(case.state.in_work for case in cases) else "expired"

    async def _delete_session(self, session_id: str, reason: str) -> None:
        try:
            receipt = await self._lifecycle.delete_session(session_id, reason)
        except GoneError:
            return
        log.info("a session ended (%s): %d cases, %d files", reason, receipt.cases, receipt.files)
        await asyncio.to_thread(self._on_end, session_id, reason)

    async def _reconcile_runs(self) -> None:
        for case in await asyncio.to_thread(self._store.cases_in_work, RECONCILE_SECONDS):
            await asyncio.to_thread(self._lifecycle.reconcile, case)

    async def _clear(self) -> None:
        await asyncio.to_thread(self._lifecycle.take_ballast)
        if time.monotonic() >= self._next_prune:
            self._next_prune = time.monotonic() + PRUNE_SECONDS
            await asyncio.to_thread(self._lifecycle.prune_orphans)
        if time.monotonic() < self._next_orphans:
            return
        self._next_orphans = time.monotonic() + ORPHAN_SECONDS
        await asyncio.to_thread(self._drop_orphans)

    async def _clear_staging(self) -> None:
        if self._staging is None or time.monotonic() < self._next_staging:
            return
        self._next_staging = time.monotonic() + STAGING_SECONDS
        await asyncio.to_thread(self._drop_staged, self._staging)

    def _drop_staged(self, staging: BlobStore) -> None:
        """Delete copies of runs that are not in work: their worker died, or the endpoint answered too late."""
        needed: dict[tuple[str, str], bool] = {}
        for blob in staging.keys("cases/"):
            if not (copy := _COPY.match(blob.key)):
                continue  # not ours: nothing that the platform writes has such a key
            case_id, run = copy.groups()
            if (case_id, run) not in needed:
                needed[case_id, run] = self._lifecycle.is_in_work(case_id, run)
                if not needed[case_id, run]:
                    staging.delete_prefix(f"cases/{case_id}/{run}/")

    def _drop_orphans(self) -> None:
        """Delete files that no row names: a process that died in the middle of a write or of a deletion left them."""
        folders: dict[str, set[str]] = {}
        for blob in self._blobs.keys("cases/"):
            folders.setdefault(blob.key.split("/")[1], set()).add(blob.key.rpartition("/")[0] + "/")
        for case_id, present in folders.items():
            if not self._lifecycle.exists(case_id):
                self._blobs.delete_prefix(f"cases/{case_id}/")
                continue
            for folder in self._lifecycle.unnamed(case_id, present):
                log.warning("files of a case that no row names were deleted")
                self._blobs.delete_prefix(folder)
