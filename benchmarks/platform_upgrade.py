"""Upgrade a platform process by process from an earlier version, tables included, while cases come in.

python benchmarks/platform_upgrade.py [--earlier COMMIT] [--pipelines 60]        (a clone with its history)

The earlier version runs from the commit's sources, with the packages that are installed here. Processes are replaced
one by one, workers first: the first new one migrates the tables under the old ones' feet.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from database import database
from machine import machine
from platform_faults import LIMIT_SECONDS, all_events, doubled, persist, start_case

from hope.adapters.cases_sql.tables import SCHEMA_VERSION
from hope.testing.fleet import Fleet, SessionClient, small_scan

REPOSITORY = Path(__file__).resolve().parents[1]
EARLIER = "96e961e^"
"""The last commit of version 0.1.0."""

WORKER = ("worker", "--slots", "2")


def sources(commit: str, folder: Path) -> dict[str, str]:
    """Unpack the sources of a commit; the environment in which Python finds them before ours."""
    folder.mkdir(parents=True)
    packed = subprocess.run(["git", "-C", str(REPOSITORY), "archive", commit, "src"], check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return {"PYTHONPATH": str(folder / "src")}


def states_of(commit: str) -> dict[str, str]:
    """Version and schema of a commit, as its sources state them."""
    found = {}
    for name, path, pattern in (
        ("version", "src/hope/__init__.py", r'__version__ = "(.+)"'),
        ("schema", "src/hope/adapters/cases_sql/tables.py", r'SCHEMA_VERSION = "(.+)"'),
    ):
        command = ["git", "-C", str(REPOSITORY), "show", f"{commit}:{path}"]
        match = re.search(pattern, subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        found[name] = match[1] if match else "?"
    return found


def campaign(folder: Path, commit: str, pipelines: int, url: str) -> dict[str, Any]:
    """Start pipelines without a pause while every process is replaced; report what came of them."""
    old = sources(commit, folder / "earlier")
    fleet = Fleet(folder / "fleet", {"HOPE_SHORT_SECONDS": "0.4", "HOPE_MAX_CASES_IN_WORK": "1000"})
    fleet.environment["HOPE_DATABASE_URL"] = url
    try:
        gateway, first, second = (fleet.start(*one, environment=old) for one in (("gateway",), WORKER, WORKER))
        fleet.wait_ready(120)
        clients = [fleet.client() for _ in range(3)]
        cases: list[tuple[SessionClient, str]] = []
        steps: dict[int, Callable[[], None]] = {
            pipelines // 5: lambda: _start_beside(fleet, url),
            2 * pipelines // 5: lambda: _end(fleet, first),
            3 * pipelines // 5: lambda: _replace(fleet, second, *WORKER),
            4 * pipelines // 5: lambda: _replace(fleet, gateway, "gateway"),
        }
        scan, begun = small_scan(), time.monotonic()
        for number in range(pipelines):
            client = clients[number % len(clients)]
            cases.append((client, persist(lambda c=client: start_case(c, scan))))
            if number in steps:
                steps[number]()
        states = Counter(persist(lambda c=client, i=case: c.wait(i, LIMIT_SECONDS)) for client, case in cases)
        seconds = time.monotonic() - begun
        events = [all_events(client, case) for client, case in cases]
        earlier = states_of(commit)
        return {
            "from": f"{earlier['version']}, schema {earlier['schema']}",
            "to schema": _schema(url),
            "pipelines": pipelines,
            "states": dict(states),
            "problems": sorted({str(e["problem"]) for one in events for e in one if e.get("problem")}),
            "lost": pipelines - states["done"],
            "finished twice": sum(doubled(one) for one in events),
            "errors in logs": len(re.findall(r'"level": "(?:error|critical)"', fleet.logs())),
            "seconds": round(seconds, 1),
        }
    finally:
        fleet.stop()


def _schema(url: str) -> str:
    import psycopg

    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else ""


def _start_beside(fleet: Fleet, url: str) -> None:
    """A worker of this version beside all of the earlier one; it migrates the tables."""
    fleet.start(*WORKER)
    deadline = time.monotonic() + 120
    while _schema(url) != SCHEMA_VERSION:
        if time.monotonic() > deadline:
            raise TimeoutError(fleet.logs())
        time.sleep(0.1)


def _end(fleet: Fleet, process: subprocess.Popen[bytes]) -> None:
    """As an orchestrator ends it."""
    process.terminate()
    process.wait(60)
    fleet.processes.remove(process)


def _replace(fleet: Fleet, process: subprocess.Popen[bytes], *words: str) -> None:
    _end(fleet, process)
    fleet.start(*words)


def main() -> None:
    """Print the figures; fails if a case was lost or done twice."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--earlier", default=EARLIER)
    parser.add_argument("--pipelines", type=int, default=60)
    chosen = parser.parse_args()
    print(machine())
    with database("postgres") as url, tempfile.TemporaryDirectory(prefix="hope-upgrade-") as folder:
        result = campaign(Path(folder), chosen.earlier, chosen.pipelines, url)
    for name, value in result.items():
        print(f"{name:<16}{value}")
    sys.exit(1 if result["lost"] or result["finished twice"] else 0)


if __name__ == "__main__":
    main()
