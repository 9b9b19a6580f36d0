"""Pauses of the engine: ended by a ring, long only while no ring can be missed, over when the engine stops."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest
import sqlalchemy as sa

from hope.adapters import queue_bell
from hope.adapters.endings import Endings
from hope.adapters.queue_bell import Bell, Listener

FOREVER = 30.0


class Recording(Bell):
    """Keeps what it was rung for."""

    def __init__(self) -> None:
        super().__init__()
        self.rung: list[str] = []

    def ring(self, *queues: str) -> None:
        self.rung += queues


def seconds_of(pause: threading.Thread) -> float:
    """How long a thread that pauses has still to go, until it ends."""
    start = time.monotonic()
    pause.join(FOREVER)
    assert not pause.is_alive()
    return time.monotonic() - start


def pausing(bell: Bell, queue: str, seconds: float) -> threading.Thread:
    thread = threading.Thread(target=bell.pause, args=(queue, seconds), daemon=True)
    thread.start()
    return thread


def test_a_ring_ends_the_pause_of_its_queue_and_of_no_other() -> None:
    bell = Bell()
    mine, other = pausing(bell, "segment", FOREVER), pausing(bell, "report", FOREVER)

    bell.ring("segment")

    assert seconds_of(mine) < FOREVER / 2
    assert other.is_alive()
    bell.close()
    assert seconds_of(other) < FOREVER / 2


def test_a_ring_before_the_pause_is_not_lost() -> None:
    bell = Bell()
    bell.ring("segment")

    start = time.monotonic()
    bell.pause("segment", FOREVER)

    assert time.monotonic() - start < FOREVER / 2


@pytest.mark.parametrize(("reaches_all", "longer"), [(True, True), (False, False)])
def test_a_quiet_queue_rests_only_where_no_ring_can_be_missed(
    reaches_all: bool, longer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_bell, "LIVELY_SECONDS", 0.05)
    monkeypatch.setattr(queue_bell, "RESTING_SECONDS", 0.6)
    bell = Bell()
    bell.reaches_all = reaches_all
    bell.pause("segment", 0.1)

    start = time.monotonic()
    bell.pause("segment", 0.01)

    assert (time.monotonic() - start >= 0.6) is longer


def test_a_queue_that_was_rung_for_is_looked_at_often_for_a_while() -> None:
    bell = Bell()
    bell.reaches_all = True
    bell.ring("segment")
    bell.pause("segment", FOREVER)

    start = time.monotonic()
    bell.pause("segment", 0.01)

    assert time.monotonic() - start < queue_bell.RESTING_SECONDS


def test_peers_hear_of_work_over_postgres(postgres_url: str) -> None:
    engines = [sa.create_engine(postgres_url) for _ in range(2)]
    bells = [Bell(), Bell()]
    listeners = [Listener(engine, bell, Endings()) for engine, bell in zip(engines, bells, strict=True)]
    for listener in listeners:
        listener.start()
    deadline = time.monotonic() + FOREVER
    while not all(bell.reaches_all for bell in bells) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [bell.reaches_all for bell in bells] == [True, True]
    pause = pausing(bells[1], "segment", FOREVER)

    listeners[0].tell("segment")

    assert seconds_of(pause) < FOREVER / 2


def test_a_ring_in_the_packet_of_a_proof_counts_and_the_proof_of_a_peer_does_not(postgres_url: str) -> None:
    """The proof ends the wait; what came with it would else be found only when the queue is looked at next."""
    engine, bell = sa.create_engine(postgres_url), Recording()
    listener = Listener(engine, bell, Endings())
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"listen {queue_bell.CHANNEL}")
        with engine.begin() as sender:
            for payload in ("segment", "proof of a peer", "proof of ours", "report"):
                sender.execute(sa.text("select pg_notify(:c, :p)"), {"c": queue_bell.CHANNEL, "p": payload})

        assert listener._receive(connection, FOREVER, "proof of ours") is True

    assert bell.rung == ["segment", "report"]


def test_without_a_proof_the_wait_ends_and_nothing_is_proven(postgres_url: str) -> None:
    listener = Listener(sa.create_engine(postgres_url), Bell(), Endings())
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        assert listener._receive(connection, 0.05, "proof of ours") is False


def test_a_rest_ends_where_rings_can_be_missed_from_now_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_bell, "LIVELY_SECONDS", 0.0)
    monkeypatch.setattr(queue_bell, "RESTING_SECONDS", FOREVER)
    bell = Bell()
    bell.rely(True)
    bell.pause("segment", 0.01)  # not at rest before it is known
    rest = pausing(bell, "segment", 0.01)
    rest.join(0.2)
    assert rest.is_alive()

    bell.rely(False)

    assert seconds_of(rest) < FOREVER / 2


def test_without_a_database_that_answers_nothing_rests() -> None:
    bell = Bell()
    bell.reaches_all = True
    engine = sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")

    Listener(engine, bell, Endings()).start()

    deadline = time.monotonic() + FOREVER
    while bell.reaches_all and time.monotonic() < deadline:
        time.sleep(0.05)
    assert bell.reaches_all is False


def test_a_pool_whose_connections_are_all_in_use_does_not_end_the_listening(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else everybody here would rest for ever as if no ring could be missed."""
    engine = sa.create_engine("sqlite://", poolclass=sa.QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01)
    bell, begun = Bell(), []
    bell.reaches_all = True
    listener = Listener(engine, bell, Endings())

    def listen() -> None:
        begun.append(True)
        listener.tell("segment")
        with engine.connect():
            pass

    monkeypatch.setattr(listener, "_listen", listen)
    monkeypatch.setattr(queue_bell, "_AGAIN_SECONDS", 0.01)
    with engine.connect():
        listener.start()
        deadline = time.monotonic() + FOREVER
        while (len(begun) < 3 or bell.reaches_all) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(begun) >= 3 and not bell.reaches_all
    assert "could not be told of work: TimeoutError" in caplog.text
