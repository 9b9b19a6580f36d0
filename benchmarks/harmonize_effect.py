"""What harmonisation does to segmentation: the reason for the default, which is what helps.

python benchmarks/harmonize_effect.py DATA [--model starter] [--count 14] [--real dev|steering]

Every case is segmented as it is and after each method, brought to the style that ships. `real` are the labelled dev
cases (or the steering half of the pool); `synthetic` are cases of a series that no training sees, as they are and as
another site might give them: through a rising curve for each sequence and coil shading, drawn anew for each case.
Dice means, and how many of the images the anatomy check let through.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import machine
from scipy import ndimage
from starter import KINDS, Judged, answer, real_cases, synthetic_cases

from hope.domain.case import HarmonizedCase
from hope.evaluation.evaluate import evaluate
from hope.ports import Predictor
from hope.services import Services
from hope.settings import Settings
from hope.stages.harmonize.harmonize import default_style, harmonize
from hope.synthesis.fields import FieldMaker
from hope.training.harmonizer_pool import rising_curve

METHODS = ("none", "histogram", "hail")
REGIONS = ("WT", "TC", "ET")


def at_another_site(case: HarmonizedCase, seed: int) -> HarmonizedCase:
    """The case as another scanner might show it: a rising curve and shading for each sequence."""
    rng = np.random.default_rng([seed, 771])
    brain = np.asarray(case.aligned.brain_mask.data) > 0
    images = {}
    for sequence, volume in case.images.items():
        data = np.asarray(volume.data)
        median = float(np.median(data[brain & (data > 0)]))
        curve = rising_curve(rng, 0.35)
        i, j, k = (-(-n // 4) for n in data.shape)
        small = FieldMaker(rng, (i, j, k), 4.0).smooth(rng.uniform(60, 110))
        shading = ndimage.zoom(small, 4, order=1)[tuple(slice(n) for n in data.shape)]
        bent = np.interp(data / median, *curve) * np.exp(shading * rng.uniform(0, 0.3))
        images[sequence] = volume.with_data(np.where(data > 0, bent, 0).astype(np.float32))
    aligned = replace(case.aligned, images=images)
    return HarmonizedCase(aligned, images)


def measure_effect(title: str, cases: Iterator[Judged], services: Services, predictor: Predictor) -> None:
    """Print one line per method."""
    dice: dict[str, list[list[float]]] = defaultdict(list)
    changed: dict[str, list[float]] = defaultdict(list)
    for name, case, truth, scheme in cases:
        for method in METHODS:
            given = case
            if method != "none":
                given = harmonize(case.aligned, services.harmonizer(method), default_style(method))
                changed[method] += [facts["changed"] for facts in given.details["sequences"].values()]
            labels = answer(given, predictor).labels.reoriented(truth.grid.orientation)
            regions = evaluate(labels, truth, scheme)["regions"]
            # A region that the truth lacks says nothing of overlap.
            dice[method].append([regions[r]["dice"] if regions[r]["truth_ml"] > 0 else np.nan for r in REGIONS])
        reported = {m: [round(float(v), 3) for v in dice[m][-1]] for m in METHODS}
        print(f"{title} {name} {reported}", flush=True)
    print(f"\n{title}, {len(dice['none'])} cases{'':12}" + "".join(f"{r:>8}" for r in REGIONS))
    for method in METHODS:
        share = f"{np.mean(changed[method]):.0%} of images changed" if changed[method] else ""
        print(f"{method:30}" + "".join(f"{m:8.3f}" for m in np.nanmean(dice[method], axis=0)) + f"   {share}")
    print(flush=True)


def main() -> None:
    """Measure on real cases, on synthetic ones, and on these at another site."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--model", default=None)
    parser.add_argument("--count", type=int, default=14)
    parser.add_argument("--real", choices=["dev", "steering"], default="dev")
    chosen = parser.parse_args()
    print(machine())
    services = Services(Settings.from_environment())
    predictor = services.predictor(chosen.model)
    half = "steering" if chosen.real == "steering" else "judging"
    real = real_cases(chosen.data, half, services, predictor)
    if chosen.real == "dev":
        dev = {folder.name for folder in (chosen.data / "dev").iterdir()}
        real = (judged for judged in real if judged[0] in dev)
    measure_effect(f"real ({chosen.real})", real, services, predictor)
    measure_effect("synthetic", synthetic_cases(chosen.count, KINDS), services, predictor)
    moved = (
        (name, at_another_site(case, index), truth, scheme)
        for index, (name, case, truth, scheme) in enumerate(synthetic_cases(chosen.count, KINDS))
    )
    measure_effect("synthetic, another site", moved, services, predictor)


if __name__ == "__main__":
    main()
