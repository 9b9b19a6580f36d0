"""Brain mask of a raw case against reference masks on each scan's own grid.

python benchmarks/brain_mask.py CASE REFERENCE_DIR      (REFERENCE_DIR holds brain-t1n.nii.gz, brain-t1c.nii.gz, ...)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from machine import machine

from hope.domain.case import HeadState
from hope.formats.nifti import read_labels
from hope.models.brain_deepbet import DeepbetExtractor
from hope.stages.intake.intake import find_cases, load_case
from hope.stages.preprocess.preprocess import preprocess
from hope.stages.resample import resample


def main() -> None:
    """Print Dice per sequence: the atlas mask brought back to each scan through the saved transforms."""
    print(machine())
    (source,) = find_cases([Path(sys.argv[1])], {})
    with tempfile.TemporaryDirectory() as scratch:
        case = load_case(source, preprocessed=None, scratch=Path(scratch))
        aligned = preprocess(case, HeadState.BRAIN, DeepbetExtractor())
    for sequence, transform in aligned.atlas_to_native.items():
        truth = read_labels(Path(sys.argv[2]) / f"brain-{sequence}.nii.gz")
        mine = resample(aligned.brain_mask, truth.grid, transform.inverse(), "nearest").data > 0
        reference = truth.data > 0
        dice = 2 * np.count_nonzero(mine & reference) / (np.count_nonzero(mine) + np.count_nonzero(reference))
        print(f"{sequence}: Dice {dice:.3f}, {mine.sum() * truth.grid.voxel_volume_ml:.0f} ml"
              f" (reference {reference.sum() * truth.grid.voxel_volume_ml:.0f} ml)")  # fmt: skip


if __name__ == "__main__":
    main()
