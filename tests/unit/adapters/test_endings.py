"""A pipeline hears of the end of a stage at once, and does not wait for one that is gone."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from hope.adapters.endings import Endings
from hope.adapters.queue_bell import Bell, Listener

FOREVER = 30.0


async def waited(endings: Endings, ended: threading.Event, poll_seconds: float = FOREVER) -> float:
    async def status(_: str) -> str:
        return "SUCCESS" if ended.is_set() else "PENDING"

    begun = time.monotonic()
    assert await endings.until("case:1:segment", status, lambda: poll_seconds) == "SUCCESS"
    return time.monotonic() - begun


def later(seconds: float, *calls: object) -> None:
    for call in calls:
        threading.Timer(seconds, call).start()  # type: ignore[arg-type] # a callable without arguments


def test_who_waits_is_told_by_another_thread() -> None:
    endings, ended = Endings(), threading.Event()
    later(0.1, lambda: (ended.set(), endings.tell("case:1:segment")))
    assert asyncio.run(waited(endings, ended)) < FOREVER / 2
    assert len(endings) == 0


def test_news_that_are_lost_are_found_by_looking() -> None:
    endings, ended = Endings(), threading.Event()
    later(0.1, lambda: (ended.set(), endings.tell("case:1:harmonize")))
    assert asyncio.run(waited(endings, ended, 0.05)) < FOREVER / 2


def test_false_news_change_nothing_and_nobody_is_kept() -> None:
    async def given_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await waited(endings, threading.Event())

    endings = Endings()
    later(0.1, lambda: endings.tell("case:1:segment"))
    asyncio.run(given_up())
    assert len(endings) == 0
    endings.tell("case:1:segment")  # nobody waits any more
    assert len(endings) == 0


def test_a_peer_tells_over_postgres(postgres_url: str) -> None:
    endings, ended = Endings(), threading.Event()
    Listener(sa.create_engine(postgres_url), Bell(), endings).start()
    peer = Listener(sa.create_engine(postgres_url), Bell(), Endings())
    time.sleep(1.0)  # until it listens
    later(0.1, lambda: (ended.set(), peer.tell_end("case:1:segment")))
    assert asyncio.run(waited(endings, ended)) < FOREVER / 2


DELETED = """
import json, sys, time
from dbos import DBOS
from hope.adapters import queue_dbos
from hope.contract.job import PIPELINE_QUEUE

queue = queue_dbos.DbosQueue(sys.argv[1], "e1")
queue.start(None, [PIPELINE_QUEUE], 1, alone=True)
queue.enqueue("case", "session", 1, 1)

def until(what, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(0.02)
    return what()

waits = until(lambda: len(queue_dbos._endings) == 1)
queue.forget("case", 1)
print(json.dumps({"waits": waits, "ends": until(lambda: len(queue_dbos._endings) == 0, 10.0)}))
"""


def test_a_pipeline_whose_stage_is_deleted_ends(tmp_path: Path) -> None:
    """It took one of the gateway's places, and looked ten times a second, until the gateway ended."""
    url = f"sqlite:///{tmp_path / 'engine.sqlite'}"
    done = subprocess.run([sys.executable, "-c", DELETED, url], capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {"waits": True, "ends": True}
