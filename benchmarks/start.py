"""How long `import hope` and `hope --help` take: the median of several new processes.

    python benchmarks/start.py

Each starts once before, so that the disk is no part of it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from machine import machine

TRIES = 15
STARTS = {
    "python -c pass": "pass",
    "import hope": "import hope",
    "hope --help": "from hope.cli import main; main(['--help'])",
    "hope segment --help": "from hope.cli import main; main(['segment', '--help'])",
    "hope.segment, imported": "import hope; hope.segment",
}


def seconds(code: str) -> float:
    """Wall seconds of one process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - start


def main() -> None:
    """Print the medians."""
    print(machine())
    for name, code in STARTS.items():
        seconds(code)  # once for the disk
        print(f"  {name:<24} {statistics.median(seconds(code) for _ in range(TRIES)):.2f} s", flush=True)


if __name__ == "__main__":
    main()
