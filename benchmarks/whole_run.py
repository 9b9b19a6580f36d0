"""Time and peak memory of `hope segment` as a whole process, and of each stage, for any case.

python benchmarks/whole_run.py CASE [CASE ...]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine


def main() -> None:
    """Run each case once in a process of its own and print what it took."""
    print(machine())
    for case in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as out:
            start = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "hope.cli", "segment", case, "-o", out], stdout=subprocess.DEVNULL
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
            assert os.waitstatus_to_exitcode(status) == 0, f"hope segment {case} failed"
            (result,) = Path(out).glob("*/result.json")
            facts = json.loads(result.read_text())
        cpu = usage.ru_utime + usage.ru_stime
        print(f"{facts['case_id']}: wall {wall:.1f} s, CPU {cpu:.1f} s, peak memory {usage.ru_maxrss / 2**20:.2f} GiB")
        for stage in facts["stages"]:
            print(f"  {stage['name']:<12}{stage['seconds']:8.1f} s")


if __name__ == "__main__":
    main()
