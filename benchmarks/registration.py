"""Registration alone: errors and processor seconds on synthetic raw cases whose heads moved between sequences.

python benchmarks/registration.py [SEED:CASES ...]        (41:3 977:5 where none is given)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from machine import machine
from scipy import ndimage

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.progress import silent
from hope.domain.transform import Transform
from hope.stages.masks import grown
from hope.stages.preprocess.align import HEAD_MARGIN_MM, to_reference
from hope.stages.preprocess.align_check import ProbePoints
from hope.stages.preprocess.bias import correct_bias
from hope.stages.preprocess.coarse_search import CoarseSearch
from hope.synthesis.raw import RawCase, RawOptions, raw_case

OTHERS = tuple(sequence for sequence in SEQUENCES if sequence is not MRSequence.T1C)


@dataclass(frozen=True)
class Measured:
    """Of one case: errors of each sequence, largest at the brain's edge.

    Attributes:
        errors_mm: of the registration.
        search_mm: of the coarse search alone, begun at the scanner's coordinates.
        seconds: processor time of the registration.
        cautions: what the registration says against its results.
    """

    errors_mm: dict[str, float]
    search_mm: dict[str, float]
    seconds: float
    cautions: list[str]


def measured(case: RawCase) -> Measured:
    """Register a case; the true brain mask is given, so that nothing but the registration is judged."""
    scans = {sequence: correct_bias(scan) for sequence, scan in case.scans.items()}
    brain = case.brain.data
    points = case.brain.grid.to_world(np.argwhere(brain & ~ndimage.binary_erosion(brain))[::29])
    begun = time.process_time()
    found, flags = to_reference(scans, MRSequence.T1C, case.brain, silent)
    seconds = time.process_time() - begun
    to_head = case.scan_to_head
    true = {sequence: to_head[MRSequence.T1C].then(to_head[sequence].inverse()) for sequence in OTHERS}
    near = ProbePoints.of(scans[MRSequence.T1C], grown(case.brain, HEAD_MARGIN_MM))
    begin = Transform.identity()
    alone = {sequence: CoarseSearch(near.against(scans[sequence])).nearest(begin) for sequence in OTHERS}

    def errors(of: Mapping[MRSequence, Transform]) -> dict[str, float]:
        return {str(s): round(of[s].largest_difference_mm(true[s], points), 2) for s in OTHERS}

    cautions = [flag.reason for flag in flags if flag.code == "registration_uncertain"]
    return Measured(errors(found), errors(alone), seconds, cautions)


def main() -> None:
    """One line a case, and one for all."""
    wanted = [argument.split(":") for argument in sys.argv[1:]] or [["41", "3"], ["977", "5"]]
    print(machine())
    every: list[Measured] = []
    for seed, count in wanted:
        for index in range(int(count)):
            case = raw_case(int(seed), index, RawOptions(kind="rim_enhancing", misaligned=True))
            one = measured(case)
            every.append(one)
            print(
                f"seed {seed}, case {index}: edge error mm {one.errors_mm}, search alone {one.search_mm},"
                f" {one.seconds:.1f} CPU s {one.cautions or ''}",
                flush=True,
            )
    errors = [error for one in every for error in one.errors_mm.values()]
    alone = [error for one in every for error in one.search_mm.values()]
    seconds = np.mean([one.seconds for one in every])
    print(
        f"all: mean {np.mean(errors):.3f} mm, longest {max(errors):.2f} mm, {seconds:.1f} CPU s a case; search alone:"
        f" {sum(error <= 3 for error in alone)} of {len(alone)} within 3 mm, longest {max(alone):.2f} mm"
    )


if __name__ == "__main__":
    main()
