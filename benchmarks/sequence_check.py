"""How often the voxel check says the right thing about the names of scans, each case judged by figures of the others.

    python benchmarks/sequence_check.py POOL CASE... [--fit FILE]

POOL holds stripped volumes (npz, as benchmarks/pool.py), CASE is a case directory. Every two sequences are swapped in
turn; printed is how often the check is silent, right (names exactly what was swapped), right in part (what it says is
true, but not all) and wrong (something it says is not true). With --fit the figures of POOL are written to FILE,
without the cases whose terms do not allow it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from machine import machine
from pool import load

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.volume import Volume
from hope.stages.intake.case_finding import find_cases
from hope.stages.intake.scan_reading import read_found, resolve
from hope.stages.intake.voxel_check import FeatureTable, judge, pair_features, sample

NOT_FOR_FITTING = ("Brats18_2013_21_1", "BraTS20_Training_001", "BraTS2024_SSA-00230-000", "BraTS-GLI-00002-000")

Features = npt.NDArray[np.float64]


def features_of(scans: Sequence[Volume]) -> Features | None:
    """Features of a case's four scans, None if too little is common to them."""
    values = sample(scans)
    return None if values is None else pair_features(values)


def fit(cases: Sequence[Features]) -> FeatureTable:
    """Median and robust spread of every feature."""
    stack = np.stack(cases)
    middle = np.median(stack, axis=0)
    robust = 1.4826 * np.median(np.abs(stack - middle), axis=0)
    return FeatureTable(middle, np.maximum(np.maximum(robust, 0.7 * stack.std(axis=0)), 0.03))


def case_scans(directory: Path) -> list[Volume]:
    """The four scans of a case directory."""
    (source,) = find_cases([directory], {})
    with tempfile.TemporaryDirectory() as scratch:
        found = resolve(source, Path(scratch))
        return [read_found(found[s], Path(scratch), s)[0] for s in SEQUENCES]


def main() -> None:
    """Print the confusion table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pool", type=Path)
    parser.add_argument("cases", type=Path, nargs="*")
    parser.add_argument("--fit", type=Path, default=None)
    chosen = parser.parse_args()
    print(machine())
    pool: dict[str, Features] = {}
    for path in sorted(chosen.pool.glob("*.npz")):
        images = load(path, None)[0].images
        if (features := features_of([images[s] for s in SEQUENCES])) is not None:
            pool[path.stem] = features
    others = {str(path): f for path in chosen.cases if (f := features_of(case_scans(path))) is not None}
    fitting = {name: f for name, f in pool.items() if name not in NOT_FOR_FITTING}
    if chosen.fit:
        table = fit(list(fitting.values()))
        facts = {"cases": len(fitting), "mean": table.mean.round(3).tolist(), "spread": table.spread.round(3).tolist()}
        chosen.fit.write_text(json.dumps(facts) + "\n")
    subsets = [SEQUENCES, *combinations(SEQUENCES, 3), *combinations(SEQUENCES, 2)]
    for subset in subsets:
        print_rates(tuple(subset), {**pool, **others}, fitting)


def print_rates(named: tuple[MRSequence, ...], judged: dict[str, Features], fitting: dict[str, Features]) -> None:
    """Print one line for the true names and one for each swap of two."""
    places = [SEQUENCES.index(s) for s in named]
    tables = {name: fit([f for other, f in fitting.items() if other != name]) for name in judged}
    print(f"\n{', '.join(named)}: {len(judged)} cases")
    swaps = [(), *combinations(range(len(named)), 2)]
    for swap in swaps:
        order = list(range(len(named)))
        if swap:
            order[swap[0]], order[swap[1]] = order[swap[1]], order[swap[0]]
        silent = right = part = wrong = 0
        for name, features in judged.items():
            at = [places[i] for i in order]
            opinion = judge(features[np.ix_(at, at)], named, tables[name])
            truth = {named[i]: named[order[i]] for i in range(len(named))}
            if not opinion.uncertain:
                silent += 1
                continue
            true = bool(swap) and all(truth[name] in opinion.may_be[name] for name in opinion.misnamed)
            swapped = {name for name, seen in truth.items() if name is not seen}
            named_all = swapped == {name for name in opinion.misnamed if len(opinion.may_be[name]) == 1}
            right += true and named_all
            part += true and not named_all
            wrong += not true
        what = f"{named[swap[0]]} and {named[swap[1]]} swapped" if swap else "named as they are"
        print(f"  {what:<24} silent {silent:3d}   right {right:3d}   in part {part:3d}   wrong {wrong:3d}")


if __name__ == "__main__":
    main()
