"""A real scan against itself, turned by known rigid transforms: how far off `hope compare`'s registration is.

    python benchmarks/turned.py SCAN BRAIN --turns 12

SCAN is a t1c and BRAIN a mask on its grid. Each time the head is turned and moved in the scanner, read on another grid
with other slices, and made noisier. The error is that of the found transform at every fifth voxel of the brain, so that
it bounds the error in a tumour wherever that lies.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from hope.domain.volume import Volume
from hope.formats.nifti import read_scan
from hope.stages.preprocess.register import register_rigid
from hope.stages.preprocess.starts import session_starts
from hope.testing.turned import error_mm, turned


def main() -> None:
    """One line a turn, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("brain", type=Path)
    parser.add_argument("--turns", type=int, default=12)
    given = parser.parse_args()
    scan, _ = read_scan(given.scan, "the scan")
    brain, _ = read_scan(given.brain, "the brain mask")
    mask: Volume = brain.with_data(brain.data > 0)
    worst = []
    for turn in range(given.turns):
        moved, true = turned(scan, np.random.default_rng([23, turn]))
        fit = register_rigid(scan, moved, session_starts(scan, moved))
        errors = error_mm(fit.transform, true, mask)
        worst.append(float(errors.max()))
        print(
            f"turn {turn}: {fit.rotation_deg:.1f} degrees, grid of {moved.grid.spacing_mm} mm, error mean "
            f"{errors.mean():.3f} mm, longest {errors.max():.3f} mm {'; '.join(fit.cautions)}",
            flush=True,
        )
    print(f"all: longest error in the brain, median {np.median(worst):.3f} mm, of all {max(worst):.3f} mm")


if __name__ == "__main__":
    main()
