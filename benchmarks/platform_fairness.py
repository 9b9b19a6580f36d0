"""Two workers share one stage's load; a session with ten cases does not starve another with one; a kill is quick.

python benchmarks/platform_fairness.py [--database sqlite|postgres|URL]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from database import database
from machine import machine

from hope.testing.fleet import Fleet, small_scan


def fairness(folder: Path, database_url: str = "sqlite", cases: int = 10) -> dict[str, Any]:
    """Ten cases of one session are queued, then one of another; then two workers of one slot each are started."""
    log = folder / "stages.log"
    environment = {"HOPE_SHORT_SECONDS": "0.5", "HOPE_SHORT_LOG": str(log)}
    if database_url != "sqlite":
        environment["HOPE_DATABASE_URL"] = database_url
    fleet = Fleet(folder, environment)
    try:
        fleet.start("gateway")
        fleet.wait_ready()
        many, one = fleet.client(), fleet.client()
        scan = small_scan()
        waiting = [many.new_case({"t1c": scan}) for _ in range(cases)]
        single = one.new_case({"t1c": scan})
        for case in waiting:
            many.run(case)
        one.run(single)
        begin = time.monotonic()
        for _ in range(2):
            fleet.start("worker", "--slots", "1")
        one.wait(single)
        single_seconds = time.monotonic() - begin
        for case in waiting:
            many.wait(case)
        total = time.monotonic() - begin
        lines = [line.split() for line in log.read_text().splitlines()]
        starts = [(case, process) for what, stage, case, process in lines if (what, stage) == ("start", "preprocess")]
        last = f"case-{single[:8]}"
        # Counted among the cases of the worker that took it: a worker that starts later than the other begins its first
        # case later too, whichever case that is.
        its_worker = next(process for case, process in starts if case == last)
        begun = [case for case, process in starts if process == its_worker]
        return {
            "queued last, begun by its worker as number": 1 + begun.index(last),
            "one case of the second session, s": round(single_seconds, 1),
            f"all {cases + 1} cases, s": round(total, 1),
            "stages per process": dict(Counter(pid for what, _, _, pid in lines if what == "end")),
        }
    finally:
        fleet.stop()


def kill_seconds(folder: Path, tries: int = 5) -> list[float]:
    """Seconds from `DELETE /api/session` until the process of a running, stubborn stage is dead."""
    log = folder / "stages.log"
    fleet = Fleet(folder, {"HOPE_SHORT_SECONDS": "300", "HOPE_SHORT_STUBBORN": "1", "HOPE_SHORT_LOG": str(log)})
    found = []
    try:
        fleet.start("up")
        fleet.wait_ready()
        for number in range(tries):
            client = fleet.client()
            client.run(client.new_case({"t1c": small_scan()}))
            while not log.exists() or len(log.read_text().splitlines()) <= number:
                time.sleep(0.05)
            time.sleep(0.5)
            process = Path("/proc") / log.read_text().splitlines()[number].split()[3]
            begin = time.monotonic()
            client.call("DELETE", "/api/session")
            while process.exists():
                time.sleep(0.01)
            found.append(time.monotonic() - begin)
        return found
    finally:
        fleet.stop()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", default="sqlite")
    chosen = parser.parse_args()
    print(machine())
    with database(chosen.database) as url, tempfile.TemporaryDirectory(prefix="hope-fairness-") as folder:
        for name, value in fairness(Path(folder), url).items():
            print(f"{name:<36}{value}")
    with tempfile.TemporaryDirectory(prefix="hope-kill-") as folder:
        seconds = kill_seconds(Path(folder))
    print(f"kill of a session, until its stage's process is dead: most {max(seconds):.2f} s of {len(seconds)}")


if __name__ == "__main__":
    main()
