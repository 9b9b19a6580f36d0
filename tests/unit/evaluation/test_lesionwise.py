"""Lesion-wise scores: answers known by hand, and a slow reference that follows the published text word by word."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from hope.evaluation.lesionwise import PENALTY_MM, RULES, DilationRules, LesionScores, dilate, score_lesions
from hope.evaluation.surface import dice, hd95_mm

Bool = npt.NDArray[np.bool_]

SHAPE = (40, 36, 32)
UNIT = (1.0, 1.0, 1.0)
EIGHTEEN = ndimage.generate_binary_structure(3, 2)
TWENTY_SIX = np.ones((3, 3, 3))


def blank(*boxes: tuple[slice, slice, slice]) -> Bool:
    mask = np.zeros(SHAPE, np.bool_)
    for box in boxes:
        mask[box] = True
    return mask


def cube(i: int, j: int, k: int, edge: int = 6) -> tuple[slice, slice, slice]:
    return slice(i, i + edge), slice(j, j + edge), slice(k, k + edge)


def score(prediction: Bool, truth: Bool, name: str = "brats-2023") -> LesionScores:
    return score_lesions(prediction, truth, UNIT, RULES[name])


def by_the_text(prediction: Bool, truth: Bool, rules: DilationRules) -> tuple[float, float]:
    """Whole volumes, lesion after lesion, with scipy's dilation: slow and plain. No crop, no tables."""

    def grow(mask: Bool) -> Bool:
        return ndimage.binary_dilation(mask, EIGHTEEN, iterations=rules.dilations)

    def parts(mask: Bool, merged: bool) -> list[Bool]:
        numbers, count = ndimage.label(grow(mask) if merged else mask, TWENTY_SIX)
        return [(numbers == number + 1) & mask for number in range(count)]

    spots = parts(prediction, rules.merge_prediction)
    if rules.merge_prediction:
        spots = [spot for spot in spots if spot.sum() > rules.ignored_voxels]
    dices, distances, touched = [], [], set()
    for lesion in parts(truth, True):
        near = grow(lesion)
        chosen = [number for number, spot in enumerate(spots) if (spot & near).any()]
        touched.update(chosen)
        if lesion.sum() <= rules.ignored_voxels:
            continue
        ours = np.any([spots[number] for number in chosen], axis=0) if chosen else np.zeros_like(lesion)
        dices.append(dice(ours, lesion))
        distances.append(hd95_mm(ours, lesion, UNIT) if chosen else PENALTY_MM)
    false = len(spots) - len(touched)
    if not dices and not false:
        return 1.0, 0.0
    return sum(dices) / (len(dices) + false), (sum(distances) + PENALTY_MM * false) / (len(dices) + false)


def random_masks(rng: np.random.Generator) -> tuple[Bool, Bool]:
    where = np.indices(SHAPE)
    prediction, truth = blank(), blank()
    for _ in range(rng.integers(1, 9)):
        centre, radius = rng.uniform(0, SHAPE), rng.uniform(1, 5)
        for mask, shift in ((prediction, rng.uniform(0, 3)), (truth, 0.0)):
            if rng.uniform() < 0.85:
                away = where - (centre + shift * rng.normal(size=3))[:, None, None, None]
                mask |= np.linalg.norm(away, axis=0) < radius
    return prediction, truth


@pytest.mark.parametrize("name", ["brats-2023", "brats-peds-2024"])
def test_equals_the_published_text_on_random_masks(name: str) -> None:
    rng = np.random.default_rng(3)
    rules = RULES[name]
    assert isinstance(rules, DilationRules)
    for _ in range(15):
        prediction, truth = random_masks(rng)
        ours = score(prediction, truth, name)
        assert (ours["dice"], ours["hd95_mm"]) == pytest.approx(by_the_text(prediction, truth, rules), abs=1e-9)


@pytest.mark.parametrize("times", [0, 1, 3, 5])
def test_dilation_equals_scipys(times: int) -> None:
    mask = np.random.default_rng(0).uniform(size=(14, 11, 9)) > 0.99
    expected = ndimage.binary_dilation(mask, EIGHTEEN, iterations=times) if times else mask
    assert np.array_equal(dilate(mask, times), expected)


