"""One process of the platform: what it shares with its peers, and which part of the work it takes."""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import logging
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO

from hope.contract.job import PIPELINE_QUEUE
from hope.contract.stages import STAGES, Stage
from hope.domain.errors import HopeError, InputError
from hope.domain.ids import new_id
from hope.jobs.arenas import share_one_arena
from hope.jobs.disk_space import Ballast
from hope.jobs.lifecycle import CaseLifecycle
from hope.jobs.maintenance import Lease, MaintenanceLoop
from hope.jobs.processes import StageProcesses
from hope.jobs.scratch import Scratch, Sweeper
from hope.jobs.worker import StageWorker
from hope.ports import BlobStore, CaseStore
from hope.services import Services

_STALE_SECONDS = 3600.0

log = logging.getLogger(__name__)


class Node:
    """A gateway, a worker, or both in one process.

    Args:
        services: wired ports.
        stages: which stages this process does; none for a pure gateway.
        pipelines: whether it drives runs through their stages, as gateways do.
        slots: stages at once.

    Raises:
        InputError: if another process of its own works on the same embedded data.
    """

    def __init__(self, services: Services, stages: Collection[Stage], *, pipelines: bool, slots: int) -> None:
        share_one_arena()  # before any thread begins
        settings = services.settings
        self.services, self.stages, self._pipelines, self._slots = services, tuple(stages), pipelines, slots
        self.executor = new_id()
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _embedded_lock(settings.data_dir) if pipelines and set(stages) == set(STAGES) else None
        self.store, self.blobs = _reached(services)
        self.queue = services.queue(self.executor)
        self.scratch = Scratch(settings.data_dir / "scratch", self.executor)
        self.processes = StageProcesses(settings.platform.stage_bodies, keep=max(1, slots))
        self.lease = Lease(self.store, self.queue, self.executor, settings.platform.lease_seconds)
        self.sweeper = Sweeper(self.scratch, self.store.end_attempts_of, self.lease.died)
        self.lifecycle = self._lifecycle()
        self._alive_file = settings.data_dir / "alive" / self.executor

    def start(self) -> None:
        """Begin to work. Call it outside of an event loop."""
        platform = self.services.settings.platform
        # What dead processes of this machine left is gone before anything new is begun.
        self.sweeper.start()
        self.lease.start()
        worker = StageWorker(
            self.store,
            self.blobs,
            self.processes,
            self.scratch,
            self.executor,
            slots=self._slots,
            tries=int(platform.stage_tries),
            timeout_seconds=platform.stage_timeout_seconds,
            staging=self.services.staging,
        )
        queues = [*([PIPELINE_QUEUE] if self._pipelines else []), *(str(stage) for stage in self.stages)]
        self.queue.start(worker.run if self.stages else None, queues, self._slots, alone=self._lock is not None)
        self.lease.judge_peers()
        threading.Thread(target=self._say_alive, name="hope-alive", daemon=True).start()

    def keep_to_itself(self) -> None:
        """Let this process and its children leave nothing anywhere else: no temporary file, no core file."""
        folder = self.scratch.directory / "tmp"
        folder.mkdir(mode=0o700)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def start_maintenance(self, on_end: Callable[[str, str], None]) -> None:
        """Look after sessions, in a thread of its own; ``on_end`` is told session id and reason."""
        # Its own Sessions: that one belongs to the event loop of this thread.
        lifecycle, staging = self._lifecycle(), self.services.staging
        hours = self.services.settings.platform.session_hours
        maintenance = MaintenanceLoop(self.store, self.blobs, lifecycle, hours, on_end, staging=staging)
        threading.Thread(target=lambda: asyncio.run(maintenance.run()), name="hope-maintenance", daemon=True).start()

    def _lifecycle(self) -> CaseLifecycle:
        platform = self.services.settings.platform
        return CaseLifecycle(
            self.store,
            self.blobs,
            self.queue,
            platform.max_cases_in_work,
            self.services.staging,
            Ballast(self.services.settings.data_dir / "ballast"),
            sweep_seconds=platform.deletion_wait_seconds,
        )

    def _say_alive(self) -> None:
        """Touch a file while the lease is fresh, for `hope worker --check`."""
        seconds = self.services.settings.platform.lease_seconds
        self._alive_file.parent.mkdir(exist_ok=True, mode=0o700)
        for path in self._alive_file.parent.iterdir():
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink(missing_ok=True)  # of a process that was killed
        while True:
            if time.monotonic() - self.lease.renewed_at < 2 * seconds:
                self._alive_file.touch()
            time.sleep(seconds / 2)

    def leave(self, status: int = 0) -> None:
        """End this process now; peers, or its next start, take up what it was doing.

        The engine's own orderly end would write outcomes for what it interrupts; a process that is simply gone is the
        case that is tested best. Children die with their parent.
        """
        try:
            self.lease.end()
        except Exception:  # the database is away: peers will see the lease expire
            log.exception("the lease could not be given back")
        for pid in self.processes.pids:
            _kill_group(pid)
        self.scratch.close()
        self._alive_file.unlink(missing_ok=True)
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def is_alive(data_dir: Path, lease_seconds: float) -> bool:
    """Whether a process of the platform on this machine has renewed its lease lately."""
    folder = data_dir / "alive"
    if not folder.is_dir():
        return False
    return any(time.time() - path.stat().st_mtime < 3 * lease_seconds for path in folder.iterdir())


def _reached(services: Services) -> tuple[CaseStore, BlobStore]:
    """Both stores, after one round trip each, so that a wrong address is said at the start and in plain words."""
    platform = services.settings.platform
    try:
        found = importlib.util.find_spec(platform.stage_bodies)
    except (ModuleNotFoundError, ValueError):
        found = None
    if found is None:
        raise InputError("HOPE_STAGE_BODIES is not usable", expected="a Python module", got=platform.stage_bodies)
    try:
        services.store.check()
    except ConnectionError as error:
        raise InputError(
            "the database does not answer", fix="start it, or correct HOPE_DATABASE_URL; `hope doctor` shows it"
        ) from error
    try:
        services.blobs.check()
    except InputError:
        raise
    except (OSError, HopeError) as error:
        raise InputError(
            "the store of files cannot be used", fix="start it, or correct HOPE_BLOBS_URL; `hope doctor` shows it"
        ) from error
    return services.store, services.blobs


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, 9)
    except ProcessLookupError:
        return


def _embedded_lock(data_dir: Path) -> IO[str]:
    lock = (data_dir / "hope.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise InputError(
            "the platform is running already on this data directory",
            expected="one `hope up` per HOPE_DATA_DIR",
            fix="use the one that runs, stop it, or set another HOPE_DATA_DIR",
        ) from error
    except OSError as error:
        lock.close()
        raise InputError(
            f"files cannot be locked in the data directory: {error.strerror}", fix="set HOPE_DATA_DIR to a local disk"
        ) from error
    return lock
