"""Uploads: from the wire to a private file, from there to a clean scan, and never whole in memory."""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request

from hope.contract.job import CaseRecord, ConflictError
from hope.domain.errors import InputError
from hope.formats.atomic import output_error
from hope.formats.nifti_clean import CleanScan, TooLargeError, clean_nifti
from hope.jobs.disk_space import DiskSpace
from hope.jobs.scan_task import CLEAN, UPLOAD
from hope.jobs.scratch import CLOSE_SECONDS, removed
from hope.web.case_watch import CaseWatch
from hope.web.claims import STEP, Claim, Claims
from hope.web.context import WebContext
from hope.web.errors import ProblemError
from hope.web.reading import UploadReader, while_connected

MIB = 2**20

IDLE_SECONDS = 60.0
"""A client that sends nothing for this long has gone, or means harm."""

_FLUSH = 256 * 1024  # what one upload holds in memory
_WRITERS = 2
_CLEANERS = 2

Result = TypeVar("Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spool:
    """An upload on disk, in a private folder that is deleted when the request ends.

    Attributes:
        folder: the private folder.
        path: the body as it came.
        bytes: its size; None where a child fetches what there is to read.
        claim: what it takes up of its session.
    """

    folder: Path
    path: Path
    bytes: int | None
    claim: Claim

    def directory(self, name: str) -> Path:
        """A new empty folder beside the body."""
        path = self.folder / name
        path.mkdir(mode=0o700)
        return path


class Uploads:
    """Takes uploads for one gateway process.

    Args:
        context: stores, limits and the scratch directory.
        disk: whether the disks have room.
        reader: lets children read what came.

    A few threads write and fewer unpack, so that fifty uploads at once need no more memory than their chunks.
    """

    def __init__(self, context: WebContext, disk: DiskSpace, reader: UploadReader) -> None:
        self._context, self._disk, self._reader = context, disk, reader
        self.claims = Claims(context.store, context.settings.platform, context.executor)
        self._watch = CaseWatch(context.store)
        self._writers = CapacityLimiter(_WRITERS)
        self._cleaners = CapacityLimiter(_CLEANERS)

    @property
    def max_bytes(self) -> int:
        """Largest body of one upload."""
        return self._context.settings.platform.max_upload_mb * MIB

    @asynccontextmanager
    async def spooled(
        self, request: Request, case: CaseRecord, what: str, replaced: str | None = None
    ) -> AsyncIterator[Spool]:
        """The request's body as a file, for the length of the block, or until the case is deleted.

        It counts against its session's quota from its first byte, and so does all that is made of it.

        Args:
            request: whose body nobody has read yet.
            case: what it is for.
            what: its role, for sentences.
            replaced: key of the scan that it may replace.

        Raises:
            QuotaError, BusyError: if the session may not hold it, also out of the block.
            TooLargeError: if it is, or says it is, larger than an upload may be.
            InputError: if it is empty.
            OutputError: if the disk is full.
            GoneError: if the case is deleted meanwhile, also out of the block.
            ProblemError: 400 if it is not as long as it said, 408 if nothing comes for long.
            ClientDisconnect: if the sender hangs up, also out of the block.
        """
        declared = self._declared(request, what)
        await to_thread.run_sync(self._disk.check, declared or 0)
        files = 0 if any(series.key == replaced for series in case.series) else 1
        async with (
            self.claims.claimed(case, declared or 0, files) as claim,
            self.folder(claim) as folder,
            self._watch.while_there(case.id, partial(claim.measure, folder)),
        ):
            path = folder / "body"
            size = await self._receive(request, path, what, claim)
            if declared is not None and size != declared:
                raise ProblemError(400, "cut-off", f"{what} is {size} bytes long, but Content-Length said {declared}")
            if size == 0:
                raise InputError(f"{what} is empty", expected="a file as the body", got="0 bytes")
            async with while_connected(request):
                yield Spool(folder, path, size, claim)

    @asynccontextmanager
    async def copies(self, request: Request, case: CaseRecord) -> AsyncIterator[Path]:
        """A private folder for copies of a case's scans, for the length of the block, or until the case is deleted.

        A deletion waits for it as for an upload; its bytes are those that are stored already and count no second time.

        Args:
            request: who waits for the work; its body was read.
            case: whose scans are copied.

        Raises:
            BusyError: if the session has as much under way as it may.
            OutputError: if the disk is full.
            GoneError: if the case is deleted meanwhile, also out of the block.
            ClientDisconnect: if the caller hangs up, also out of the block.
        """
        await to_thread.run_sync(self._disk.check, sum(scan.bytes for scan in case.series))
        async with (
            self.claims.claimed(case, 0, 0) as claim,
            self.folder(claim) as folder,
            self._watch.while_there(case.id),
            while_connected(request),
        ):
            yield folder

    @asynccontextmanager
    async def space_for(self, request: Request, case: CaseRecord) -> AsyncIterator[Spool]:
        """A private folder for what a child fetches for a case, for the length of the block, or until it is deleted.

        What lies in it counts against the session's quota once a second, and has to leave the disk its room.

        Args:
            request: who waits for the work; its body was read.
            case: what it is for.

        Raises:
            QuotaError, BusyError, FullError, GoneError, ClientDisconnect: as `spooled`, also out of the block.
        """
        async with (
            self.claims.claimed(case, 0, 1) as claim,
            self.folder(claim) as folder,
            self._watch.while_there(case.id, partial(claim.measure, folder), self._disk.check),
            while_connected(request),
        ):
            yield Spool(folder, folder / "body", None, claim)

    @asynccontextmanager
    async def held(self, case: CaseRecord) -> AsyncIterator[None]:
        """A block that works on copies of another case: its deletion ends the block, and waits for that.

        Raises:
            BusyError: if the session has as much under way as it may.
            GoneError: if the case is deleted meanwhile, also out of the block.
        """
        async with self.claims.claimed(case, 0, 0), self._watch.while_there(case.id):
            yield

    @asynccontextmanager
    async def folder(self, claim: Claim | None = None) -> AsyncIterator[Path]:
        """A private folder that is gone when the block ends, however it ends; the claim's has not ended before that."""
        folder = self._context.scratch / f"upload-{secrets.token_hex(8)}"
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise output_error("the upload", error) from error
        try:
            yield folder
        finally:
            with anyio.CancelScope(shield=True):
                # A converter that was just killed may still write into it.
                if not await to_thread.run_sync(removed, folder, CLOSE_SECONDS):
                    log.error("the folder of an upload could not be deleted; trying again after the next upload")
                    if claim is not None:
                        claim.left = folder

    def _declared(self, request: Request, what: str) -> int | None:
        text = request.headers.get("content-length")
        if text is None:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise ProblemError(400, "length", "Content-Length is not a number of bytes")
        if int(text) > self.max_bytes:
            raise self._too_large(what, f"{int(text) / MIB:.0f} MiB")
        return int(text)

    def _too_large(self, what: str, got: str) -> TooLargeError:
        limit = f"at most {self._context.settings.platform.max_upload_mb} MiB"
        return TooLargeError(f"{what} is too large", expected=limit, got=got, fix="send one scan, or fewer series")

    async def _receive(self, request: Request, path: Path, what: str, claim: Claim) -> int:
        size, held = 0, bytearray()
        file = await self._writing(partial(_open_private, path))
        try:
            chunks = request.stream().__aiter__()
            while True:
                with anyio.move_on_after(IDLE_SECONDS) as patience:
                    chunk = await anext(chunks, None)
                if patience.cancelled_caught:
                    raise ProblemError(408, "slow", f"nothing of {what} came for {IDLE_SECONDS:.0f} s")
                if chunk is None:
                    break
                size += len(chunk)
                if size > self.max_bytes:
                    raise self._too_large(what, "more")
                if size > claim.size:
                    await to_thread.run_sync(claim.grow, size + STEP)
                held += chunk
                if len(held) >= _FLUSH:
                    await to_thread.run_sync(self._disk.check)
                    await self._writing(partial(file.write, held))
                    held = bytearray()
            await self._writing(partial(file.write, held))
        except ClientDisconnect as error:
            raise ProblemError(400, "cut-off", f"the connection ended before {what} did") from error
        finally:
            with anyio.CancelScope(shield=True):
                await self._writing(file.close)
        return size

    async def _writing(self, write: Callable[[], Result]) -> Result:
        try:
            return await to_thread.run_sync(write, limiter=self._writers)
        except OSError as error:
            raise output_error("the upload", error) from error

    async def read(self, case: CaseRecord, spool: Spool, what: str) -> tuple[Path, CleanScan]:
        """An uploaded scan as a child leaves it: the clean file, and what it is. What was uploaded is gone then.

        Raises:
            InputError: as `clean_nifti`, and if it takes more than the policy allows.
            QuotaError: if the session may not hold what is in it.
        """
        spool.path.rename(spool.directory("in") / UPLOAD)
        out = spool.directory("out")
        limit = await self.unpacked_limit(spool.claim)
        job = {"do": "scan", "in": str(spool.folder / "in"), "out": str(out), "what": what, "max_bytes": limit}
        async with self._reader.slot(case.session_id):
            try:
                done = await self._reader.run(job, spool.folder, spool.bytes)
            except TooLargeError as error:
                raise self._exhausted(spool.claim, limit, error) from error
        await to_thread.run_sync(lambda: shutil.rmtree(spool.folder / "in", ignore_errors=True))
        return out / CLEAN, CleanScan.from_json(done["result"])

    async def unpacked_limit(self, claim: Claim) -> int:
        """Bytes that an upload may unpack to: by the settings, its session and the disk, whichever is least.

        Raises:
            QuotaError: if that is nothing. FullError: if the disk is full.
        """
        left = await to_thread.run_sync(claim.bytes_left)
        if left <= 0:
            await to_thread.run_sync(claim.settle, claim.size + 1)
        await to_thread.run_sync(self._disk.check)
        return max(1, min(self._context.settings.platform.max_unpacked_mb * MIB, left))

    async def clean(self, source: Path, target: Path, what: str, claim: Claim) -> CleanScan:
        """`clean_nifti` of what a child left, in one of few threads, with the limit of what may be unpacked."""
        limit = await self.unpacked_limit(claim)
        try:
            return await to_thread.run_sync(lambda: clean_nifti(source, target, what, limit), limiter=self._cleaners)
        except TooLargeError as error:
            raise self._exhausted(claim, limit, error) from error

    def _exhausted(self, claim: Claim, limit: int, error: TooLargeError) -> InputError:
        """What to say of a scan that unpacks to more than it may: the session's limit, or the server's."""
        return claim.exhausted() if limit < self._context.settings.platform.max_unpacked_mb * MIB else error

    def check_may_upload(self, case: CaseRecord) -> None:
        """Whether a case may take another scan, before its bytes are sent. Blocks.

        Raises:
            ConflictError: while the case is in work.
            FullError: if the disk is full.
        """
        if case.state.in_work:
            raise ConflictError("the case is in work; wait until it is done, or cancel it, before changing its scans")
        self.check_space()

    def check_space(self) -> None:
        """Whether the disk has room. Blocks; raises FullError."""
        self._disk.check()


def _open_private(path: Path) -> BinaryIO:
    # The folder is its owner's alone; the file says so too.
    path.touch(mode=0o600, exist_ok=False)
    return path.open("wb")
