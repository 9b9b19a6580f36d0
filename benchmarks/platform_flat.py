"""Whether descriptors, threads, memory and files of the platform stay as they are. Exit status 1 if they grow.

python benchmarks/platform_flat.py streams [--connections 2000]
python benchmarks/platform_flat.py day [--minutes 40]

`streams` opens event streams of a case on a gateway before Postgres and drops them: half are closed, half are reset;
one in eight is no longer read instead, so that the server ends it. `day` lets gateway and worker on Postgres, and
`hope up` on SQLite, live with all periods divided by 36: 40 minutes are a day. A client works for a while and rests for
as long: it runs cases, cancels some, and deletes some at work; of its other sessions it deletes some, says goodbye in
some, and walks away from the rest, which expire. Before the first look it runs many cases at once: pools of connections
keep as many as were ever in use together, and light load would fill them little by little.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import sqlalchemy as sa
from database import database
from machine import machine
from process_series import HEAD, MOST_MORE, Sample, growth, look, slope

from hope.testing.fleet import Fleet, SessionClient, small_scan
from hope.testing.short_periods import DIVISOR

DAY_SECONDS = 86400 / DIVISOR
MEMORY_MIB, SIZE_MIB = 10.0, 10.0
"""Most that a process's memory, and the database or the store, may gain in a simulated day."""

STREAMS_MIB = 8.0
"""Most that memory may gain while event streams come and go."""

AT_ONCE = 48
"""Event streams, or cases, that are open together; a session may have 64 calls."""

CASE_SECONDS = 10.0
LOAD_SECONDS = 120.0
"""A case so often, and as long without any after that."""

SESSION_HOURS = 2.0
"""What the day's platform is set to, before it is divided: sessions that are left expire from the first hours on."""

SHORT_PERIODS = (sys.executable, "-m", "hope.testing.short_periods")
_BACKLOG = 1500  # of 4 kB each: more than the 4 MiB that the kernel keeps for a client that does not read
_STALLED = 8
_SAMPLE_SECONDS = 5.0  # of a look, which costs a few hundredths of a second


def streams(folder: Path, url: str, connections: int, steps: int = 4, pause: float = 20.0) -> list[Sample]:
    """Open and drop event streams; returns looks at the gateway before, after each step, and after a pause.

    Args:
        folder: data directory and logs.
        url: of a Postgres database.
        connections: how many are opened.
        steps: how often it is looked meanwhile.
        pause: longest wait for the last of them to be noticed.
    """
    fleet = Fleet(folder, {"HOPE_DATABASE_URL": url, "HOPE_BODY_TIMEOUT_SECONDS": "2"})
    try:
        gateway = fleet.start("gateway")
        fleet.wait_ready(120)
        client = fleet.client()
        short, long = client.new_case({"t1c": small_scan()}), client.new_case({})
        _write_events(url, long)
        _drop_streams(fleet, client, short, long, 2 * AT_ONCE)  # pools fill; what a first call imports is no growth
        begun = time.monotonic()
        found = [_settled(gateway.pid, begun, url, folder, pause)]
        for step in range(steps):
            count = connections * (step + 1) // steps - connections * step // steps
            _drop_streams(fleet, client, short, long, count)
            found.append(look(gateway.pid, time.monotonic() - begun, url, folder / "data"))
        client.call("GET", "/api/session")  # it goes on
        found.append(_settled(gateway.pid, begun, url, folder, pause))
        return found
    finally:
        fleet.stop()


def grown_by_streams(found: Sequence[Sample]) -> list[str]:
    """What is more after all streams than before them; memory: than after the first step."""
    before, last = found[0], found[-1]
    words = [
        f"{name}: {getattr(before, name)} before, {getattr(last, name)} after"
        for name in ("descriptors", "threads", "connections")
        if getattr(last, name) > getattr(before, name) + MOST_MORE
    ]
    if last.pss_mib > found[1].pss_mib + STREAMS_MIB:
        words.append(f"memory: {found[1].pss_mib:.1f} MiB after the first step, {last.pss_mib:.1f} MiB at the end")
    return words


