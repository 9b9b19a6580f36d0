"""Misaligned synthetic raw cases: how exactly transforms are recovered, and what the way back to the scan costs.

python benchmarks/round_trip.py [N] [SEED]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from machine import machine
from scipy import ndimage

from hope.contract.result import CaseResult
from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.transform import Transform
from hope.formats.nifti import write_scan
from hope.models.brain_deepbet import DeepbetExtractor
from hope.pipeline import run_case
from hope.ports import BrainExtractor, Predictor
from hope.services import Services
from hope.settings import Settings
from hope.stages.intake.intake import find_cases
from hope.stages.resample import resample
from hope.synthesis.raw import RawCase, RawOptions, raw_case


def dice(one: np.ndarray, two: np.ndarray) -> float:
    """Overlap of two masks."""
    return float(2 * (one & two).sum() / max(one.sum() + two.sum(), 1))


def edge_error_mm(case: RawCase, atlas_to_native: dict[MRSequence, Transform], sequence: MRSequence) -> float:
    """Largest error at the brain's edge of the recovered map from t1c to another sequence."""
    brain = case.brain.data
    edge = np.argwhere(brain & ~ndimage.binary_erosion(brain))[::29]
    points = case.brain.grid.to_world(edge)
    true = case.scan_to_head[MRSequence.T1C].then(case.scan_to_head[sequence].inverse())
    found = atlas_to_native[MRSequence.T1C].inverse().then(atlas_to_native[sequence])
    return found.largest_difference_mm(true, points)


def segmented(case: RawCase, predictor: Predictor, brain: BrainExtractor) -> CaseResult:
    """The whole pipeline on a synthetic raw case, from files as a scanner's export would be."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "synth-0001"
        place.mkdir()
        for sequence, scan in case.scans.items():
            write_scan(scan, place / f"synth-0001-{sequence}.nii.gz")
        (source,) = find_cases([place], {})
        return run_case(source, predictor, brain, Path(folder) / "out")


def main() -> None:
    """One line per case: edge errors, and WT Dice against the truth on the atlas and on the scan's own grid."""
    arguments = [int(a) for a in sys.argv[1:]]
    count = arguments[0] if arguments else 3
    seed = arguments[1] if len(arguments) > 1 else 41
    print(machine())
    services = Services(Settings.from_environment())
    predictor, brain = services.predictor(), DeepbetExtractor()
    for index in range(count):
        case = raw_case(seed, index, RawOptions(kind="rim_enhancing", misaligned=True))
        result = segmented(case, predictor, brain)
        on_atlas = result.atlas_labels
        found = {
            MRSequence(s): Transform(np.array(t["atlas_to_native_ras_mm"]))
            for s, t in result.report.to_json()["transforms"].items()
        }
        truth = resample(case.labels, on_atlas.grid, found[MRSequence.T1C], "nearest")
        errors = {str(s): round(edge_error_mm(case, found, s), 2) for s in SEQUENCES if s is not MRSequence.T1C}
        atlas = dice(on_atlas.data > 0, truth.data > 0)
        native = dice(result.native_labels.data > 0, case.labels.data > 0)
        print(f"case {index}: edge error mm {errors}; WT Dice atlas {atlas:.3f}, native {native:.3f},"
              f" ratio {native / max(atlas, 1e-9):.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
