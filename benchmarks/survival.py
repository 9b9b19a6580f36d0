"""The survival model on simulated cohorts: figures with a true effect, permuted outcomes, seconds for 316 cases.

python benchmarks/survival.py --permutations 100

Every permutation has a seed of its own, so that parts of them may run in several calls: --first 50 --permutations 25.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from hope.cohort.cox import Outcomes
from hope.cohort.survival import validate
from hope.cohort.table import Cohort


def simulated(rng: np.random.Generator, cases: int, effect: float) -> Cohort:
    """Six covariates, two with an effect; exponential survival in whole months; most have an event."""
    covariates = rng.normal(size=(cases, 6))
    linear = effect * (covariates[:, 0] - 0.7 * covariates[:, 1])
    died, followed = rng.exponential(400 * np.exp(-linear)), rng.uniform(200, 1500, cases)
    days = np.ceil(np.minimum(died, followed) / 30) * 30
    return Cohort(tuple(f"x{n}" for n in range(6)), covariates, Outcomes(days, died <= followed))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--permutations", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first permutation")
    parser.add_argument("--repeats", type=int, default=10, help="of the cross-validation")
    given = parser.parse_args()
    rng = np.random.default_rng(11)
    for effect in (0.0, 0.15, 0.3, 0.6):
        cohort = simulated(rng, 316, effect)
        start = time.process_time()
        found = validate(cohort, 0.02, repeats=given.repeats)
        seconds = time.process_time() - start
        print(
            f"effect {effect:.2f}: {int(cohort.outcomes.events.sum())} events, C {found.c_index:.3f} "
            f"({found.c_low:.3f} to {found.c_high:.3f}), slope {found.slope:.2f}, "
            f"{'published' if found.publishable else 'report only'}, {seconds:.1f} processor seconds"
        )
    cohort = simulated(rng, 316, 0.6)
    published = 0
    for number in range(given.first, given.first + given.permutations):
        outcomes = cohort.outcomes.part(np.random.default_rng([11, number]).permutation(316))
        permuted = Cohort(cohort.names, cohort.covariates, outcomes)
        published += validate(permuted, 0.02, repeats=given.repeats).publishable
    last = given.first + given.permutations - 1
    print(f"permuted outcomes {given.first} to {last} published: {published} of {given.permutations}")


if __name__ == "__main__":
    main()
