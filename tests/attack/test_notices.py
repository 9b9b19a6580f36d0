"""Receivers of notices that never answer, and what others notice of them."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from tests.attack.conftest import LONG
from tests.unit.web.settings_for import settings_for
from tests.unit.web.test_notify import Receiver, Store, receiver, while_running  # noqa: F401

from hope.web.notify import Notifier

pytestmark = pytest.mark.alone

DEAD_SESSIONS = 100 if LONG else 20
NOTICES_OF_EACH = 20
MOST_SECONDS = 3.0


def test_dead_receivers_delay_nobody(tmp_path: Path, receiver: Receiver) -> None:  # noqa: F811
    store = Store()
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1)
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        dead = [store.add_case(store.add_session(webhook=url)) for _ in range(DEAD_SESSIONS)]
        alive = store.add_case(store.add_session(webhook=receiver.url))
        waits: list[float] = []

        def steps() -> None:
            for case in dead:
                for run in range(NOTICES_OF_EACH):
                    store.happens(case, state="done", run=run)
            for run in range(3):
                begun = time.monotonic()
                store.happens(alive, state="done", run=run)
                while len(receiver.got) <= run and time.monotonic() < begun + 10:
                    time.sleep(0.01)
                waits.append(time.monotonic() - begun)

        while_running(Notifier(settings_for(tmp_path), store), lambda: len(waits) == 3, steps)
    assert max(waits) <= MOST_SECONDS
    print(f"{DEAD_SESSIONS} dead receivers: others told after {max(waits):.1f} s at most")  # noqa: T201
