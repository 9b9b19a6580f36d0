"""The engine's background work that nothing needs is not begun; what is needed is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

STARTED = """
import json, sys, threading, time
from hope.adapters.queue_dbos import DbosQueue
from hope.contract.job import PIPELINE_QUEUE

queue = DbosQueue(sys.argv[1], "e1")
queue.start(None, [PIPELINE_QUEUE], 1)
time.sleep(1.0)
named = [getattr(t, "_target", None) and t._target.__qualname__ or t.name for t in threading.enumerate()]
start = time.monotonic()
queue.stop()
print(json.dumps({"threads": named, "seconds": time.monotonic() - start}))
"""


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_only_what_is_needed_runs_and_stops_at_once(database: str, tmp_path: Path, postgres_url: str) -> None:
    url = postgres_url if database == "postgres" else f"sqlite:///{tmp_path / 'engine.sqlite'}"
    done = subprocess.run([sys.executable, "-c", STARTED, url], capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    threads = " ".join(found["threads"])
    unneeded = ("background_jobs_thread", "dynamic_scheduler_loop", "notification_listener", "run_notifier")
    assert [name for name in unneeded if name in threads] == []
    assert "manage_with_bell" in threads
    assert "work_with_bell" in threads
    assert ("Listener._run" in threads) is (database == "postgres")
    # The engine waits 10 s for each thread of its own that does not hear that it is to end.
    assert found["seconds"] < 8.0