def _settled(pid: int, begun: float, url: str, folder: Path, seconds: float) -> Sample:
    """A look once descriptors have not become fewer for 3 s."""
    deadline, fewest, since = time.monotonic() + seconds, 1 << 30, time.monotonic()
    while time.monotonic() < deadline and time.monotonic() - since < 3:
        if (now := _descriptors(pid)) < fewest:
            fewest, since = now, time.monotonic()
        time.sleep(0.1)
    return look(pid, time.monotonic() - begun, url, folder / "data")


def _write_events(url: str, case: str) -> None:
    """So much to tell of a case that it does not fit into what the kernel keeps for a client that does not read."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        row = sa.text(
            "insert into events (case_id, kind, data, at) select :case, 'progress',"
            " json_build_object('message', repeat('x', 4000)), 0 from generate_series(1, :count)"
        )
        connection.execute(row, {"case": case, "count": _BACKLOG})


def _drop_streams(fleet: Fleet, client: SessionClient, short: str, long: str, count: int) -> None:
    for start in range(0, count, AT_ONCE):
        before, held = _established(fleet.port), []
        for number in range(min(AT_ONCE, count - start)):
            if number % _STALLED == _STALLED - 1:
                held.append(_open(fleet, client, long, window=4096))
                continue
            connection = _open(fleet, client, short)
            if number % 2:  # a reset instead of a farewell
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            held.append(connection)
        for number, connection in enumerate(held):
            if number % _STALLED != _STALLED - 1:
                connection.close()
        # What is still open now is no longer read; the kernel keeps what was sent, so that no client sees the end.
        _until_established(fleet.port, before)
        for connection in held:
            connection.close()


def _open(fleet: Fleet, client: SessionClient, case: str, window: int = 0) -> socket.socket:
    connection = socket.socket()
    connection.settimeout(30)
    if window:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    connection.connect((fleet.host, fleet.port))
    head = f"GET /api/cases/{case}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {client.token}\r\n\r\n"
    connection.sendall(head.encode())
    if (status := connection.recv(12)) != b"HTTP/1.1 200":
        raise RuntimeError(f"an event stream was answered with {status!r}\n{fleet.logs()}")
    return connection


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _established(port: int) -> int:
    """Connections that a server on this port of the loopback address has open."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:])
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def _until_established(port: int, most: int, seconds: float = 30.0) -> None:
    """Wait until the server has no more connections than this."""
    deadline = time.monotonic() + seconds
    while (left := _established(port)) > most:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{left} connections {seconds:g} s after the last stream was dropped; {most} before")
        time.sleep(0.1)


@dataclass
class Life:
    """A platform that lives through a day, and what was seen of its processes."""

    name: str
    fleet: Fleet
    url: str
    pids: dict[str, int]
    series: dict[str, list[Sample]] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def look(self, at: float) -> None:
        """Add a sample of each process."""
        for name, pid in self.pids.items():
            self.series.setdefault(name, []).append(look(pid, at, self.url, self.fleet.folder / "data"))

    def growth(self) -> list[str]:
        """What is not flat, and what went wrong."""
        words = [f"{self.name}: {error}" for error in self.errors[:5]]
        for name, samples in self.series.items():
            found = growth(samples, day_seconds=DAY_SECONDS, memory_mib=MEMORY_MIB, size_mib=SIZE_MIB)
            words += [f"{self.name}, {name}: {one}" for one in found]
        return words


@contextlib.contextmanager
def living(folder: Path, url: str) -> Iterator[Life]:
    """A platform with short periods: `hope up` on SQLite, else a gateway and a worker."""
    settings = {"HOPE_SESSION_HOURS": str(SESSION_HOURS / DIVISOR), "HOPE_SHORT_PERIODS": str(DIVISOR)}
    if url:
        settings["HOPE_DATABASE_URL"] = url
    fleet = Fleet(folder, settings)
    try:
        names = ("gateway", "worker") if url else ("up",)
        pids = {name: fleet.start(name, program=SHORT_PERIODS).pid for name in names}
        fleet.wait_ready(300)
        yield Life("Postgres" if url else "SQLite", fleet, url, pids)
    finally:
        fleet.stop()


def work(life: Life, seconds: float, case_seconds: float, load_seconds: float) -> None:
    """Light load and rest in turn, for so long."""
    begun, choose = time.monotonic(), random.Random(0)  # noqa: S311
    while (now := time.monotonic() - begun) < seconds:
        if now % (2 * load_seconds) < load_seconds:
            try:
                what = _one_session(life.fleet, choose)
                life.done[what] = life.done.get(what, 0) + 1
            except (httpx.HTTPError, TimeoutError) as error:
                life.errors.append(f"{type(error).__name__}: {error}")
        time.sleep(case_seconds)


