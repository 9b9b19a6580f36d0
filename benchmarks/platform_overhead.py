"""What the platform adds to each stage: pipelines of stages that do nothing, one after the other, embedded.

python benchmarks/platform_overhead.py [--pipelines 20]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from machine import machine

from hope.testing.fleet import Fleet, small_scan


def stage_seconds(folder: Path, pipelines: int) -> list[float]:
    """Seconds from the start of a run to its end, over four, for each pipeline after a first one that warms up."""
    fleet = Fleet(folder, {"HOPE_SHORT_SECONDS": "noop"})
    try:
        fleet.start("up")
        fleet.wait_ready()
        client, found = fleet.client(), []
        for _ in range(pipelines + 1):
            case = client.new_case({"t1c": small_scan()})
            client.run(case)
            client.wait(case)
            events = client.call("GET", f"/api/cases/{case}/diagnostics")["events"]
            at = {e["state"]: e["at"] for e in events if e["kind"] == "state"}
            found.append((at["done"] - at["queued"]) / 4)
            client.call("DELETE", f"/api/cases/{case}")
        return found[1:]
    finally:
        fleet.stop()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pipelines", type=int, default=20)
    chosen = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="hope-overhead-") as folder:
        seconds = sorted(stage_seconds(Path(folder), chosen.pipelines))
    print(f"overhead per stage, {len(seconds)} pipelines of four no-op stages:")
    print(f"median {1000 * statistics.median(seconds):.0f} ms, most {1000 * seconds[-1]:.0f} ms")


if __name__ == "__main__":
    main()
