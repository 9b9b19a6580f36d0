"""How often `hope compare` calls an unchanged tumour changed, and what change it would find.

Each patient is scanned twice, by two scanners on two grids, while nothing grows; both are laid on the atlas,
segmented by the starter, and their volumes compared. The change that would just be called larger is the power of
that pair.

    python benchmarks/compare.py --pairs 20
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import hope
from hope.contract.report import Volumes
from hope.domain.change import Direction, MeasuredVolume, change_between
from hope.domain.grid import ATLAS_GRID
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.nifti import write_scan
from hope.stages.resample import resample
from hope.synthesis.raw import RawCase, RawOptions
from hope.synthesis.timeline import timeline

REGIONS = ("WT", "TC", "ET")


def segmented(case: RawCase) -> Volumes:
    """Volumes and intervals of one stripped case, laid on the atlas by its known pose."""
    with TemporaryDirectory() as name:
        for sequence, scan in case.scans.items():
            back: Transform = case.scan_to_head[sequence].inverse()
            brain = resample(Volume(case.brain.data, case.brain.grid), ATLAS_GRID, back, "nearest").data > 0
            image = resample(scan, ATLAS_GRID, back, "linear")
            write_scan(image.with_data(image.data * brain), Path(name) / f"case-{sequence}.nii.gz")
        return hope.segment(name, preprocessed=True).report.volumes_ml


def main() -> None:
    """Print each pair and the figures over all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=31)
    given = parser.parse_args()
    options = RawOptions(skull=False, thick_slices=False)
    called: dict[str, list[bool]] = {region: [] for region in REGIONS}
    power: dict[str, list[float]] = {region: [] for region in REGIONS}
    for index in range(given.pairs):
        first, second = (segmented(visit.case) for visit in timeline(given.seed, index, 2, options, unchanged=True))
        for region in REGIONS:
            a, b = (MeasuredVolume(v[region].ml, v[region].low_ml, v[region].high_ml) for v in (first, second))
            change = change_between(a, b)
            called[region].append(change.direction is not Direction.WITHIN)
            if change.low_ml is not None and a.ml > 0:
                power[region].append(100 * (change.ml - change.low_ml) / a.ml)
            print(
                f"pair {index + 1} {region}: {a.ml:.1f} then {b.ml:.1f} ml, interval {change.low_ml:+.1f} to "
                f"{change.high_ml:+.1f}: {change.direction}",
                flush=True,
            )
    for region in REGIONS:
        wrong, found = sum(called[region]), power[region]
        eighty = f"{np.percentile(found, 80):.0f} %" if found else "unknown"
        print(f"{region}: {wrong} of {given.pairs} called changed; smallest growth found in 80 % of them: {eighty}")


if __name__ == "__main__":
    main()
