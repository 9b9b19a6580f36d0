"""The published post-processing, vector by vector: answers of the published functions on made-up masks.

The vectors lie beside the repository (../shared/golden) and never in it.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.stages.postprocess.postprocess import apply_rules, remove_small_components
from hope.stages.postprocess.postprocess_rules import PostprocessRules

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "postproc"
VECTORS = sorted(GOLDEN.glob("*.npz"))
EXPECTED_VECTORS = 43
RULES = PostprocessRules.by_name("hope-peds-2024")
SECONDS_PER_FULL_CASE = 1.0

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not VECTORS, reason="the golden vectors (../shared/golden/postproc) are not on this machine"),
]


def test_the_vectors_are_complete() -> None:
    assert len(VECTORS) == EXPECTED_VECTORS


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_published_result_is_reproduced(path: Path) -> None:
    with np.load(path) as vector:
        labels, cluster = vector["seg"], int(vector["cluster"])
        expected_components, expected = vector["expected_cc"], vector["expected"]
    components = remove_small_components(labels, RULES.for_cluster(cluster).minimum_voxels)
    assert np.array_equal(components, expected_components)

    start = time.perf_counter()
    outcome = apply_rules(Volume(labels, Grid(labels.shape, np.eye(4))), RULES, cluster)
    seconds = time.perf_counter() - start
    assert outcome.labels.data.dtype == np.uint8
    assert np.array_equal(outcome.labels.data, expected)
    assert outcome.before_voxels["WT"] == np.count_nonzero(labels)
    assert outcome.after_voxels["WT"] == np.count_nonzero(expected)
    assert seconds < SECONDS_PER_FULL_CASE


@pytest.mark.parametrize("path", VECTORS[:3], ids=lambda path: path.stem)
def test_voxel_order_in_memory_does_not_matter(path: Path) -> None:
    with np.load(path) as vector:
        labels, cluster, expected = np.asfortranarray(vector["seg"]), int(vector["cluster"]), vector["expected"]
    flipped = labels[::-1].transpose(2, 0, 1)  # neither C nor Fortran order, as a reoriented volume is
    outcome = apply_rules(Volume(flipped, Grid(flipped.shape, np.eye(4))), RULES, cluster)
    assert np.array_equal(outcome.labels.data, expected[::-1].transpose(2, 0, 1))
