"""Leases of processes: who is taken for dead, when, and what becomes of what the dead one had on its way."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hope.adapters.cases_sql import SqlCaseStore
from hope.jobs.lock_place import LockPlace
from hope.jobs.maintenance import Lease
from hope.jobs.scratch import Scratch, Sweeper

LEASE_SECONDS = 1.0
LONG = 3600.0


class Engine:
    """A job queue that notes whom it was asked to recover."""

    def __init__(self) -> None:
        self.recovered: list[tuple[str, ...]] = []
        self.pieces: dict[str, int] = {}

    def recover(self, executors: Sequence[str]) -> int:
        self.recovered.append(tuple(executors))
        return sum(self.pieces.pop(name, 0) for name in executors)


def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlCaseStore]:
    store = SqlCaseStore(f"sqlite:///{tmp_path / 'cases.sqlite'}")
    yield store
    store.close()


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def lease(store: SqlCaseStore, engine: Engine) -> Iterator[Lease]:
    lease = Lease(store, engine, "own", LEASE_SECONDS)  # type: ignore[arg-type]
    lease.start()
    yield lease
    lease.end()


def test_the_work_of_a_process_that_is_known_to_be_dead_is_taken_up_before_its_lease_expires(
    store: SqlCaseStore, engine: Engine, lease: Lease, caplog: pytest.LogCaptureFixture
) -> None:
    store.renew_lease("dead-and-long-named", LONG)
    store.renew_lease("alive", LONG)
    engine.pieces = {"dead-and-long-named": 2}
    lease.died("dead-and-long-named")
    until(lambda: store.renew_lease("alive", LONG) == ["dead-and-long-named"])
    assert engine.recovered == []  # the engine of this process does not run yet
    lease.judge_peers()
    until(lambda: engine.recovered)
    assert set(engine.recovered) == {("dead-and-long-named",)}
    until(lambda: store.renew_lease("alive", LONG) == [])  # forgotten when a lease's time has passed
    noticed = [line for line in caplog.messages if "noticed" in line]
    assert noticed == ["1 dead process(es) noticed, 2 pieces of work taken up: dead-and"]


def test_what_a_dead_process_had_on_its_way_is_taken_up_too(store: SqlCaseStore, engine: Engine, lease: Lease) -> None:
    """The database may do what it was sent after its sender has died: renew the lease, and give it work."""
    lease.judge_peers()
    store.renew_lease("dead", LONG)
    lease.died("dead")
    until(lambda: engine.recovered)
    store.renew_lease("dead", LONG)
    engine.pieces = {"dead": 1}
    until(lambda: not engine.pieces)
    until(lambda: store.renew_lease("alive", LONG) == [])
    assert not store.end_lease("dead")


def test_a_process_that_does_not_run_for_a_while_keeps_its_lock(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from hope.jobs.scratch import Scratch\n"
        f"scratch = Scratch(Path({str(tmp_path)!r}), 'slow')\n"
        "print('ready', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as slow:
        assert slow.stdout is not None
        assert slow.stdout.readline() == "ready\n"
        noticed: list[str] = []
        sweeper = Sweeper(Scratch(tmp_path), lambda _: None, noticed.append)
        slow.send_signal(signal.SIGSTOP)
        for _ in range(3):
            sweeper.sweep()
            time.sleep(0.1)
        assert noticed == []
        slow.kill()
        # Not reaped yet: a parent that is slow itself must not hide the death.
        until(lambda: sweeper.sweep() or noticed)
    sweeper.sweep()
    assert noticed == ["slow"]


def test_each_of_several_peers_that_look_at_once_notices_a_death_unless_it_is_swept_already(tmp_path: Path) -> None:
    peers = [Scratch(tmp_path) for _ in range(4)]
    (tmp_path / "room-dead.lock").write_text(LockPlace.of(tmp_path.stat().st_dev).text())
    assert [peer.dead() for peer in peers] == [["dead"]] * 4
    assert peers[0].sweep() == ["dead"]
    assert peers[1].dead() == []


def test_a_process_is_never_seen_with_a_free_lock_while_it_starts(tmp_path: Path) -> None:
    watcher, found, started = Scratch(tmp_path), [], threading.Event()

    def watch() -> None:
        while not started.is_set():
            found.extend(watcher.dead())

    thread = threading.Thread(target=watch)
    thread.start()
    begun = [Scratch(tmp_path, f"new-{number}") for number in range(200)]
    started.set()
    thread.join()
    assert found == []
    for scratch in begun:
        scratch.close()


def test_leases_that_expired_while_the_database_was_away_are_not_judged_but_a_certain_death_is(
    store: SqlCaseStore, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease(store, engine, "own", LEASE_SECONDS)  # type: ignore[arg-type]
    lease.start()
    with monkeypatch.context() as patch:

        def away(*_: Any) -> list[str]:
            raise ConnectionError("the database does not answer")

        patch.setattr(store, "renew_lease", away)
        lease.judge_peers()
        time.sleep(1.5 * LEASE_SECONDS)
        patch.undo()
        store.renew_lease("silent", -1.0)
        store.renew_lease("dead", LONG)
        lease.died("dead")
        until(lambda: engine.recovered)
    assert engine.recovered[0] == ("dead",)
    until(lambda: any("silent" in names for names in engine.recovered))
    lease.end()
