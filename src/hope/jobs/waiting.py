"""Waiting for blocking calls and for work that others may end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hope.domain.errors import FullError

AWAY_SECONDS = 1.0
"""Pause between two tries to reach a store that does not answer."""

T = TypeVar("T")
log = logging.getLogger(__name__)


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run a blocking call in a thread, and wait for its end even when cancelled: it may be using our files."""
    running = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled() and (error := running.exception()):
            log.info("a call ended with %s after it was no longer waited for", type(error).__name__)
        raise


async def patiently(function: Callable[..., T], *arguments: Any) -> T:
    """Run a call of the store in a thread, again and again while it does not answer or its disk is full."""
    while True:
        try:
            return await in_thread(function, *arguments)
        except (ConnectionError, FullError):
            await asyncio.sleep(AWAY_SECONDS)


async def patiently_or_undone(function: Callable[[], T], undo: Callable[[T], None]) -> T:
    """Like ``patiently``. Where the caller is cancelled before it has what the call gave, that is undone."""
    given: list[T] = []
    try:
        await patiently(lambda: given.append(function()))
    except asyncio.CancelledError:
        if given:
            await asyncio.shield(patiently(undo, given[0]))
        raise
    return given[0]


async def race(work: Coroutine[Any, Any, None], watch: Coroutine[Any, Any, None]) -> None:
    """Wait for the work; the watch only ever ends by an error, which then stops the work.

    Returns or raises only when both have ended, so that the stage's process is dead by then.
    """
    tasks = [asyncio.create_task(work), asyncio.create_task(watch)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ending = asyncio.gather(*tasks, return_exceptions=True)
        while not ending.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(ending)
    for task in tasks:
        if not task.cancelled():
            task.result()
