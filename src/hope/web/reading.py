"""Reading uploads in children: a slot, a deadline and a bound on the disk for each."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from starlette.requests import ClientDisconnect, Request

from hope.domain.errors import InputError
from hope.domain.limits import MIB
from hope.jobs.processes import ProcessEndedError
from hope.jobs.slots import FairSlots
from hope.web.context import WebContext

log = logging.getLogger("hope.web")

LOOK_SECONDS = 0.5
"""How often the disk that a child fills is looked at."""

_UPLOAD = ("the upload", "send fewer or smaller scans")
_FETCHED = ("what the archive sends", "choose a smaller study, or send its scans")
"""How messages name what is read, and what can be done."""

_OTHER_WORK = {"comparison": ("the comparison", "compare smaller scans, or use hope compare")}
"""The same for tasks that do more than read."""


class UploadReader:
    """Lets children read uploads, for one gateway process.

    Args:
        context: settings, and the children.
    """

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self._limits = context.settings.reading_limits
        self._slots = FairSlots(self._limits.children, self._limits.session_children)

    @asynccontextmanager
    async def slot(self, session_id: str) -> AsyncIterator[None]:
        """A slot for the length of the block; children of one session never hold all of them."""
        async with self._slots.slot(session_id):
            yield

    async def run(self, job: dict[str, Any], folder: Path, upload_bytes: int | None) -> dict[str, Any]:
        """Let a child read an upload within the policy. If this is cancelled, the child is dead before it goes on.

        Args:
            job: for `Tasks.run`.
            folder: what the child fills.
            upload_bytes: size of the upload; None for what the child itself fetches.

        Raises:
            InputError: if the upload is to blame, or takes more time, memory or disk than it may.
            StageError: if we are.
        """
        what, fix = _OTHER_WORK.get(str(job.get("do"))) or (_UPLOAD if upload_bytes is not None else _FETCHED)
        confined = {**job, "limits": asdict(self._limits), "upload_bytes": upload_bytes, "called": [what, fix]}
        work = asyncio.ensure_future(self._context.tasks.run(confined))
        deadline = anyio.current_time() + self._limits.seconds
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=LOOK_SECONDS)
                if work.done():
                    break
                if anyio.current_time() > deadline:
                    raise InputError(
                        f"{what} takes longer to read than it may",
                        expected=f"at most {self._limits.seconds:g} s",
                        fix=fix,
                    )
                if await to_thread.run_sync(_bytes_below, folder) > self._limits.written_mb * MIB:
                    raise InputError(
                        f"{what} fills more disk than it may while it is read",
                        expected=f"at most {self._limits.written_mb} MiB",
                        fix=fix,
                    )
            return work.result()
        except ProcessEndedError as error:
            if not error.by_its_input:
                raise
            log.error("a child that read an upload ended by signal %s", error.signal)
            raise InputError(
                f"{what} made its reader end", expected="scans that can be read", fix="export them again"
            ) from error
        finally:
            if not work.done():
                work.cancel()
                with anyio.CancelScope(shield=True):
                    await asyncio.wait({work})


def _bytes_below(folder: Path) -> int:
    """Bytes on disk below a directory, as far as it is there."""

    def sizes() -> Iterator[int]:
        for place, _, names in os.walk(folder):
            for name in names:
                try:
                    yield Path(place, name).lstat().st_blocks * 512
                except FileNotFoundError:
                    yield 0  # the child has just deleted it

    return sum(sizes())


@asynccontextmanager
async def while_connected(request: Request) -> AsyncIterator[None]:
    """Cancel the block when the sender hangs up: nobody waits for what its child would find.

    Args:
        request: whose body was read to its end.

    Raises:
        ClientDisconnect: if the sender hung up.
    """
    with anyio.CancelScope() as scope:
        watch = asyncio.ensure_future(_hang_up(request, scope))
        try:
            yield
        finally:
            watch.cancel()
    if scope.cancelled_caught:
        raise ClientDisconnect


async def _hang_up(request: Request, scope: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
