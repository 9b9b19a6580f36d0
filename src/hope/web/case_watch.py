"""Ends work of requests on cases that are deleted meanwhile: one question a second for all of them."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio import CapacityLimiter, to_thread

from hope.contract.job import GoneError
from hope.ports import CaseStore
from hope.web.errors import log_failure

WATCH_SECONDS = 1.0
"""How soon an upload, or the reading of it, ends when its case was deleted."""


class CaseWatch:
    """Looks once a second which of the cases in use are still there; nothing is asked while none is in use.

    Args:
        store: where the cases are.
    """

    def __init__(self, store: CaseStore) -> None:
        self._store = store
        self._scopes: dict[str, set[anyio.CancelScope]] = {}
        self._task: asyncio.Task[None] | None = None
        # A thread of its own, so that it does not wait behind other calls.
        self._limiter = CapacityLimiter(1)

    @asynccontextmanager
    async def while_there(self, case_id: str) -> AsyncIterator[None]:
        """Cancel the block when the case is gone: a client that goes on sending must not keep voxels on our disk.

        Raises:
            GoneError: after the block, if so.
        """
        with anyio.CancelScope() as scope:
            self._scopes.setdefault(case_id, set()).add(scope)
            if self._task is None or self._task.done():
                # Not in this request's context: it works for others, too.
                self._task = asyncio.create_task(self._watch(), context=contextvars.Context())
            try:
                yield
            finally:
                scopes = self._scopes[case_id]
                scopes.discard(scope)
                if not scopes:
                    del self._scopes[case_id]
        if scope.cancelled_caught:
            raise GoneError

    async def _watch(self) -> None:
        while self._scopes:
            await asyncio.sleep(WATCH_SECONDS)
            wanted = list(self._scopes)
            try:
                living = await to_thread.run_sync(self._store.living_cases, wanted, limiter=self._limiter)
            except ConnectionError as error:
                log_failure("could not look whether cases are still there", error)
                continue
            for case_id in set(wanted) - living:
                for scope in tuple(self._scopes.get(case_id, ())):
                    scope.cancel()
