"""The cluster of a case, on models small enough to compute by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hope.domain.errors import InputError, StageError
from hope.stages.postprocess.clusters import ClusterModel

GOOD: dict[str, Any] = {
    "format": "hope-clusters/1",
    "name": "tiny",
    "features": ["a", "b", "c"],
    "normalisation": {"kind": "l2"},
    "pca": {"mean": [0.1, 0.2, 0.3], "components": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]},
    "centers": [[-0.1, -0.2], [0.5, 0.6], [0.9, -0.2]],
    "note": "made for a test",
}
STANDARD = {"kind": "standard", "mean": [1.0, 1.0, 1.0], "scale": [2.0, 4.0, 1.0]}


def test_l2_divides_by_the_norm_and_projects_without_whitening() -> None:
    model = ClusterModel.from_json(GOOD)
    assert model.count == 3
    assert model.project({"a": 3.0, "b": 4.0, "c": 0.0}) == pytest.approx([0.6 - 0.1, 0.8 - 0.2])
    place = model.place({"c": 0.0, "b": 4.0, "a": 3.0, "unused": float("nan")})
    assert (place.cluster, place.distance, place.runner_up) == (1, pytest.approx(0.0), 2)
    assert place.lead == pytest.approx(1.0)
    assert model.assign({"a": 1e12, "b": 0.0, "c": 1e9}) == 2


def test_a_zero_vector_stays_zero() -> None:
    model = ClusterModel.from_json(GOOD)
    assert model.project({"a": 0.0, "b": 0.0, "c": 0.0}) == pytest.approx([-0.1, -0.2])
    assert model.assign({"a": 0.0, "b": 0.0, "c": 0.0}) == 0


def test_standard_normalisation() -> None:
    model = ClusterModel.from_json({**GOOD, "normalisation": STANDARD})
    assert model.project({"a": 2.0, "b": 3.0, "c": 9.0}) == pytest.approx([0.5 - 0.1, 0.5 - 0.2])


def test_a_tie_goes_to_the_lower_number_and_shows() -> None:
    model = ClusterModel.from_json({**GOOD, "normalisation": STANDARD, "centers": [[3, 0], [-1, 0], [1, 0]]})
    place = model.place({"a": 1.2, "b": 1.8, "c": 0.0})
    assert (place.cluster, place.runner_up, place.lead) == (1, 2, pytest.approx(0.0))
    alone = ClusterModel.from_json({**GOOD, "centers": [[0, 0]]}).place({"a": 1, "b": 1, "c": 1})
    assert (alone.cluster, alone.runner_up, alone.lead) == (0, None, None)


@pytest.mark.parametrize(
    ("features", "named"),
    [
        ({"a": 1.0}, "not computed: b, c"),
        ({"a": 1.0, "b": float("nan"), "c": 1.0}, "not finite: b"),
        ({"a": float("inf"), "b": 1.0, "c": 1.0}, "not finite: a"),
    ],
)
def test_missing_and_infinite_features_are_named(features: dict[str, float], named: str) -> None:
    with pytest.raises(StageError, match=named):
        ClusterModel.from_json(GOOD).assign(features)


def test_of_many_missing_features_a_few_are_named() -> None:
    with pytest.raises(StageError, match=r"a0, a1, a2 and 1 more"):
        names = [f"a{i}" for i in range(4)]
        pca = {"mean": [0.0] * 4, "components": [[1.0] * 4]}
        ClusterModel.from_json({**GOOD, "features": names, "pca": pca, "centers": [[0], [1]]}).assign({})


@pytest.mark.parametrize("normalisation", [{"kind": "l2"}, STANDARD])
def test_json_keeps_every_bit(normalisation: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    record = {**GOOD, "normalisation": normalisation, "centers": rng.normal(size=(4, 2)).tolist()}
    model = ClusterModel.from_json(record)
    again = json.loads(json.dumps(model.to_json()))
    assert again == record
    assert np.array_equal(ClusterModel.from_json(again).centers, model.centers)


@given(st.floats(1e-6, 1e6), st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3))
def test_under_l2_the_length_does_not_matter(factor: float, values: list[float]) -> None:
    model = ClusterModel.from_json(GOOD)
    once = model.project(dict(zip("abc", values, strict=True)))
    if np.linalg.norm(values) > 1e-6:
        scaled = model.project(dict(zip("abc", [factor * value for value in values], strict=True)))
        assert scaled == pytest.approx(once, abs=1e-9)


def pca(**changed: object) -> dict[str, Any]:
    return {"pca": {**GOOD["pca"], **changed}}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "other"}, "hope-clusters/1"),
        ({"features": []}, "features"),
        ({"features": ["a", 1, "c"]}, "features"),
        ({"features": ["a", "b", "a"]}, "a twice"),
        ({"normalisation": None}, "normalisation .* JSON object"),
        ({"normalisation": {"kind": "max"}}, "normalisation.kind .*'max'"),
        ({"normalisation": {**STANDARD, "scale": [1.0, 0.0, 1.0]}}, "above 0"),
        ({"normalisation": {**STANDARD, "mean": [1.0]}}, r"normalisation.mean .*expected 3, got 1"),
        ({"pca": []}, "pca .*JSON object"),
        (pca(mean=[0.1, 0.2]), r"pca.mean .*expected 3, got 2"),
        (pca(mean=[0.1, 0.2, "x"]), "pca.mean .*numbers"),
        (pca(mean=[0.1, 0.2, True]), "pca.mean .*numbers"),
        (pca(mean=[0.1, 0.2, float("nan")]), "pca.mean .*finite"),
        (pca(components=[[1.0, 0.0]]), r"pca.components .*expected n x 3, got 1 x 2"),
        (pca(components=[[1.0, 0.0, 0.0], [1.0, 0.0]]), "pca.components .*numbers"),
        (pca(components=[1.0, 0.0, 0.0]), "pca.components .*numbers"),
        (pca(components=[]), "pca.components .*numbers"),
        ({"centers": [[0.0, 0.0, 0.0]]}, r"centers .*expected n x 2, got 1 x 3"),
        ({"centers": None}, "centers .*numbers"),
    ],
)
def test_the_first_wrong_field_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        ClusterModel.from_json({**GOOD, **change})


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(InputError, match="JSON object"):
        ClusterModel.from_json([])
