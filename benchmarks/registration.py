"""Registration alone: errors and processor seconds on synthetic raw cases whose heads moved between sequences.

python benchmarks/registration.py [SEED:CASES ...]        (41:3 977:5 where none is given)
"""

from __future__ import annotations

import sys
import time

import numpy as np
from machine import machine
from scipy import ndimage

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.progress import silent
from hope.stages.preprocess.align import to_reference
from hope.stages.preprocess.bias import correct_bias
from hope.synthesis.raw import RawCase, RawOptions, raw_case

OTHERS = tuple(sequence for sequence in SEQUENCES if sequence is not MRSequence.T1C)


def measured(case: RawCase) -> tuple[list[float], float, list[str]]:
    """Largest error at the brain's edge of each sequence, mm; processor seconds; what the registration says of them.

    The true brain mask is given, so that nothing but the registration is judged.
    """
    scans = {sequence: correct_bias(scan) for sequence, scan in case.scans.items()}
    brain = case.brain.data
    points = case.brain.grid.to_world(np.argwhere(brain & ~ndimage.binary_erosion(brain))[::29])
    begun = time.process_time()
    found, flags = to_reference(scans, MRSequence.T1C, case.brain, silent)
    seconds = time.process_time() - begun
    to_head = case.scan_to_head
    true = {sequence: to_head[MRSequence.T1C].then(to_head[sequence].inverse()) for sequence in OTHERS}
    errors = [found[sequence].largest_difference_mm(true[sequence], points) for sequence in OTHERS]
    return errors, seconds, [flag.reason for flag in flags if flag.code == "registration_uncertain"]


def main() -> None:
    """One line a case, and one for all."""
    wanted = [argument.split(":") for argument in sys.argv[1:]] or [["41", "3"], ["977", "5"]]
    print(machine())
    every, spent = [], []
    for seed, count in wanted:
        for index in range(int(count)):
            case = raw_case(int(seed), index, RawOptions(kind="rim_enhancing", misaligned=True))
            errors, seconds, cautions = measured(case)
            every += errors
            spent.append(seconds)
            shown = {str(sequence): round(error, 2) for sequence, error in zip(OTHERS, errors, strict=True)}
            print(f"seed {seed}, case {index}: edge error mm {shown}, {seconds:.1f} CPU s {cautions or ''}", flush=True)
    print(f"all: mean {np.mean(every):.3f} mm, longest {max(every):.2f} mm, {np.mean(spent):.1f} CPU s a case")


if __name__ == "__main__":
    main()
