"""Work of a dead process is given back to the queues once, however many peers notice its death and how often."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

WORKER = """
import asyncio, os, sys, threading, time
from hope.adapters.queue_dbos import DbosQueue
from hope.contract.job import PIPELINE_QUEUE
from hope.contract.stages import STAGES

url, name, log = sys.argv[1:4]

async def stage(job):
    with open(log, "a") as stream:
        stream.write(f"{name} {job.case_id} {job.stage}\\n")
    await asyncio.sleep(600 if name == "dead" else 0.5)
    return "done"

queue = DbosQueue(url, name)
queue.start(stage, [PIPELINE_QUEUE, *map(str, STAGES)], 4)
if name == "dead":
    for number in range(4):
        queue.enqueue(f"case{number}", "session", 1, 1)
else:
    def recover():
        for _ in range(20):
            queue.recover(["dead"])
            time.sleep(0.05)
    threads = [threading.Thread(target=recover) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while not all(queue.has_ended(f"case{number}", 1) for number in range(4)):
        time.sleep(0.1)
    os._exit(0)
time.sleep(600)
"""


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_peers_that_notice_a_death_at_once_and_again_do_each_stage_once(
    database: str, tmp_path: Path, postgres_url: str
) -> None:
    url = postgres_url if database == "postgres" else f"sqlite:///{tmp_path / 'engine.sqlite'}"
    log = tmp_path / "log"
    log.touch()

    def start(name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", WORKER, url, name, str(log)])

    dead = start("dead")
    try:
        deadline = time.monotonic() + 120
        while len(log.read_text().splitlines()) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        dead.kill()
        dead.wait()
    peers = [start("first"), start("second")]
    try:
        for peer in peers:
            assert peer.wait(180) == 0
    finally:
        for peer in peers:
            peer.kill()
            peer.wait()
    begun = Counter(line.partition(" ")[2] for line in log.read_text().splitlines() if not line.startswith("dead"))
    assert len({line.split()[0] for line in begun}) == 4
    assert set(begun.values()) == {1}
