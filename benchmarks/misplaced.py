"""How often `sequence_misplaced` is given on sound preprocessed cases, and on cases of which one scan is moved.

    python benchmarks/misplaced.py CASE...
    python benchmarks/misplaced.py --raw CASE...

Each CASE is a directory of scans in atlas space. Every scan of it is in turn mirrored along each axis, turned by a half
about the long axis, and shifted; named is the fault if the remark names that scan, found if it names two scans.
With --raw a CASE is preprocessed: as it is, and with each scan in turn stored as its mirror image, left for right.
Printed is how much better pairs of scans agree as mirror images than as they lie, with that scan and without.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from intake_warnings import case_scans
from machine import machine

from hope.domain.case import HeadState
from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.volume import Volume
from hope.services import Services
from hope.settings import Settings
from hope.stages.intake.intake import find_cases, load_case
from hope.stages.intake.misplaced import mirror_fits, misplaced_flags
from hope.stages.preprocess.preprocess import preprocess

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


def print_raw(directory: Path, services: Services) -> None:
    """What is said of a raw case as it is and with each of its scans mirrored, and by which figures."""
    (source,) = find_cases([directory], {})
    with tempfile.TemporaryDirectory() as scratch:
        case = load_case(source, preprocessed=False, scratch=Path(scratch))
    for odd in (None, *case.scans):
        scans = {name: mirrored(scan) if name is odd else scan for name, scan in case.scans.items()}
        aligned = preprocess(replace(case, scans=scans), HeadState.BRAIN, services.brain_extractor())
        said = [flag.sequence or "a pair" for flag in aligned.flags if flag.code == "sequence_misplaced"]
        ratios = {pair: fit.elsewhere / fit.stated for pair, fit in mirror_fits(aligned.images).items()}
        with_it = sorted(ratio for pair, ratio in ratios.items() if odd in pair)
        others = sorted(ratio for pair, ratio in ratios.items() if odd not in pair)
        figures = " and ".join(" ".join(f"{ratio:.2f}" for ratio in part) or "-" for part in (with_it, others))
        print(f"{directory.name}, {odd or 'no scan'} mirrored: told {said or 'nothing'}; {figures}", flush=True)


def mirrored(scan: Volume) -> Volume:
    """The scan as a file whose first axis is listed the wrong way shows it."""
    upright = scan.reoriented("RAS")
    affine = np.array(upright.grid.affine_ras_mm)
    affine[0] *= -1
    return Volume(upright.data, Grid(upright.grid.shape, affine))


def main() -> None:
    """Print both rates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", type=Path, nargs="+")
    parser.add_argument("--only-sound", action="store_true", help="make no faults")
    parser.add_argument("--raw", action="store_true", help="raw cases, mirrored left to right")
    chosen = parser.parse_args()
    print(machine())
    if chosen.raw:
        services = Services(Settings.from_environment())
        for directory in chosen.cases:
            print_raw(directory, services)
        return
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
