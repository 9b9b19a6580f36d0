"""A bundle on a pool of labelled, stripped volumes (npz: image uint8 (4,x,y,z) RAS, label in the brats2023 scheme).

    python benchmarks/pool.py DIRECTORY [--half steering|judging] [--model ID] [--without t2f]

The steering half is every other file by name, from the first; it may guide choices. The judging half may not.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from machine import machine

from hope.domain.case import SEQUENCES, AlignedCase, HarmonizedCase
from hope.domain.grid import ATLAS_GRID
from hope.domain.progress import silent
from hope.domain.volume import Volume
from hope.evaluation.evaluate import evaluate, mean_scores
from hope.services import Services
from hope.settings import Settings
from hope.stages.postprocess.postprocess import drop_unsure
from hope.stages.segment.segment import segment


def load(path: Path, without: str | None) -> tuple[HarmonizedCase, Volume]:
    """Place one cropped volume back on the atlas grid."""
    ras = ATLAS_GRID.reoriented("RAS")
    with np.load(path) as content:
        image, label, origin = content["image"], content["label"], content["origin"]
    box = tuple(slice(int(o), int(o) + n) for o, n in zip(origin, label.shape, strict=True))
    images = {}
    for channel, sequence in enumerate(SEQUENCES):
        if str(sequence) != without:
            data = np.zeros(ras.shape, np.float32)
            data[box] = image[channel]
            images[sequence] = Volume(data, ras)
    truth, brain = np.zeros(ras.shape, np.uint8), np.zeros(ras.shape, bool)
    truth[box], brain[box] = label, (image > 0).any(axis=0)
    aligned = AlignedCase.in_place(path.stem, images, Volume(brain, ras))
    return HarmonizedCase(aligned, images), Volume(truth, ras)


def main() -> None:
    """Print Dice per case, then the means of all scores as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--half", choices=["steering", "judging"], default="judging")
    parser.add_argument("--model", default=None)
    parser.add_argument("--without", default=None)
    chosen = parser.parse_args()
    print(machine())
    predictor = Services(Settings.from_environment()).predictor(chosen.model)
    scores = []
    for path in sorted(chosen.directory.glob("*.npz"))[0 if chosen.half == "steering" else 1 :: 2]:
        case, truth = load(path, chosen.without)
        start = time.perf_counter()
        prediction = segment(case, predictor, silent)
        labels = drop_unsure(prediction.labels, prediction.region_probability["WT"]).labels
        seconds = time.perf_counter() - start
        score = evaluate(labels, truth, "brats2023")
        scores.append(score)
        dice = {name: round(region["dice"], 3) for name, region in score["regions"].items()}
        print(f"{path.stem:<24} {dice}  {seconds:.1f} s", flush=True)
    print(json.dumps(mean_scores(scores)))


if __name__ == "__main__":
    main()
