"""What the platform costs while it has nothing to do, and how soon work is taken up out of that rest.

python benchmarks/platform_idle.py [--database sqlite|postgres|URL] [--seconds 10] [--tries 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from database import database
from machine import machine

from hope.localaws.aws_processes import free_port
from hope.testing.fleet import Fleet, small_scan

SETTLE_SECONDS = 5.0
"""Longer than a queue stays lively after something was said on it."""


@dataclass(frozen=True)
class Idle:
    """What was measured.

    Attributes:
        shares: name of each process -> processor seconds it used in one second, its children included.
        pickup_seconds: from the call that starts a case to the first event that says that it runs, for each try.
    """

    shares: dict[str, float]
    pickup_seconds: list[float]


def processor_seconds(pid: int) -> float:
    """Seconds that a process and its living and reaped children have used (user and system)."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            children[int(entry.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    wanted, ticks = {pid}, 0
    for child in sorted(children):
        if child in wanted or children[child][0] in wanted:
            wanted.add(child)
            ticks += children[child][1]
    return ticks / os.sysconf("SC_CLK_TCK")


def wait_for_words(fleet: Fleet, words: str, number: int, seconds: float = 300.0) -> None:
    """Return when so many logs of the fleet hold the words; TimeoutError with the logs if they never do."""
    deadline = time.monotonic() + seconds
    while sum(words in path.read_text(errors="replace") for path in fleet.folder.glob("*.log")) < number:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in {number} logs after {seconds:g} s: {words}\n{fleet.logs()}")
        time.sleep(0.1)


def idle(folder: Path, url: str, seconds: float, tries: int) -> Idle:
    """Start a platform, let it rest, and measure: `hope up` on SQLite, two gateways and two workers elsewhere.

    Args:
        folder: data directory and logs.
        url: ``sqlite``, or the URL of a Postgres database.
        seconds: how long the processor's time is counted.
        tries: how many cases are started, each out of a rest.
    """
    apart = url != "sqlite"
    fleet = Fleet(folder, {"HOPE_SHORT_SECONDS": "noop", **({"HOPE_DATABASE_URL": url} if apart else {})})
    try:
        named = {"up": fleet.start("up")}
        if apart:
            fleet.stop()
            named = {"gateway 1": fleet.start("gateway")}
            fleet.wait_ready(300)
            named |= {f"worker {n}": fleet.start("worker") for n in (1, 2)}
            named["gateway 2"] = fleet.start("gateway", environment={"HOPE_PORT": str(free_port())})
            # Else the first cases would wait for workers that are still importing.
            wait_for_words(fleet, "worker ready", 2)
            wait_for_words(fleet, "Application startup complete", 2)
        fleet.wait_ready(300)
        client, pickups = fleet.client(), []
        for _ in range(tries):
            case = client.new_case({"t1c": small_scan()})
            time.sleep(SETTLE_SECONDS)
            client.run(case)
            client.wait(case)
            events = client.call("GET", f"/api/cases/{case}/diagnostics")["events"]
            at = {e["state"]: e["at"] for e in events if e["kind"] == "state"}
            pickups.append(at["running"] - at["queued"])
        time.sleep(SETTLE_SECONDS)
        before = {name: processor_seconds(process.pid) for name, process in named.items()}
        start = time.monotonic()
        time.sleep(seconds)
        used = {name: processor_seconds(process.pid) - before[name] for name, process in named.items()}
        passed = time.monotonic() - start
        if ended := [name for name, process in named.items() if process.poll() is not None]:
            raise RuntimeError(f"{', '.join(ended)} ended meanwhile\n{fleet.logs()}")
        return Idle({name: value / passed for name, value in used.items()}, pickups)
    finally:
        fleet.stop()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", default="sqlite")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--tries", type=int, default=5)
    chosen = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="hope-idle-") as folder, database(chosen.database) as url:
        found = idle(Path(folder), url, chosen.seconds, chosen.tries)
    for name, share in found.shares.items():
        print(f"{name}: {share:.1%} of a core")
    if found.pickup_seconds:
        median, most = statistics.median(found.pickup_seconds), max(found.pickup_seconds)
        print(f"from queued to running: median {1000 * median:.0f} ms, most {1000 * most:.0f} ms")


if __name__ == "__main__":
    main()