def test_nothing_in_both_is_agreement_where_that_is_defined() -> None:
    assert score(blank(), blank()) == {"dice": 1.0, "hd95_mm": 0.0, "found": 0, "missed": 0, "false": 0}
    assert score(blank(), blank(), "brats-evaluation")["dice"] is None


def test_one_found_one_missed_one_false() -> None:
    truth = blank(cube(2, 2, 2), cube(25, 25, 20))
    prediction = blank(cube(3, 2, 2), cube(25, 2, 20))
    found = 2 * 180 / 432
    assert score(prediction, truth) == pytest.approx(
        {"dice": found / 3, "hd95_mm": (1 + 374 + 374) / 3, "found": 1, "missed": 1, "false": 1}
    )
    assert score(prediction, truth, "brats-evaluation") == pytest.approx(
        {"dice": found, "hd95_mm": 1.0, "found": 1, "missed": 1, "false": 1}
    )


def test_an_empty_mask_against_a_lesion_scores_the_penalty() -> None:
    for prediction, truth in ((blank(), blank(cube(5, 5, 5))), (blank(cube(5, 5, 5)), blank())):
        assert (score(prediction, truth)["dice"], score(prediction, truth)["hd95_mm"]) == (0.0, 374.0)
        official = score(prediction, truth, "brats-evaluation")
        assert (official["dice"], official["hd95_mm"]) == (0.0, None)


@pytest.mark.parametrize(("extra", "missed"), [(0, 0), (1, 1)])
def test_a_missed_lesion_of_50_voxels_is_left_out_and_of_51_is_not(extra: int, missed: int) -> None:
    truth = blank(cube(2, 2, 2), (slice(25, 30), slice(25, 30), slice(20, 22)))
    truth[25, 25, 22] = bool(extra)
    prediction = blank(cube(2, 2, 2))
    assert score(prediction, truth)["missed"] == missed
    assert score(prediction, truth)["dice"] == pytest.approx(1 / (1 + missed))


def test_a_small_false_lesion_counts_but_not_where_it_meets_a_small_true_one() -> None:
    truth = blank(cube(2, 2, 2))
    speck = blank(cube(2, 2, 2), cube(25, 25, 20, edge=2))
    assert score(speck, truth)["dice"] == 0.5
    assert score(speck, truth | blank(cube(26, 26, 21, edge=2)))["dice"] == 1.0
    assert score(speck, truth, "brats-peds-2024")["dice"] == 1.0, "8 voxels are dropped there"


@pytest.mark.parametrize(("gap", "lesions"), [(6, 1), (7, 2)])
def test_parts_nearer_than_two_dilations_are_one_lesion(gap: int, lesions: int) -> None:
    """Three dilations from each side leave no voxel between parts that are six apart."""
    truth = blank(cube(2, 2, 2), cube(8 + gap, 2, 2))
    prediction = blank(cube(2, 2, 2))
    result = score(prediction, truth)
    assert result["found"] + result["missed"] == lesions
    assert result["dice"] == pytest.approx(2 / 3 if lesions == 1 else 1 / 2)


def test_one_prediction_over_two_lesions_is_compared_with_both() -> None:
    truth = blank(cube(2, 2, 2), cube(20, 2, 2))
    prediction = blank((slice(2, 26), slice(2, 8), slice(2, 8)))
    result = score(prediction, truth)
    assert (result["found"], result["false"]) == (2, 0)
    assert result["dice"] == pytest.approx(2 * 216 / (216 + 864))
    official = score(prediction, truth, "brats-evaluation")
    assert (official["found"], official["missed"], official["false"]) == (1, 1, 0)


def test_many_specks_do_not_take_long() -> None:
    rng = np.random.default_rng(1)
    noise = rng.uniform(size=(160, 160, 120)) > 0.998
    lesion = np.zeros_like(noise)
    lesion[40:80, 40:80, 40:80] = True
    for rules in RULES.values():
        assert score_lesions(noise, lesion, UNIT, rules)["false"] >= 0
        assert score_lesions(lesion, noise, UNIT, rules)["missed"] >= 0
