"""Seconds of every step of a run, as a worker does them: what the shares of progress in `hope.contract.stages` are.

python benchmarks/progress_shares.py CASE [CASE ...]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from machine import machine

from hope import pipeline
from hope.contract.stages import STAGES
from hope.domain.progress import Progress
from hope.formats.nifti import read_scan, write_compact
from hope.jobs import bodies
from hope.stages.intake.case_finding import find_cases

_stage = pipeline.Clock.stage


@contextmanager
def _printed(clock: pipeline.Clock, name: str) -> Iterator[Progress]:
    """A step that prints its seconds."""
    start = time.perf_counter()
    with _stage(clock, name) as reported:
        yield reported
    print(f"  {name:<12}{time.perf_counter() - start:8.2f} s", flush=True)


def run(case: Path, folder: Path) -> None:
    """Do all stages of one case, each from files to files."""
    (source,) = find_cases([case], {})
    (folder / "in").mkdir()
    for sequence, path in source.files.items():
        scan = read_scan(path, sequence)[0]
        write_compact(scan.with_data(np.rint(scan.data)), folder / "in" / f"{sequence}.nii")
    for stage in STAGES:
        paths = {name: folder / f"{stage}-{name}" for name in ("out", "scratch")}
        for path in paths.values():
            path.mkdir()
        job = {"do": str(stage), "in": str(folder / "in"), "case": "case", **{n: str(p) for n, p in paths.items()}}
        done = bodies.run(job, lambda message, share: None)
        for entry in done["artifacts"]:
            shutil.copy(paths["out"] / entry["name"], folder / "in")


def main() -> None:
    """Run each case and print what its steps took."""
    print(machine())
    pipeline.Clock.stage = _printed  # type: ignore[assignment,method-assign]
    for case in sys.argv[1:]:
        print(Path(case).name)
        with tempfile.TemporaryDirectory() as folder:
            run(Path(case), Path(folder))


if __name__ == "__main__":
    main()
