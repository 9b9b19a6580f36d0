"""What a training step costs: synthesis made on the way, as before, against a pool on disk; memory, and its size.

    python benchmarks/training_speed.py [--steps 6]

Both forms take the same patches (two of 64x80x64) through the same network in one process with one thread. "On the way"
adds what 0.2 synthetic cases a step cost, as the starter's recipe makes them; "from disk" reads them back.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from machine import machine

from hope.domain.progress import silent
from hope.training.augment import Augmentation
from hope.training.config import RECIPES, TrainingConfig
from hope.training.loop import loss_of_step, start, use_threads
from hope.training.pool import CasePool, make_sample
from hope.training.precision import half_precision
from hope.training.steps import Loop, run_loop

_PATCH = (64, 80, 64)


def _processor_seconds() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def _seconds_a_step(config: TrainingConfig, pool: CasePool, steps: int) -> tuple[float, float]:
    """Processor and wall seconds of a step, after one that is not counted."""
    state = start(config)
    loop = Loop(
        steps=steps + 1,
        last=1,
        look_every=steps + 2,
        loss=lambda: loss_of_step(state, config, pool, "cpu"),
        rate=lambda _step: 1e-4,
        clip=5.0,
        keep=0.995,
        after_step=lambda _loss: None,
        message=str,
        look=lambda: None,
        save=lambda: None,
    )
    run_loop(state, loop, silent)
    processor, wall = _processor_seconds(), time.perf_counter()
    run_loop(state, replace(loop, last=steps + 1), silent)
    return (_processor_seconds() - processor) / steps, (time.perf_counter() - wall) / steps


def main() -> None:
    """Print processor seconds a step for each recipe, and what the pool takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=6)
    chosen = parser.parse_args()
    print(machine())
    use_threads(1)
    print("arithmetic:", "bfloat16" if half_precision("cpu")._enabled else "float32")
    before = replace(RECIPES["starter"], first_cases=8, new_cases_per_step=0.0)
    rows = {
        "starter's patches and augmentation": before,
        "synthetic's augmentation, 64x80x64": replace(before, augmentation=RECIPES["synthetic"].augmentation),
        "synthetic's augmentation, 48x64x48": replace(
            before, augmentation=RECIPES["synthetic"].augmentation, patch=RECIPES["synthetic"].patch
        ),
        "no augmentation, 64x80x64": replace(before, augmentation=Augmentation(fewer_sequences=0.0), patch=_PATCH),
    }
    make_sample(1, 0)  # the atlas is read once
    processor = _processor_seconds()
    for index in range(1, 7):
        make_sample(1, index)
    a_case = (_processor_seconds() - processor) / 6
    processor = _processor_seconds()
    for index in range(1, 7):
        make_sample(1, index, RECIPES["synthetic"].variety)
    varied = (_processor_seconds() - processor) / 6
    print(f"a synthetic case: {a_case:.2f} processor seconds, with variety {varied:.2f}")
    with tempfile.TemporaryDirectory(prefix="hope-training-speed-") as folder, CasePool(before, Path(folder)) as pool:
        pool.newest(0, before.first_cases)
        files = list(pool.folder.glob("*.npz"))
        size = sum(path.stat().st_size for path in files) / len(files) / 1e6
        for title, config in rows.items():
            processor, wall = _seconds_a_step(config, pool, chosen.steps)
            print(f"{title:<38} {processor:6.2f} processor s, {wall:6.2f} s a step", flush=True)
            if config is before:
                made = processor + a_case * RECIPES["starter"].new_cases_per_step
                print(f"{'  with its cases made on the way':<38} {made:6.2f} processor s")
    most = RECIPES["synthetic"].most_cases
    print(f"pool: {size:.2f} MB a case, {size * most / 1000:.1f} GB for {most} cases")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
