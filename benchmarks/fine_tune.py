"""What training on real cases would add to a bundle: cross-validated, and thrown away again.

    python benchmarks/fine_tune.py POOL [--model starter] [--folds 3] [--steps 150] [--real-share 1] [--half judging]

Each fold of the pool's half is answered by the bundle as it is, and by a copy that was trained on the other folds
(`hope train --cases DIR --from starter` is the same for a user's own cases). No weights are kept: what was trained on
these cases must not be given away.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import machine
from pool import load

from hope.domain.case import HarmonizedCase
from hope.domain.labels import SCHEMAS
from hope.domain.progress import silent
from hope.domain.volume import Volume
from hope.evaluation.evaluate import evaluate
from hope.models.bundle import Bundle
from hope.models.runtime import BundleRunner
from hope.services import Services
from hope.settings import Settings
from hope.stages.postprocess.postprocess import drop_unsure
from hope.stages.segment.segment import segment
from hope.training.config import config_of_recipe
from hope.training.export import export_bundle
from hope.training.loop import start, train
from hope.training.pool import Sample
from hope.training.real_cases import sample_of

SCHEME = "brats2023"
REGIONS = ("WT", "TC", "ET")


def _dice(bundle: Bundle, cases: list[tuple[HarmonizedCase, Volume]]) -> list[list[float]]:
    runner = BundleRunner(bundle)
    rows = []
    for case, truth in cases:
        said = segment(case, runner, silent)
        labels = drop_unsure(said.labels, said.region_probability["WT"]).labels
        score = evaluate(labels, truth, SCHEME)["regions"]
        rows.append([score[region]["dice"] for region in REGIONS])
    return rows


def _sample(case: HarmonizedCase, truth: Volume, spacing_mm: float) -> Sample:
    peds = truth.with_data(SCHEMAS[SCHEME].convert_to_peds(truth.data))
    return sample_of(case.aligned, peds, spacing_mm)


def _tuned(base: Bundle, samples: list[Sample], ids: list[str], chosen: argparse.Namespace, folder: Path) -> Bundle:
    config = config_of_recipe("starter", chosen.steps, 1, chosen.real_share, SCHEME, ids, base)
    config = replace(config, held_out=1, calibration_cases=0)
    state = train(start(config, base), config, folder, silent, samples)
    return export_bundle(state, config, folder / "bundle", "tuned")


def main() -> None:
    """Print Dice before and after, per fold and in the mean."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pool", type=Path)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--half", choices=["steering", "judging"], default="judging")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--real-share", type=float, default=1.0)
    chosen = parser.parse_args()
    print(machine())
    base = Services(Settings.from_environment()).models.get(chosen.model)
    paths = sorted(chosen.pool.glob("*.npz"))[0 if chosen.half == "steering" else 1 :: 2]
    cases = [load(path, None) for path in paths]
    samples = [_sample(case, truth, base.spacing_mm) for case, truth in cases]
    before, after = [], []
    for fold in range(chosen.folds):
        ours = [n for n in range(len(cases)) if n % chosen.folds == fold]
        others = [n for n in range(len(cases)) if n % chosen.folds != fold]
        with tempfile.TemporaryDirectory(prefix="hope-fine-tune-") as folder:
            given = [samples[n] for n in others]
            tuned = _tuned(base, given, [paths[n].stem for n in others], chosen, Path(folder))
            judged = [cases[n] for n in ours]
            before += _dice(base, judged)
            after += _dice(tuned, judged)
        print(f"fold {fold + 1}: {len(others)} cases trained, {len(ours)} judged", flush=True)
    for title, rows in (("as it is", before), ("fine-tuned", after)):
        means = {region: round(float(np.mean([row[n] for row in rows])), 3) for n, region in enumerate(REGIONS)}
        print(f"{title:<12} {means} over {len(rows)} cases", flush=True)


if __name__ == "__main__":
    main()
