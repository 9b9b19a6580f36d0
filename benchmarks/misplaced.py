"""How often `sequence_misplaced` is given on sound preprocessed cases, and on cases of which one scan is moved.

    python benchmarks/misplaced.py CASE...

Each CASE is a directory of scans in atlas space. Every scan of it is in turn mirrored along each axis, turned by a half
about the long axis, and shifted; named is the fault if the remark names that scan, found if it names two scans.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from intake_warnings import case_scans
from machine import machine

from hope.domain.grid import ATLAS_GRID
from hope.stages.intake.misplaced import misplaced_flags

Voxels = npt.NDArray[np.float32]

FAULTS: dict[str, Callable[[Voxels], Voxels]] = {
    "mirrored left to right": lambda v: v[::-1],
    "mirrored front to back": lambda v: v[:, ::-1],
    "upside down": lambda v: v[:, :, ::-1],
    "turned by a half": lambda v: v[::-1, ::-1],
    "shifted by 3 mm": lambda v: np.roll(v, 3, 0),
    "shifted by 7 mm": lambda v: np.roll(v, 7, 1),
    "shifted by 15 mm": lambda v: np.roll(v, 15, 0),
}


def main() -> None:
    """Print both rates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", type=Path, nargs="+")
    parser.add_argument("--only-sound", action="store_true", help="make no faults")
    chosen = parser.parse_args()
    print(machine())
    named: Counter[str] = Counter()
    found: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    alarms, seconds = 0, []
    for directory in chosen.cases:
        scans = {s: scan.reoriented(ATLAS_GRID.orientation) for s, scan in case_scans(directory).items()}
        began = time.process_time()
        flags = misplaced_flags(scans)
        seconds.append(time.process_time() - began)
        alarms += bool(flags)
        for flag in flags:
            print(f"  sound, but {directory.name}: {flag.reason}", flush=True)
        for fault, make in {} if chosen.only_sound else FAULTS.items():
            for sequence, scan in scans.items():
                said = misplaced_flags({**scans, sequence: scan.with_data(make(scan.data))})
                tried[fault] += 1
                found[fault] += bool(said)
                named[fault] += [flag.sequence for flag in said] == [sequence]
    print(
        f"\n{alarms} of {len(chosen.cases)} sound cases get it; {np.median(seconds):.2f} s, {max(seconds):.2f} at most"
    )
    for fault in tried:
        print(f"  {fault:<24} found {found[fault]} of {tried[fault]}, the scan named in {named[fault]}")


if __name__ == "__main__":
    main()
