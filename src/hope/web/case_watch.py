"""Ends work of requests on cases that are deleted meanwhile: one question a second for all of them."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio import CapacityLimiter, to_thread

from hope.contract.job import GoneError
from hope.contract.scans import QuotaError
from hope.domain.errors import FullError, HopeError
from hope.ports import CaseStore
from hope.web.errors import log_failure

WATCH_SECONDS = 1.0
"""How soon an upload, or the reading of it, ends when its case was deleted."""


@dataclass(eq=False)
class _Use:
    """One request that works on a case."""

    case_id: str
    scope: anyio.CancelScope
    measures: tuple[Callable[[], None], ...]
    error: HopeError | None = None

    def end(self, error: HopeError) -> None:
        """Cancel the request's block; it raises the error."""
        self.error = error
        self.scope.cancel()


class CaseWatch:
    """Looks once a second which of the cases in use are still there; nothing is asked while none is in use.

    Args:
        store: where the cases are.
    """

    def __init__(self, store: CaseStore) -> None:
        self._store = store
        self._uses: set[_Use] = set()
        self._task: asyncio.Task[None] | None = None
        # A thread of its own, so that it does not wait behind other calls.
        self._limiter = CapacityLimiter(1)

    @asynccontextmanager
    async def while_there(self, case_id: str, *measures: Callable[[], None]) -> AsyncIterator[None]:
        """Cancel the block when the case is gone: a client that goes on sending must not keep voxels on our disk.

        Args:
            case_id: the case.
            measures: called once a second in a thread; what they raise ends the block, too.

        Raises:
            GoneError: after the block, if so. QuotaError, FullError: if a measure raised it.
        """
        with anyio.CancelScope() as scope:
            use = _Use(case_id, scope, measures)
            self._uses.add(use)
            if self._task is None or self._task.done():
                # Not in this request's context: it works for others, too.
                self._task = asyncio.create_task(self._watch(), context=contextvars.Context())
            try:
                yield
            finally:
                self._uses.discard(use)
        if scope.cancelled_caught and use.error is not None:
            raise use.error

    async def _watch(self) -> None:
        while self._uses:
            await asyncio.sleep(WATCH_SECONDS)
            uses = tuple(self._uses)
            try:
                wanted = list({use.case_id for use in uses})
                living = await to_thread.run_sync(self._store.living_cases, wanted, limiter=self._limiter)
            except ConnectionError as error:
                log_failure("could not look whether cases are still there", error)
                continue
            for use in uses:
                if use.case_id not in living:
                    use.end(GoneError())
            for use, refusal in await to_thread.run_sync(_measured, uses, limiter=self._limiter):
                use.end(refusal)


def _measured(uses: Iterable[_Use]) -> list[tuple[_Use, HopeError]]:
    """Those whose measure refuses, with what it said."""
    refused: list[tuple[_Use, HopeError]] = []
    for use in uses:
        try:
            for measure in use.measures if use.error is None else ():
                measure()
        except (GoneError, QuotaError, FullError) as error:
            refused.append((use, error))
        except OSError as error:  # the store, or a folder that cannot be read; the others are still to be counted
            log_failure("could not count what an upload takes up", error)
    return refused
