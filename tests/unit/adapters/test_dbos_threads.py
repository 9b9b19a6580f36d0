"""The engine's background work that nothing needs is not begun; what is needed is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dbos import _dbos, _queue, _sys_db, _sys_db_postgres

from hope.adapters import dbos_threads, dbos_version, queue_bell

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


PLACES = (
    (_queue, "queue_worker_thread"),
    (_dbos, "queue_thread"),
    (_dbos, "background_jobs_thread"),
    (_dbos, "dynamic_scheduler_loop"),
    (_sys_db.SystemDatabase, "run_notification_listener"),
    (_sys_db_postgres.PostgresSystemDatabase, "run_notifier"),
)


@pytest.mark.parametrize(("found", "replaced"), [(dbos_version.TESTED, True), ("3.5.0", False)])
def test_another_version_of_the_engine_is_left_as_it_is(
    found: str, replaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name in PLACES:
        monkeypatch.setattr(place, name, print)
    monkeypatch.setattr(queue_bell, "_kept", [(print, print)])
    monkeypatch.setattr(dbos_version, "version", lambda _: found)

    queue_bell.install(queue_bell.Bell())
    dbos_threads.install()

    assert {getattr(place, name) is not print for place, name in PLACES} == {replaced}


def test_the_version_that_was_tested_is_the_one_that_is_pinned() -> None:
    pins = (Path(__file__).parents[3] / "constraints.txt").read_text().splitlines()
    assert f"dbos=={dbos_version.TESTED}" in pins
