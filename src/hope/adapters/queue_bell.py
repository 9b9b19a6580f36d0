"""When the engine looks at its queues: at once when it is told of work, seldom while nothing is said.

The engine polls every queue in a thread of its own, which costs 3 ms a look. Its pause between two looks ends here when
somebody rings, and is long once nobody has rung for a while. Peers hear of work by Postgres' LISTEN and NOTIFY. Where
a ring could be missed (no connection to listen on, several processes on SQLite) the engine polls as it always did.
The functions that are wrapped are private to the engine, so that one of another version is left as it is, and polls.
"""

from __future__ import annotations

import logging
import selectors
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from dbos import _dbos, _queue

from hope.adapters import dbos_version, postgres_connection
from hope.adapters.endings import Endings

if TYPE_CHECKING:
    import psycopg

LIVELY_SECONDS: Final = 3.0
"""This long after a ring a queue is looked at as often as the settings say: a peer may have held the row."""

RESTING_SECONDS: Final = 5.0
"""How often it is looked at later on: for a ring that was lost, because its process died before it rang."""

CHANNEL: Final = "hope_queues"
ENDINGS: Final = "hope_endings"
"""Channels of Postgres: queues that have work, and workflows that have ended."""

_MANAGER = "new queues"
_PROOF = "proof "
_AGAIN_SECONDS = 1.0
_PROOF_SECONDS = 30.0
_PROOF_WAIT_SECONDS = 2.0

log = logging.getLogger(__name__)


class Bell:
    """Rings for queues, and the pauses that they end.

    Attributes:
        reaches_all: whether whoever adds work to a queue of this process is sure to ring here.
    """

    def __init__(self) -> None:
        self.reaches_all = False
        self._rings: Counter[str] = Counter()
        self._received: Counter[str] = Counter()
        self._rung_at: defaultdict[str, float] = defaultdict(time.monotonic)
        self._changed = threading.Condition()
        self._closed = False

    def ring(self, *queues: str) -> None:
        """There is, or may be, work on these queues."""
        with self._changed:
            for queue in queues:
                self._rings[queue] += 1
                self._rung_at[queue] = time.monotonic()
            self._changed.notify_all()

    def rely(self, reaches_all: bool) -> None:
        """Say whether no ring can be missed here. Where one can, whoever rests polls again from now on."""
        with self._changed:
            self.reaches_all = reaches_all
            self._changed.notify_all()

    def close(self) -> None:
        """End all pauses, those to come too."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def pause(self, queue: str, seconds: float) -> None:
        """Wait until the queue is rung for, at most ``seconds``, or longer where nothing can be missed meanwhile."""
        with self._changed:
            rests = self.reaches_all and time.monotonic() - self._rung_at[queue] > LIVELY_SECONDS
            self._changed.wait_for(
                lambda: self._closed or self._rings[queue] != self._received[queue] or (rests and not self.reaches_all),
                max(seconds, RESTING_SECONDS) if rests else seconds,
            )
            self._received[queue] = self._rings[queue]


class _Pause:
    """The engine's stop event as the thread of one queue sees it."""

    def __init__(self, stop: threading.Event, bell: Bell, queue: str) -> None:
        self._stop, self._bell, self._queue = stop, bell, queue

    def is_set(self) -> bool:
        return self._stop.is_set()

    def wait(self, timeout: float) -> bool:
        if not self._stop.is_set():
            self._bell.pause(self._queue, timeout)
        return self._stop.is_set()


class Listener:
    """Rings the bell for what peers tell by Postgres, in a thread of its own.

    Args:
        engine: of the database; one connection beside its pool listens.
        endings: who waits for workflows that peers may end.
        bell: whom to ring; its ``reaches_all`` is true only while a notification of our own was heard lately.
    """

    def __init__(self, engine: sa.Engine, bell: Bell, endings: Endings) -> None:
        self._engine, self._bell, self._endings = engine, bell, endings

    def start(self) -> None:
        """Begin to listen."""
        threading.Thread(target=self._run, name="hope-listen", daemon=True).start()

    def tell(self, queue: str) -> None:
        """Let every listener ring for this queue; one that cannot be told finds the work when it looks next."""
        self._notify(CHANNEL, queue)

    def tell_end(self, workflow_id: str) -> None:
        """Let whoever waits for this workflow look, in this process too; who cannot be told looks anyway."""
        self._notify(ENDINGS, workflow_id)

    def _notify(self, channel: str, payload: str) -> None:
        try:
            with self._engine.connect() as connection:
                call = sa.text("select pg_notify(:channel, :payload)")
                connection.execute(call, {"channel": channel, "payload": payload})
                connection.commit()
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:  # or all connections of the pool are in use
            log.warning("the other processes could not be told of work: %s", type(error).__name__)

    def _run(self) -> None:
        import psycopg  # not for SQLite

        while True:
            try:
                self._listen()
            except (psycopg.Error, sa.exc.DBAPIError, sa.exc.TimeoutError, OSError) as error:
                log.info("notifications of work are not heard for now: %s", type(error).__name__)
            self._bell.rely(False)
            time.sleep(_AGAIN_SECONDS)

    def _listen(self) -> None:
        import psycopg

        url = self._engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True, **postgres_connection.CONNECT_ARGS) as connection:
            postgres_connection.tell_server(connection)
            connection.execute(f"listen {CHANNEL}")
            connection.execute(f"listen {ENDINGS}")
            while True:
                # Through the pool, as peers send it: a proxy in between may drop what is sent so.
                proof = f"{_PROOF}{threading.get_ident()} {time.monotonic_ns()}"
                self.tell(proof)
                self._bell.rely(self._receive(connection, _PROOF_WAIT_SECONDS, proof))
                self._receive(connection, _PROOF_SECONDS)

    def _receive(self, connection: psycopg.Connection[Any], seconds: float, proof: str = "") -> bool:
        """Ring for what arrives for so many seconds, or until ``proof`` arrives; whether it did."""
        until = time.monotonic() + seconds
        proven = False
        # psycopg's own wait wakes up ten times a second.
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            while not proven and (left := until - time.monotonic()) > 0:
                if not selector.select(left):
                    continue
                # All that came in one packet: what is not taken now is lost.
                for notice in connection.notifies(timeout=0):
                    if notice.channel == ENDINGS:
                        self._endings.tell(notice.payload)
                        continue
                    proven = proven or notice.payload == proof
                    if not notice.payload.startswith(_PROOF):  # a peer's own
                        self._bell.ring(notice.payload)
        return proven


def install(bell: Bell) -> None:
    """Let the queues of the engine in this process pause as the bell says. Call it before the engine is launched."""
    if not dbos_version.is_tested():
        return
    work, manage = _originals()

    def work_with_bell(stop: threading.Event, dbos: Any, queue: Any) -> None:
        work(_Pause(stop, bell, queue.name), dbos, queue)

    def manage_with_bell(stop: threading.Event, dbos: Any) -> None:
        manage(_Pause(stop, bell, _MANAGER), dbos)

    setattr(_queue, "queue_worker_thread", work_with_bell)  # noqa: B010 - private names of the engine
    setattr(_dbos, "queue_thread", manage_with_bell)  # noqa: B010


_kept: list[tuple[Callable[..., None], Callable[..., None]]] = []


def _originals() -> tuple[Callable[..., None], Callable[..., None]]:
    """The engine's own functions, whatever was installed since."""
    if not _kept:
        _kept.append((getattr(_queue, "queue_worker_thread"), getattr(_dbos, "queue_thread")))  # noqa: B009
    return _kept[0]
