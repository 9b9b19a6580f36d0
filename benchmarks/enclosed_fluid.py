"""What the rule on fluid that a core encloses adds, and where it should add nothing.

    python benchmarks/enclosed_fluid.py children [--count 12] [--seed 990025]
    python benchmarks/enclosed_fluid.py adults --cases CASES --networks FOLD-0 FOLD-1 FOLD-2

``children`` takes the cysts out of the true masks of synthetic cases, as a model might leave them out, and asks the
rule for them. ``adults`` are the cases of ``folds.json``, each with the answer of the network that never saw it,
cleaned up without the rule. Prints the cases where the rule adds something or where a cyst of 2 ml or more was left
out: what was added, and how much of it is tumour.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from machine import machine
from out_of_fold import FOLDS
from starter import KINDS, on_atlas, truth_of

from hope.adapters.predict_local import LocalPredictor
from hope.domain.case import SEQUENCES, HarmonizedCase
from hope.domain.labels import CC
from hope.domain.volume import Volume
from hope.models.bundle import read_bundle
from hope.services import Services
from hope.settings import Settings
from hope.stages.intake.intake import find_cases
from hope.stages.postprocess.enclosed import LEAST_ML, enclosed_fluid
from hope.stages.postprocess.postprocess import drop_unsure
from hope.stages.segment.segment import segment
from hope.synthesis.case import training_sample
from hope.synthesis.variety import Variety
from hope.training.schedule import Folds


def children(args: argparse.Namespace) -> None:
    """True masks without their cysts."""
    for kind in KINDS:
        found = missed = 0
        for index in range(args.count):
            sample = training_sample(args.seed, index, kind, variety=Variety() if index % 2 else None)
            images = {s: Volume(image, sample.grid) for s, image in zip(SEQUENCES, sample.images, strict=True)}
            brain = Volume(np.asarray((sample.images > 0).any(axis=0)), sample.grid)
            cyst = sample.labels == CC
            left = Volume(np.where(cyst, np.uint8(0), sample.labels), sample.grid)
            added = enclosed_fluid(images, brain, left)
            ml = sample.grid.voxel_volume_ml
            large = cyst.sum() * ml >= LEAST_ML
            found += bool(large and added is not None)
            missed += bool(large and added is None)
            if large or added is not None:
                _tell(f"{kind} {index}, cyst of {cyst.sum() * ml:.1f} ml", added, sample.labels > 0, ml)
        print(f"{kind}: {found} of {found + missed} cysts of {LEAST_ML:g} ml and more, {args.count} cases", flush=True)


def adults(args: argparse.Namespace) -> None:
    """Answers out of fold."""
    torch.set_num_threads(1)
    services = Services(Settings.from_environment())
    cases = {source.case_id: source for source in find_cases([args.cases], {})}
    fired = asked = 0
    for fold, names in enumerate(Folds.read(FOLDS).folds):
        predictor = LocalPredictor(read_bundle(args.networks[fold]), "cpu")
        for name in names:
            aligned = on_atlas(cases[name], services, predictor)
            said = segment(HarmonizedCase(aligned, aligned.images), predictor)
            labels = drop_unsure(said.labels, said.region_probability["WT"], aligned.brain_mask).labels
            added, truth = enclosed_fluid(aligned.images, aligned.brain_mask, labels), truth_of(cases[name], aligned)
            assert truth is not None, f"{name} has no mask"
            asked, fired = asked + 1, fired + (added is not None)
            if added is not None:
                true = np.asarray(truth.reoriented(labels.grid.orientation).data) > 0
                _tell(name, added, true, labels.grid.voxel_volume_ml)
    print(f"adults: something added in {fired} of {asked}")


def _tell(name: str, added: np.ndarray | None, tumour: np.ndarray, voxel_ml: float) -> None:
    if added is None:
        print(f"  {name}: nothing added", flush=True)
    else:
        print(f"  {name}: {added.sum() * voxel_ml:.1f} ml added, {tumour[added].mean():.0%} of it tumour", flush=True)


def main() -> None:
    """Ask the rule about children or adults."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("children")
    one.add_argument("--count", type=int, default=12, help="of each kind")
    one.add_argument("--seed", type=int, default=990_025)
    one.set_defaults(run=children)
    two = commands.add_parser("adults")
    two.add_argument("--cases", type=Path, required=True)
    two.add_argument("--networks", type=Path, nargs=3, required=True, help="bundles, one a fold")
    two.set_defaults(run=adults)
    args = parser.parse_args()
    print(machine())
    args.run(args)


if __name__ == "__main__":
    main()
