"""Slots that are shared fairly: nobody takes all of them, and who holds fewest comes next."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairSlots:
    """A limit on what runs at once, for one event loop.

    Args:
        most: of all together.
        most_of_one: of one owner.
    """

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._held: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def slot(self, owner: str) -> AsyncIterator[None]:
        """Hold a slot for the length of the block; waits until there is one for this owner."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((owner, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(owner)
            else:
                self._waiting = [entry for entry in self._waiting if entry[1] is not turn]
            raise
        try:
            yield
        finally:
            self._give_back(owner)

    def _give_back(self, owner: str) -> None:
        self._held[owner] -= 1
        self._held += Counter()  # forget owners that hold nothing
        self._admit()

    def _admit(self) -> None:
        while self._held.total() < self._most:
            may = [entry for entry in self._waiting if self._held[entry[0]] < self._most_of_one]
            if not may:
                return
            # Of those who hold equally few, who waits longest.
            entry = min(may, key=lambda waiting: self._held[waiting[0]])
            self._waiting.remove(entry)
            if not entry[1].done():
                self._held[entry[0]] += 1
                entry[1].set_result(None)
