"""The database goes away under load, three times: every run is finished or failed soon after it is back.

ATTACK_LONG=1 makes each outage 80 s long, four minutes together.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dbos import _sys_db
from tests import servers
from tests.servers import PostgresServer, postgres_server

from hope.adapters import dbos_patience
from hope.testing.fleet import Fleet, SessionClient, small_scan
from hope.testing.live_files import files_below

LONG = bool(os.environ.get("ATTACK_LONG"))
AWAY_SECONDS = 80.0 if LONG else 4.0
BACK_SECONDS = 120.0
"""What docs/how-to/deploy.md promises."""

CASES = 40 if LONG else 12


class Restartable:
    """A Postgres that can be stopped and started again on the same data and port."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        with server.connect() as connection:
            row = connection.execute("SHOW data_directory").fetchone()
        assert row
        self._data = Path(str(row[0]))
        self._own: subprocess.Popen[bytes] | None = None

    @contextmanager
    def away(self) -> Iterator[None]:
        pid = int((self._data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGINT)
        while (self._data / "postmaster.pid").exists():
            time.sleep(0.05)
        yield
        programs = servers.postgres_programs()
        assert programs
        command = servers._run_postgres(
            programs, self._data, servers._unprivileged_user(), self.server.port, "127.0.0.1"
        )
        self._own = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        while not servers._postgres_answers(self.server.port):
            time.sleep(0.05)

    def stop(self) -> None:
        if self._own is not None:
            servers._end(self._own, signal.SIGQUIT)
            self._own.wait()


@pytest.mark.slow
def test_runs_end_within_the_promised_time_after_the_database_is_back(tmp_path: Path) -> None:
    with postgres_server() as server:
        database = Restartable(server)
        environment = {
            "HOPE_DATABASE_URL": server.url("postgres"),
            "HOPE_SHORT_SECONDS": "0.5",
            "HOPE_MAX_CASES_IN_WORK": "1000",
        }
        fleet = Fleet(tmp_path, environment)
        try:
            for role in (("gateway",), ("worker", "--slots", "2"), ("worker", "--slots", "2")):
                fleet.start(*role)
            fleet.wait_ready()
            clients = [fleet.client() for _ in range(3)]
            cases = [(clients[n % 3], clients[n % 3].new_case({"t1c": small_scan(n)})) for n in range(CASES)]
            for client, case in cases:
                client.run(case)
            for _ in range(3):
                time.sleep(2)
                with database.away():
                    time.sleep(AWAY_SECONDS)
            back = time.monotonic()
            fleet.wait_ready(30)
            states = [patiently(client, case, back + BACK_SECONDS) for client, case in cases]
            took = time.monotonic() - back
            assert set(states) <= {"done", "failed"}
            assert states.count("done") >= CASES - 2, states
            print(f"{CASES} runs, 3 outages of {AWAY_SECONDS:g} s: all ended {took:.1f} s after the last")  # noqa: T201
            for client in clients:
                receipt = client.call("DELETE", "/api/session")
                assert receipt["unconfirmed"] == []
            assert files_below(tmp_path / "data" / "blobs") == []
        finally:
            fleet.stop()
            database.stop()


def patiently(client: SessionClient, case: str, deadline: float) -> str:
    """The state in which the run ended."""
    while True:
        answer = client.http.get(f"/api/cases/{case}")
        if answer.status_code == 200 and answer.json()["state"] in ("done", "failed"):
            return str(answer.json()["state"])
        assert answer.status_code in (200, 503), answer.text
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.2)


def test_the_engine_pauses_a_few_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    dbos_patience.install()
    dbos_patience.install()
    slept: list[float] = []
    monkeypatch.setattr("hope.adapters.dbos_patience.time.sleep", slept.append)
    _sys_db.time.sleep(87.0)  # type: ignore[attr-defined]
    _sys_db.time.sleep(0.5)  # type: ignore[attr-defined]
    assert slept == [dbos_patience.LONGEST_PAUSE_SECONDS, 0.5]
    assert _sys_db.time.time() > 1e9  # type: ignore[attr-defined]


def test_the_engine_waits_for_room_unless_somebody_waits_for_the_answer() -> None:
    dbos_patience.install()
    full = RuntimeError("(sqlite3.OperationalError) database or disk is full")
    waits = _sys_db.retriable_sqlite_exception  # type: ignore[attr-defined]
    assert waits(full)
    assert waits(RuntimeError("database is locked"))
    assert not waits(RuntimeError("no such table"))
    with dbos_patience.at_once():
        assert not waits(full)
    assert waits(full)
