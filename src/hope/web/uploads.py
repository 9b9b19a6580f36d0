"""Uploads: from the wire to a private file, from there to a clean scan, and never whole in memory."""

from __future__ import annotations

import asyncio
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

from hope.contract.job import CaseRecord, CaseState, ConflictError, GoneError
from hope.domain.errors import InputError
from hope.formats.atomic import output_error
from hope.formats.nifti_clean import CleanScan, TooLargeError, clean_nifti
from hope.jobs.room import Room
from hope.web.context import WebContext
from hope.web.errors import ProblemError, log_failure

MIB = 2**20

SESSION_UPLOADS = 8
"""A session may store this many times the largest upload."""

IDLE_SECONDS = 60.0
"""A client that sends nothing for this long has gone, or means harm."""

WATCH_SECONDS = 1.0
"""How soon an upload, or the reading of it, ends when its case was deleted."""

_FLUSH = 256 * 1024  # what one upload holds in memory
_WRITERS = 2
_CLEANERS = 1

Result = TypeVar("Result")


@dataclass(frozen=True)
class Spool:
    """An upload on disk, in a private folder that is deleted when the request ends.

    Attributes:
        folder: the private folder.
        path: the body as it came.
        bytes: its size.
    """

    folder: Path
    path: Path
    bytes: int

    def room(self, name: str) -> Path:
        """A new empty folder beside the body."""
        path = self.folder / name
        path.mkdir(mode=0o700)
        return path


class Uploads:
    """Takes uploads for one gateway process.

    Args:
        context: stores, limits and the scratch directory.
        room: whether the disks have room.

    A few threads write and fewer unpack, so that fifty uploads at once need no more memory than their chunks.
    """

    def __init__(self, context: WebContext, room: Room) -> None:
        self._context, self._room = context, room
        self._writers = CapacityLimiter(_WRITERS)
        self._cleaners = CapacityLimiter(_CLEANERS)

    @property
    def max_bytes(self) -> int:
        """Largest body of one upload."""
        return self._context.settings.platform.max_upload_mb * MIB

    @asynccontextmanager
    async def spooled(self, request: Request, case: CaseRecord, what: str) -> AsyncIterator[Spool]:
        """The request's body as a file, for the length of the block, or until the case is deleted.

        Args:
            request: whose body nobody has read yet.
            case: what it is for.
            what: its role, for sentences.

        Raises:
            TooLargeError: if it is, or says it is, larger than an upload may be.
            InputError: if it is empty.
            OutputError: if the disk is full.
            GoneError: if the case is deleted meanwhile, also out of the block.
            ProblemError: 400 if it is not as long as it said, 408 if nothing comes for long.
        """
        declared = self._declared(request, what)
        async with self._while_there(case), self.folder() as folder:
            path = folder / "body"
            size = await self._receive(request, path, what)
            if declared is not None and size != declared:
                raise ProblemError(400, "cut-off", f"{what} is {size} bytes long, but Content-Length said {declared}")
            if size == 0:
                raise InputError(f"{what} is empty", expected="a file as the body", got="0 bytes")
            yield Spool(folder, path, size)

    @asynccontextmanager
    async def _while_there(self, case: CaseRecord) -> AsyncIterator[None]:
        """Cancel the block when the case is gone: a client that goes on sending must not keep voxels on our disk."""
        with anyio.CancelScope() as scope:
            watch = asyncio.create_task(self._watch(case, scope))
            try:
                yield
            finally:
                watch.cancel()
        if scope.cancelled_caught:
            raise GoneError

    async def _watch(self, case: CaseRecord, scope: anyio.CancelScope) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await to_thread.run_sync(self._context.store.case, case.id)
            except GoneError:
                scope.cancel()
                return
            except ConnectionError as error:
                log_failure("could not look whether a case is still there", error)

    @asynccontextmanager
    async def folder(self) -> AsyncIterator[Path]:
        """A private folder that is gone when the block ends, however it ends."""
        folder = self._context.scratch / f"upload-{secrets.token_hex(8)}"
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise output_error("the upload", error) from error
        try:
            yield folder
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))

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

    async def _receive(self, request: Request, path: Path, what: str) -> int:
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
                held += chunk
                if len(held) >= _FLUSH:
                    await to_thread.run_sync(self._room.check)
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

    async def clean(self, source: Path, target: Path, what: str) -> CleanScan:
        """`clean_nifti` in one of few threads, with the limit of what may be unpacked."""
        limit = self._context.settings.platform.max_unpacked_mb * MIB
        return await to_thread.run_sync(lambda: clean_nifti(source, target, what, limit), limiter=self._cleaners)

    def check_may_upload(self, case: CaseRecord, key: str | None = None) -> None:
        """Whether a case may take another scan, before its bytes are sent. Blocks.

        Args:
            case: which case.
            key: the scan that would be replaced, if it is there.

        Raises:
            ConflictError: while the case is in work.
            TooLargeError: if the session holds as many files or bytes as it may.
        """
        if case.state.in_work:
            raise ConflictError("the case is in work; wait until it is done, or cancel it, before changing its scans")
        self.check_quota(case, 0, replaced=key)

    def check_quota(self, case: CaseRecord, more_bytes: int, more_files: int = 1, replaced: str | None = None) -> None:
        """Whether the session may store so many more files of this size together. Blocks.

        Raises:
            TooLargeError: if not.
            FullError: if the disk has no room for it.
        """
        self._room.check(more_bytes)
        files, size = more_files, more_bytes
        for other in self._context.store.cases(case.session_id):
            kept = [s for s in other.series if other.id != case.id or s.key != replaced]
            sizes = [series.bytes for series in kept]
            if other.state is CaseState.DONE:
                stored = self._context.store.artifacts(other.id, public=True)
                sizes += [artifact.bytes for artifact in stored if artifact.stage is None]
            files, size = files + len(sizes), size + sum(sizes)
        most_files = self._context.settings.platform.max_session_files
        if files > most_files:
            expected = f"at most {most_files}"
            raise TooLargeError("the session holds too many files", expected=expected, fix="delete a case first")
        if size > SESSION_UPLOADS * self.max_bytes:
            expected = f"at most {SESSION_UPLOADS * self.max_bytes // MIB} MiB"
            raise TooLargeError("the session's scans take too much space", expected=expected, fix="delete a case first")


def _open_private(path: Path) -> BinaryIO:
    # The folder is its owner's alone; the file says so too.
    path.touch(mode=0o600, exist_ok=False)
    return path.open("wb")
