"""Scores from counts against scores from voxels: they have to be equal for every mask and every threshold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from hope.domain.grid import Grid
from hope.domain.labels import CC, ED, ET, NET, region_mask
from hope.domain.volume import Volume
from hope.evaluation.lesionwise import HEADLINE_RULES, RULES, score_lesions
from hope.evaluation.surface import dice
from hope.stages.postprocess.postprocess import apply_rules, count_voxels
from hope.stages.postprocess.postprocess_rules import PostprocessRules
from hope.training.lesion_tables import LABELS, ORDER, CaseTable, Thresholds, make_table

SHAPE = (26, 24, 22)


def noise(rng: np.random.Generator, smoothness: float) -> npt.NDArray[np.uint8]:
    """Five smooth random fields, and at each voxel the number of the largest: parts of many sizes that touch."""
    fields = np.stack([gaussian_filter(rng.normal(size=SHAPE), smoothness) for _ in range(5)])
    fields[0] += 1.5 * fields.std()
    return fields.argmax(axis=0).astype(np.uint8)


def check(table: CaseTable, prediction: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], one: Thresholds) -> None:
    rules = PostprocessRules("x", (one.rules(),), NET, ORDER)
    after = apply_rules(Volume(prediction, Grid(prediction.shape, np.eye(4))), rules, 0)
    score = table.score(one)
    assert dict(zip(("ET", "NET", "CC", "ED"), score.voxels, strict=True)).items() <= after.after_voxels.items()
    for number, key in enumerate(table.regions):
        ours, theirs = region_mask(after.labels.data, key), region_mask(truth, key)
        lesionwise = score_lesions(ours, theirs, (1, 1, 1), RULES[HEADLINE_RULES])["dice"]
        assert score.lesionwise[number] == pytest.approx(lesionwise, abs=1e-12), key
        assert score.dice[number] == pytest.approx(dice(ours, theirs), abs=1e-12), key


@pytest.mark.parametrize("seed", range(8))
def test_any_thresholds_score_as_the_voxels_do(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prediction, truth = noise(rng, rng.uniform(0.8, 2.0)), noise(rng, 2.2)
    truth[truth == seed % 5] = 0  # one class, or for 0 none, is missing
    table = make_table(prediction, truth, "peds")
    check(table, prediction, truth, Thresholds())
    for _ in range(4):
        sizes = tuple(int(n) for n in rng.integers(0, 60, 4))
        shares = tuple(0.0 if label == NET else float(rng.uniform(0, 0.6)) for label in LABELS)
        check(table, prediction, truth, Thresholds(sizes, shares))


def test_parts_that_touch_are_one_lesion_of_the_tumour_core() -> None:
    prediction = np.zeros(SHAPE, np.uint8)
    prediction[2:6, 2:6, 2:6], prediction[6:9, 6:9, 6:9] = ET, CC  # by a corner
    truth = (prediction > 0).astype(np.uint8) * np.uint8(NET)
    table = make_table(prediction, truth, "peds")
    assert table.edges.tolist() == [[0, 1]]
    check(table, prediction, truth, Thresholds())
    check(table, prediction, truth, Thresholds(share=(0.0, 0.0, 0.5, 0.0)))


@pytest.mark.parametrize("scheme", ["peds", "brats2023"])
def test_empty_masks(scheme: str) -> None:
    empty, full = np.zeros(SHAPE, np.uint8), np.full(SHAPE, ED, np.uint8)
    neither = make_table(empty, empty, scheme)
    assert not neither.has_tumour
    assert neither.score(Thresholds((25, 25, 25, 25))).lesionwise.tolist() == [1.0] * len(neither.regions)
    assert ("CC" in neither.regions) is (scheme == "peds")
    for prediction, truth in ((empty, full), (full, empty)):
        check(make_table(prediction, truth, scheme), prediction, truth, Thresholds())
        check(make_table(prediction, truth, scheme), prediction, truth, Thresholds((0, 0, 0, 10**6)))


def test_thresholds_with_one_effect_are_scored_once() -> None:
    prediction = np.zeros(SHAPE, np.uint8)
    prediction[2:6, 2:6, 2:6] = ET
    table = make_table(prediction, prediction, "peds")
    first = table.score(Thresholds((25, 0, 0, 0)))
    assert table.score(Thresholds((50, 500, 0, 0), (0.5, 0.0, 0.0, 0.0))) is first
    assert table.score(Thresholds((64, 0, 0, 0))) is first, "a component of exactly the minimum stays"
    assert table.score(Thresholds((65, 0, 0, 0))) is not first
    assert count_voxels(prediction)["ET"] == first.voxels[0] == 64
    assert CC in LABELS
