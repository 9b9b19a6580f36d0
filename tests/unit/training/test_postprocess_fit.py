"""Learning thresholds and clusters on phantoms whose right answer is known."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest

from hope.domain.errors import InputError, StageError
from hope.domain.labels import CC, ED, ET, NET
from hope.stages.postprocess.adaptive import AdaptivePostprocess
from hope.training.cluster_fit import fit_clusters
from hope.training.lesion_tables import Thresholds, make_table
from hope.training.postprocess_fit import FitCase, FitChoices, PostprocessFit, fit_postprocess
from hope.training.threshold_search import fit_thresholds, split

Mask = npt.NDArray[np.uint8]
SHAPE = (40, 30, 30)
CENTRES = ({"a": 9.0, "b": 1.0, "c": 0.5}, {"a": 1.0, "b": 9.0, "c": 0.5})


def tumour(rng: np.random.Generator) -> Mask:
    """A NET tumour of 16 x 16 x 16 voxels, a little moved, with an ET and an ED part that are no small share."""
    mask = np.zeros(SHAPE, np.uint8)
    i, j, k = (int(n) for n in rng.integers(1, 4, 3))
    mask[i : i + 16, j : j + 16, k : k + 16] = NET
    mask[i : i + 16, j : j + 16, k : k + 6] = ET
    mask[i : i + 16, j : j + 16, k + 10 : k + 16] = ED
    return mask


def near(mask: Mask) -> Mask:
    """A prediction that is off by a voxel: a score below 1 that no threshold can mend."""
    return np.roll(mask, 1, axis=0)


def with_speck(mask: Mask, size: tuple[int, int, int] = (4, 4, 4)) -> Mask:
    """The mask and an ET speck (64 voxels) far from everything."""
    spotted = mask.copy()
    spotted[30 : 30 + size[0], 20 : 20 + size[1], 20 : 20 + size[2]] = ET
    return spotted


def false_specks(count: int, features: Mapping[str, float] | None = None, seed: int = 0) -> list[FitCase]:
    """Cases whose prediction has a speck that the truth has not."""
    rng = np.random.default_rng(seed)
    truths = [tumour(rng) for _ in range(count)]
    return [FitCase(make_table(with_speck(near(truth)), truth, "peds"), features) for truth in truths]


def true_specks(count: int, features: Mapping[str, float] | None = None, seed: int = 0) -> list[FitCase]:
    """Cases whose truth has the very same speck: to remove it is wrong."""
    rng = np.random.default_rng(seed)
    truths = [tumour(rng) for _ in range(count)]
    return [FitCase(make_table(with_speck(near(truth)), with_speck(truth), "peds"), features) for truth in truths]


def with_cyst(mask: Mask, width: int) -> Mask:
    """CC in place of a slab of NET: 16 x 16 voxels for each unit of width, of 4096 in all."""
    start = np.argwhere(mask == NET)[0]
    changed = mask.copy()
    slab = changed[start[0] : start[0] + 16, start[1] : start[1] + 16, start[2] + 0 : start[2] + width]
    slab[slab == NET] = CC
    return changed


def judged(fit: PostprocessFit) -> tuple[float, float]:
    row = fit.judgement.rows()["mean"]
    before, after = row["lesionwise_before"], row["lesionwise_after"]
    assert before is not None
    assert after is not None
    return before, after


def test_false_specks_of_a_known_size_are_found() -> None:
    fit = fit_postprocess(false_specks(12), FitChoices(clusters=1))
    (rules,) = fit.adaptive.rules.clusters
    assert rules.minimum_voxels == {ET: 75}, "the least step above the 64 voxels of the specks"
    assert rules.redefine_below_share == {}
    before, after = judged(fit)
    assert after > before + 0.1
    assert (fit.judgement.better, fit.judgement.worse) == (12, 0)
    assert fit.warnings == ()
    assert fit.cases_per_cluster == (12,)


def test_a_label_that_is_wrong_where_its_share_is_small() -> None:
    rng = np.random.default_rng(1)
    cases = []
    for number in range(12):
        truth = with_cyst(tumour(rng), 4) if number % 2 else tumour(rng)  # a true cyst of a quarter
        prediction = near(truth if number % 2 else with_cyst(truth, 3))  # a false one of 768 voxels, 19 %
        cases.append(FitCase(make_table(prediction, truth, "peds")))
    fit = fit_postprocess(cases, FitChoices(clusters=1))
    (rules,) = fit.adaptive.rules.clusters
    assert rules.minimum_voxels == {}
    assert rules.redefine_below_share == {CC: 0.2}
    before, after = judged(fit)
    assert after > before + 0.05
    row = fit.judgement.rows()["CC"]
    assert row["in_truth"] == 6
    assert row["gain_where_truth_has_none"] == pytest.approx(0.5), "all of the gain in CC is 'nothing in both'"
    assert any("all CC away in 6 of the 12 cases" in text and "in 0 of these 6" in text for text in fit.warnings)


@pytest.mark.parametrize("cases", [true_specks(12), [*true_specks(8), *false_specks(4)]], ids=["right", "mostly"])
def test_where_nothing_helps_all_thresholds_stay_zero(cases: list[FitCase]) -> None:
    fit = fit_postprocess(cases, FitChoices(clusters=1))
    (rules,) = fit.adaptive.rules.clusters
    assert (rules.minimum_voxels, rules.redefine_below_share) == ({}, {})
    before, after = judged(fit)
    assert after == before
    assert fit.warnings == ()


def test_taking_away_what_one_truth_has_is_said() -> None:
    """Twelve false specks teach a threshold that also empties a class in the one case that truly has it."""
    rng = np.random.default_rng(5)
    mask = tumour(rng)
    small = np.where(mask == ET, NET, mask).astype(np.uint8)
    small[:4, :4, :4] = ET
    cases = [*false_specks(12), FitCase(make_table(small, small, "peds"))]
    said = [text for text in fit_postprocess(cases, FitChoices(clusters=1)).warnings if "all ET away" in text]
    assert said == [
        "cluster 0: the rules take all ET away in 1 of the 13 cases in which the model found some; in 1 of these 1 the "
        "truth has ET too"
    ]


def test_clusters_that_have_nothing_to_do_with_the_errors_are_not_chosen() -> None:
    mixed = [
        case
        for number in range(10)
        for case in (*false_specks(1, CENTRES[number % 2], number), *true_specks(1, CENTRES[number // 2 % 2], number))
    ]
    fit = fit_postprocess(mixed, FitChoices())
    assert fit.adaptive.clusters is None
    assert len(fit.adaptive.rules.clusters) == 1


def test_what_helps_one_case_alone_is_not_kept() -> None:
    """The speck of one case is removed in the folds that see it, and helps in none that is held out."""
    cases = [case.table for case in [*true_specks(1), *false_specks(1, seed=5)]]
    plain = np.random.default_rng(3)
    cases += [make_table(near(truth), truth, "peds") for truth in (tumour(plain) for _ in range(6))]
    assert fit_thresholds(cases, 4, 0) == Thresholds()


def test_clusters_are_found_where_cases_differ() -> None:
    def scattered(centre: Mapping[str, float], seed: int) -> dict[str, float]:
        rng = np.random.default_rng(seed)
        return {key: value + float(rng.normal(0, 0.05)) for key, value in centre.items()}

    cases = []
    for number in range(11):
        cases += false_specks(1, scattered(CENTRES[0], number), seed=number)
        cases += true_specks(1, scattered(CENTRES[1], 50 + number), seed=50 + number)
    alone = fit_postprocess(cases, FitChoices(clusters=1))
    chosen = fit_postprocess(cases, FitChoices())
    assert len(chosen.adaptive.rules.clusters) == 2
    assert sorted(chosen.cases_per_cluster) == [11, 11]
    assert judged(chosen)[1] > judged(alone)[1] + 0.03
    model = chosen.adaptive.clusters
    assert model is not None
    rules = chosen.adaptive.rules
    assert rules.for_cluster(model.assign(CENTRES[0])).minimum_voxels == {ET: 75}
    assert rules.for_cluster(model.assign(CENTRES[1])).minimum_voxels == {}

    assert any(f"{len(rules.clusters)} clusters, out of 1 to 2, were chosen by these" in w for w in chosen.warnings)
    assert not any("were chosen by" in warning for warning in alone.warnings)

    text = json.dumps(chosen.to_json(), allow_nan=False)
    assert json.loads(text)["fit"]["cases"] == 22
    again = AdaptivePostprocess.from_json(json.loads(text))
    assert again.to_json() == chosen.adaptive.to_json()
    assert json.dumps(fit_postprocess(cases, FitChoices()).to_json()) == text, "equal input and seed, equal file"


def test_few_cases_are_said() -> None:
    fit = fit_postprocess(false_specks(6), FitChoices(clusters=1))
    assert fit.adaptive.rules.clusters[0].minimum_voxels == {ET: 75}
    assert any("cluster 0 has 6 cases" in text and "not reliable" in text for text in fit.warnings)
    with pytest.raises(InputError, match="at least 4"):
        fit_postprocess(false_specks(3), FitChoices())
    tiny = [*false_specks(9, CENTRES[0]), *false_specks(2, CENTRES[1], seed=7)]
    fit = fit_postprocess(tiny, FitChoices(clusters=2))
    assert any("too few for any threshold" in text for text in fit.warnings)


def test_several_clusters_need_features_of_enough_cases() -> None:
    with pytest.raises(InputError, match="features"):
        fit_postprocess(false_specks(8), FitChoices(clusters=2))
    with pytest.raises(InputError, match=r"4 clusters need more cases .*at least 10, .* got 9"):
        fit_postprocess(false_specks(9, CENTRES[0]), FitChoices(clusters=4))
    with pytest.raises(InputError, match=r"at least 10, got 8"):
        fit_clusters([CENTRES[0]] * 8, 5, "l2", 0, "x")
    with pytest.raises(InputError, match="got b"):
        fit_clusters([CENTRES[0], {**CENTRES[1], "b": float("inf")}], 1, "l2", 0, "x")


@pytest.mark.parametrize("normalisation", ["l2", "standard"])
def test_the_model_repeats_what_it_was_learned_from(normalisation: str) -> None:
    rng = np.random.default_rng(0)
    cases = [
        {"a": base["a"] + rng.normal(0, 0.1), "b": base["b"] + rng.normal(0, 0.1), "constant": 7.0}
        for base in CENTRES * 6
    ]
    model = fit_clusters(cases, 2, "standard" if normalisation == "standard" else "l2", 3, "x")
    numbers = [model.assign(case) for case in cases]
    assert numbers[::2] == [numbers[0]] * 6
    assert numbers[1::2] == [1 - numbers[0]] * 6
    with pytest.raises(StageError, match="constant"):
        model.assign(CENTRES[0])


def test_folds_hold_every_case_out_once() -> None:
    parts = list(split(11, 5, 2))
    assert sorted(number for _, outside in parts for number in outside) == list(range(11))
    assert all(not set(inside) & set(outside) and len(inside) + len(outside) == 11 for inside, outside in parts)
    assert len(list(split(3, 5, 0))) == 3


def test_labels_of_the_phantom() -> None:
    mask = with_cyst(tumour(np.random.default_rng(0)), 3)
    counts = np.bincount(mask.ravel(), minlength=5)
    assert (counts[ET], counts[ED], counts[CC], counts[1:].sum()) == (1536, 1536, 768, 4096)
