"""How often fluid at the brain's surface is told, where there is a cavity after surgery and where there is none.

    python benchmarks/cavities.py [--count 60] [--seed 990007] [--cases DIR]

Each synthetic child is made twice, with a resection cavity and without, and judged with its true mask. --cases adds
labelled scans (``benchmarks/pool.py export``), none of them of an operated patient as far as their releases say.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from machine import machine

import hope.synthesis.variety as varieties
from hope.domain.case import SEQUENCES
from hope.domain.volume import Volume
from hope.services import Services
from hope.settings import Settings
from hope.stages.intake.intake import find_cases
from hope.stages.segment.fluid import MARKED, surface_fluid
from hope.synthesis.anatomy import Anatomy
from hope.synthesis.case import training_sample
from hope.synthesis.fields import FieldMaker
from hope.synthesis.variety import Variety

_SIZES = (2, 5, 10, 1000)


def synthetic(seed: int, index: int, cavity: bool) -> tuple[float, list[float]]:
    """Millilitres of the cavity that was cut, and how much of each space that is told lies in the true mask."""
    cut: list[float] = []
    true_cut = varieties.with_cavity

    def measured(anatomy: Anatomy, fields: FieldMaker) -> Anatomy:
        after = true_cut(anatomy, fields)
        cut.append(float((after.csf - anatomy.csf > 0.3).sum()) * 0.008)
        return after

    varieties.with_cavity = measured
    try:
        sample = training_sample(seed, index, variety=Variety(cavities=float(cavity)))
    finally:
        varieties.with_cavity = true_cut
    images = {s: Volume(image, sample.grid) for s, image in zip(SEQUENCES, sample.images, strict=True)}
    brain = Volume((sample.images > 0).any(axis=0), sample.grid)
    spaces = surface_fluid(images, brain, Volume(sample.labels, sample.grid))
    return sum(cut), [space.marked for space in spaces]


def said_of(marked: list[float]) -> str:
    """Outside or in the mask, or neither."""
    if not marked:
        return "nothing told"
    return "outside the mask" if min(marked) < MARKED else "in the mask"


def adults(folder: Path) -> None:
    """Print what is told of labelled scans."""
    from starter import on_atlas, truth_of

    services = Services(Settings.from_environment())
    predictor = services.predictor("starter")
    counts: dict[str, int] = {}
    for source in find_cases([folder], {}):
        aligned = on_atlas(source, services, predictor)
        truth = truth_of(source, aligned)
        assert truth is not None, f"{source.case_id} has no mask"
        spaces = surface_fluid(aligned.images, aligned.brain_mask, truth)
        said = said_of([space.marked for space in spaces])
        counts[said] = counts.get(said, 0) + 1
        if spaces:
            print(source.case_id, [(round(space.ml, 1), round(space.marked, 2)) for space in spaces], flush=True)
    print("labelled scans:", counts)


def main() -> None:
    """Count over a series of synthetic children, then over labelled scans."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=990_007)
    parser.add_argument("--cases", type=Path)
    args = parser.parse_args()
    without = [said_of(synthetic(args.seed, index, False)[1]) for index in range(args.count)]
    print("no cavity:", {said: without.count(said) for said in sorted(set(without))}, flush=True)
    made = [synthetic(args.seed, index, True) for index in range(args.count)]
    for low, high in zip((0, *_SIZES), _SIZES, strict=False):
        here = [said_of(marked) for ml, marked in made if low <= ml < high]
        print(f"cavity of {low} to {high} ml:", {said: here.count(said) for said in sorted(set(here))})
    if args.cases:
        adults(args.cases)
    print(machine())


if __name__ == "__main__":
    main()
