"""What an upload takes up, counted against its session from its first byte to its last temporary file."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import to_thread

from hope.contract.job import CaseRecord
from hope.contract.scans import QuotaError, SessionLimits
from hope.domain.errors import HopeError
from hope.jobs.scratch import removed
from hope.ports import CaseStore
from hope.settings import PlatformSettings
from hope.web.errors import log_failure

MIB = 2**20

STEP = 4 * MIB
"""An upload that does not say how long it is claims space in such steps."""


def limits_of(platform: PlatformSettings) -> SessionLimits:
    """What a session may hold, by the settings."""
    return SessionLimits(platform.max_session_mb * MIB, platform.max_session_files, platform.max_session_uploads)


@dataclass
class Claim:
    """The space that one upload has claimed. All calls block.

    Attributes:
        store: where it is counted.
        case_id: what the upload is for.
        id: of the upload.
        limits: of its session.
        size: bytes that are claimed.
        left: its folder, where that could not be deleted: the upload has not ended while it is there.
    """

    store: CaseStore
    case_id: str
    id: str
    limits: SessionLimits
    size: int
    left: Path | None = None

    def grow(self, size: int) -> None:
        """Claim so many bytes if fewer are.

        Raises:
            QuotaError: if the session may not hold them. GoneError: if the case is gone.
        """
        if size > self.size:
            self.settle(size)

    def settle(self, size: int) -> None:
        """Claim exactly so many bytes; raises as `grow`."""
        self.store.resize_upload(self.id, self.case_id, size, self.limits)
        self.size = size

    def bytes_left(self) -> int:
        """Bytes that the upload may take up at most."""
        return self.store.upload_bytes_left(self.id, self.case_id, self.limits)

    def exhausted(self) -> QuotaError:
        """What to say when an upload needs more than `bytes_left`."""
        most, fix = f"at most {self.limits.bytes // MIB} MiB", "delete a case or a scan first"
        return QuotaError("the session's scans take too much space", expected=most, fix=fix)

    def measure(self, folder: Path) -> None:
        """Claim what lies in the upload's folder now; raises as `grow`."""
        self.grow(_size_of(folder))


class Claims:
    """Makes claims for one gateway process.

    Args:
        store: where they are counted.
        platform: the limits.
        executor: id of this process.
    """

    def __init__(self, store: CaseStore, platform: PlatformSettings, executor: str) -> None:
        self._store, self._executor, self.limits = store, executor, limits_of(platform)
        self._unended: dict[str, Path | None] = {}

    @asynccontextmanager
    async def claimed(self, case: CaseRecord, size: int, files: int = 1) -> AsyncIterator[Claim]:
        """Claim space for one upload until the block ends; its files have to be gone by then.

        Args:
            case: what the upload is for.
            size: bytes to begin with.
            files: how many more files the session will hold.

        Raises:
            GoneError, BusyError, QuotaError: if there is none.
        """
        begin = self._store.begin_upload
        upload = await to_thread.run_sync(begin, case.id, self._executor, size, self.limits, files)
        claim = Claim(self._store, case.id, upload, self.limits, size)
        try:
            yield claim
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._end, claim)

    def _end(self, claim: Claim) -> None:
        """End an upload, and those that could not be ended when it was their turn."""
        self._unended[claim.id] = claim.left
        for one, left in sorted(self._unended.items()):
            if left is not None and not removed(left):
                continue  # a deletion says that it is not confirmed
            try:
                self._store.end_upload(one)
            except (HopeError, OSError) as error:
                log_failure("an upload could not be ended in the store yet", error)
                return
            self._unended.pop(one, None)


def _size_of(folder: Path) -> int:
    """Bytes below a folder that a program may be filling and emptying at this moment.

    ``os.walk`` passes over a directory that is gone when its turn comes; ``Path.rglob`` ends with FileNotFoundError.
    """
    size = 0
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            try:
                size += Path(place, name).lstat().st_size
            except FileNotFoundError:
                continue  # deleted meanwhile
    return size
