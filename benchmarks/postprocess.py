"""Adaptive post-processing of a full case, against one pass over the volume for each component.

python benchmarks/postprocess.py [COMPONENTS]      (the loop takes seconds for each dozen of components; default 24)
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from machine import machine
from scipy import ndimage

from hope.domain.grid import ATLAS_GRID
from hope.domain.labels import PEDS
from hope.domain.volume import Volume
from hope.stages.postprocess.postprocess import apply_rules, redefine
from hope.stages.postprocess.postprocess_rules import PostprocessRules

Mask = npt.NDArray[np.uint8]
CLUSTER = 7
RUNS = 7


def case(components: int) -> Mask:
    """A tumour of three labels in a volume of 240 x 240 x 155, and specks of every label about it."""
    rng = np.random.default_rng(0)
    i, j, k = np.ogrid[:240, :240, :155]
    radius = np.sqrt((i - 110) ** 2 + (j - 130) ** 2 + (k - 75) ** 2)
    labels = np.select([radius < 12, radius < 24, radius < 34], [1, 2, 4], 0).astype(np.uint8)
    for number in range(max(components - 3, 0)):
        size = int(rng.integers(2, 10))
        x, y, z = (int(rng.integers(4, n - 14)) for n in labels.shape)
        block = labels[x : x + size, y : y + size, z : z + size]
        block[block == 0] = number % 4 + 1
    return labels


def one_pass_each(labels: Mask, rules: PostprocessRules) -> Mask:
    """The same rules the slow way: for every label a labelling, for every component a comparison of the volume."""
    chosen, cleaned = rules.for_cluster(CLUSTER), labels.copy()
    for label in PEDS.labels:
        found, count = ndimage.label(labels == label.value, structure=np.ones((3, 3, 3)))
        for number in range(1, count + 1):
            component = found == number
            if np.count_nonzero(component) < chosen.minimum_voxels.get(label.value, 0):
                cleaned[component] = 0
    return redefine(cleaned, chosen.redefine_below_share, rules.redefine_to, rules.order)


def seconds(work: Callable[[], object], runs: int) -> float:
    """Median wall seconds."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    """Print both times, their ratio, and that the results are equal."""
    components = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    rules = PostprocessRules.by_name("hope-peds-2024")
    labels = case(components)
    volume = Volume(labels, ATLAS_GRID)
    ours = apply_rules(volume, rules, CLUSTER).labels.data
    assert np.array_equal(ours, one_pass_each(labels, rules)), "the two ways differ"
    fast = seconds(lambda: apply_rules(volume, rules, CLUSTER), RUNS)
    slow = seconds(lambda: one_pass_each(labels, rules), 1)
    found = sum(ndimage.label(labels == label.value, np.ones((3, 3, 3)))[1] for label in PEDS.labels)
    print(machine())
    print(f"240 x 240 x 155, {np.count_nonzero(labels)} tumour voxels in {found} components, equal results")
    print(f"components and renaming: {fast:.3f} s (median of {RUNS}); one pass per component: {slow:.2f} s;"
          f" ratio {slow / fast:.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
