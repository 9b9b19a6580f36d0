"""What the way of a mask from the atlas to the scan's own grid costs: nearest voxel against linear shares.

    python benchmarks/labels_home.py [N] [SEED]

Synthetic raw cases (head moved between scans, thick slices) are segmented by the whole pipeline. Its mask on the atlas
grid goes to the grid of the t1c scan by either way and is compared there with the true labels. One line a case and way:
Dice of the whole tumour and of the core, the volume over that on the atlas grid, how rough the outline is (the share of
in-plane border edges that turn a corner within a voxel), and processor seconds.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from machine import machine
from round_trip import dice, segmented

from hope.domain.case import MRSequence
from hope.domain.labels import REGIONS
from hope.domain.transform import Transform
from hope.models.brain_deepbet import DeepbetExtractor
from hope.services import Services
from hope.settings import Settings
from hope.stages.resample import resample, resample_labels
from hope.synthesis.raw import RawOptions, raw_case

KINDS = ("rim_enhancing", "pontine", "cystic_with_nodule")


def roughness(mask: np.ndarray) -> float:
    """Corners of the outline in every slice over its length: of a staircase 1 and less for longer steps."""
    padded = np.pad(mask, ((1, 1), (1, 1), (0, 0)))
    length = (padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum()
    four = padded[1:, 1:].astype(int) + padded[1:, :-1] + padded[:-1, 1:] + padded[:-1, :-1]
    return float(((four == 1) | (four == 3)).sum() / max(length, 1))


def main() -> None:
    """Print a line a case and way, and the means."""
    arguments = [int(a) for a in sys.argv[1:]]
    count, seed = (arguments + [3, 41][len(arguments) :])[:2]
    services = Services(Settings.from_environment())
    predictor, brain = services.predictor(), DeepbetExtractor()
    means: dict[str, list[list[float]]] = {"nearest": [], "linear": []}
    for index in range(count):
        case = raw_case(seed, index, RawOptions(kind=KINDS[index % 3], misaligned=True))
        result = segmented(case, predictor, brain)
        atlas = result.atlas_labels
        found = result.report.transforms[str(MRSequence.T1C)].atlas_to_native_ras_mm
        back, native = Transform(np.array(found)).inverse(), case.labels.grid
        on_atlas = float((atlas.data > 0).sum()) * atlas.grid.voxel_volume_ml
        for way, rows in means.items():
            began = time.process_time()
            linear = way == "linear"
            home = (resample_labels(atlas, native, back) if linear else resample(atlas, native, back, "nearest")).data
            spent = time.process_time() - began
            core = [np.isin(labels, REGIONS["TC"]) for labels in (home, case.labels.data)]
            volume = float((home > 0).sum()) * native.voxel_volume_ml / max(on_atlas, 1e-9)
            rows.append([dice(home > 0, case.labels.data > 0), dice(*core), volume, roughness(home > 0), spent])
            print(f"case {index} {way}: " + ", ".join(f"{value:.4f}" for value in rows[-1]), flush=True)
    for way, rows in means.items():
        wt, tc, volume, rough, spent = np.mean(rows, axis=0)
        print(f"{way}: WT {wt:.4f}, TC {tc:.4f}, volume {volume:.4f}, rough {rough:.3f}, {spent:.2f} processor seconds")
    print(machine())


if __name__ == "__main__":
    main()