def _one_session(fleet: Fleet, choose: random.Random) -> str:
    """Upload, run, listen, fetch; returns how it ended."""
    what = choose.choice(("deleted", "deleted at work", "goodbye", "walked away", "cancelled"))
    client = fleet.client()
    with contextlib.closing(client.http):
        case = client.new_case({"t1c": small_scan(), "t2f": small_scan(1)})
        client.run(case)
        if what == "cancelled":  # and then walked away
            client.call("POST", f"/api/cases/{case}/cancel")
            return what
        if what == "deleted at work":
            time.sleep(choose.uniform(0.0, 0.3))
            client.call("DELETE", "/api/session")
            return what
        if "done" not in client.states(case):
            raise TimeoutError("a case was not done")
        client.call("GET", f"/api/cases/{case}")
        if what == "deleted":
            client.call("DELETE", "/api/session")
        elif what == "goodbye":
            client.call("PATCH", "/api/session", json={"close_with_page": True})
            client.http.post("/api/session/leave").raise_for_status()
        return what


def _fill(life: Life) -> None:
    """Run ``AT_ONCE`` cases together, each in a session of its own, and delete them."""

    def one(number: int) -> None:
        try:
            with contextlib.closing((client := life.fleet.client()).http):
                client.run(case := client.new_case({"t1c": small_scan(number)}))
                client.states(case)
                client.call("DELETE", "/api/session")
        except (httpx.HTTPError, TimeoutError) as error:
            life.errors.append(f"while pools were filled: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)


def day(folder: Path, url: str, minutes: float, print_seconds: float) -> list[str]:
    """Let both platforms live; prints their figures now and then, and returns what grew."""
    case_seconds, load_seconds = CASE_SECONDS, LOAD_SECONDS
    if minutes < 8 * LOAD_SECONDS / 60:
        case_seconds, load_seconds = CASE_SECONDS / 10, minutes * 60 / 8
    with living(folder / "postgres", url) as postgres, living(folder / "sqlite", "") as sqlite:
        lives = (postgres, sqlite)
        for life in lives:
            _fill(life)
        loads = [
            threading.Thread(target=work, args=(life, 60 * minutes, case_seconds, load_seconds), daemon=True)
            for life in lives
        ]
        for load in loads:
            load.start()
        begun, next_print = time.monotonic(), 0.0
        while (at := time.monotonic() - begun) < 60 * minutes:
            for life in lives:
                life.look(at)
            if at >= next_print:
                next_print += print_seconds
                _print(lives)
            time.sleep(_SAMPLE_SECONDS)
        for load in loads:
            load.join(120)
        _print(lives)
        _print_slopes(lives)
        return [word for life in lives for word in life.growth()]


def _print(lives: Sequence[Life]) -> None:
    print(f"{'':<20}{HEAD}")
    for life in lives:
        for name, samples in life.series.items():
            print(f"{f'{life.name}, {name}':<20}{samples[-1].line()}", flush=True)


def _print_slopes(lives: Sequence[Life]) -> None:
    for life in lives:
        print(f"{life.name}: sessions {life.done}, errors {len(life.errors)}")
        for name, samples in life.series.items():
            later = samples[len(samples) // 4 :]
            gains = (f"{what} {slope(later, what) * DAY_SECONDS:+.1f}" for what in _GAINS)
            print(f"{life.name}, {name}, a day, after the first quarter: {', '.join(gains)}")


_GAINS = ("descriptors", "threads", "pss_mib", "connections", "database_mib", "store_mib", "rows")


def main() -> None:
    """Print the figures; fails if something grows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("streams", "day"))
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--every", type=float, default=240.0, help="seconds between two prints")
    chosen = parser.parse_args()
    print(machine())
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="hope-flat-") as name, database("postgres") as url:
        if chosen.what == "streams":
            found = streams(Path(name), url, chosen.connections)
            print("\n".join([HEAD, *(sample.line() for sample in found)]))
            words = grown_by_streams(found)
        else:
            words = day(Path(name), url, chosen.minutes, chosen.every)
    print("\n".join(words) if words else "flat")
    sys.exit(1 if words else 0)


if __name__ == "__main__":
    main()
