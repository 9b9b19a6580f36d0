"""Adaptive post-processing: the cluster decides, and where it cannot be told nothing else decides in its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import InputError, StageError
from hope.domain.grid import Grid
from hope.domain.labels import CC, ED, ET, NET
from hope.domain.volume import Volume
from hope.stages.postprocess.adaptive import AdaptivePostprocess
from hope.stages.postprocess.postprocess_rules import PostprocessRules

SHAPE = (20, 18, 16)

RECORD: dict[str, Any] = {
    "format": "hope-postprocess/1",
    "rules": {
        "format": "hope-postprocess-rules",
        "format_version": 1,
        "name": "mine",
        "description": "for a test",
        "scheme": "peds",
        "redefine_to": "NET",
        "order": ["ET", "CC", "ED"],
        "clusters": [
            {"minimum_voxels": {"ET": 5}, "redefine_below_share": {}},
            {"minimum_voxels": {}, "redefine_below_share": {"ED": 0.25, "CC": 0.25}},
        ],
    },
    "clusters": {
        "format": "hope-clusters/1",
        "name": "tiny",
        "features": ["a", "b"],
        "normalisation": {"kind": "l2"},
        "pca": {"mean": [0.0, 0.0], "components": [[1.0, 0.0], [0.0, 1.0]]},
        "centers": [[1.0, 0.0], [0.0, 1.0]],
        "note": "",
    },
}


def mask() -> Volume:
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, 0, :4] = ET
    labels[5] = NET  # 288
    labels[6, 0, :16] = ED
    labels[9, 0, :8] = CC
    return Volume(labels, Grid(SHAPE, np.eye(4)))


def images() -> dict[MRSequence, Volume]:
    return {s: Volume(np.ones(SHAPE, np.float32), Grid(SHAPE, np.eye(4))) for s in SEQUENCES}


def let_features_be(monkeypatch: pytest.MonkeyPatch, features: Mapping[str, float] | StageError) -> None:
    def computed(images: Mapping[MRSequence, Volume], labels: Volume) -> Mapping[str, float]:
        assert set(images) == set(SEQUENCES)
        if isinstance(features, StageError):
            raise features
        return features

    monkeypatch.setattr("hope.stages.postprocess.radiomics.tumour_features", computed)


def test_the_features_choose_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    adaptive, reported = AdaptivePostprocess.from_json(RECORD), []
    let_features_be(monkeypatch, {"a": 5.0, "b": 1.0})
    outcome = adaptive.apply(mask(), images(), lambda message, share: reported.append(message))
    assert outcome.after_voxels == {"ET": 0, "NET": 288, "CC": 8, "ED": 16, "TC": 296, "WT": 312}
    assert outcome.details["cluster"] == 0
    assert outcome.details["runner_up"] == 1
    assert "tiny" in outcome.details["chosen_by"]
    assert not outcome.warning
    assert any("features" in message for message in reported)

    let_features_be(monkeypatch, {"a": 1.0, "b": 5.0})
    facts = adaptive.apply(mask(), images()).to_json()
    assert facts["rules"] == "mine cluster 1"
    assert facts["cluster"] == 1
    assert facts["changed"] is True
    assert (facts["removed_ml"], facts["renamed_ml"]) == ({}, {"CC": 0.008, "ED": 0.016})
    assert "reason" not in facts
    json.dumps(facts, allow_nan=False)


@pytest.mark.parametrize(
    "features", [StageError("the tumour is one voxel"), {"a": 1.0}, {"a": 1.0, "b": float("nan")}], ids=str
)
def test_without_features_no_other_cluster_is_taken(
    monkeypatch: pytest.MonkeyPatch, features: Mapping[str, float] | StageError
) -> None:
    let_features_be(monkeypatch, features)
    labels = mask()
    outcome = AdaptivePostprocess.from_json(RECORD).apply(labels, images())
    assert np.array_equal(outcome.labels.data, labels.data)
    assert outcome.details["cluster"] is None
    assert outcome.details["reason"] in outcome.warning
    assert "not applied" in outcome.warning
    facts = outcome.to_json()
    assert (facts["rules"], facts["changed"], facts["cluster"]) == ("none", False, None)
    if isinstance(features, StageError):
        assert facts["reason"] == "the tumour is one voxel"


def test_a_missing_sequence_or_model_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    let_features_be(monkeypatch, {"a": 1.0, "b": 0.0})
    three = {s: volume for s, volume in images().items() if s is not MRSequence.T2F}
    assert AdaptivePostprocess.from_json(RECORD).apply(mask(), three).details["reason"] == "t2f is missing"
    no_model = AdaptivePostprocess.from_json({**RECORD, "clusters": None})
    assert "no cluster model" in no_model.apply(mask(), images()).warning


def test_one_cluster_needs_no_images() -> None:
    one = {**RECORD["rules"], "clusters": RECORD["rules"]["clusters"][:1]}
    outcome = AdaptivePostprocess.from_json({**RECORD, "rules": one, "clusters": None}).apply(mask(), {})
    assert outcome.details["cluster"] == 0
    assert outcome.removed_voxels == {"ET": 4}
    assert outcome.renamed_voxels == {}


def test_nothing_is_to_be_done_without_a_tumour() -> None:
    empty = Volume(np.zeros(SHAPE, np.uint8), Grid(SHAPE, np.eye(4)))
    outcome = AdaptivePostprocess.from_json(RECORD).apply(empty, {})
    assert not outcome.changed
    assert not outcome.warning
    assert "no tumour" in outcome.to_json()["chosen_by"]  # type: ignore[operator]


def test_json_comes_back_and_files_of_both_kinds_are_read(tmp_path: Path) -> None:
    adaptive = AdaptivePostprocess.from_json(RECORD)
    assert adaptive.to_json() == RECORD
    path = tmp_path / "own.json"
    path.write_text(json.dumps({**RECORD, "fit": {"cases": 3}}), encoding="utf-8")
    assert AdaptivePostprocess.load(str(path)).to_json() == RECORD
    path.write_text(json.dumps(RECORD["rules"]), encoding="utf-8")
    assert AdaptivePostprocess.load(str(path)).clusters is None
    published = AdaptivePostprocess.load("hope-peds-2024")
    assert published.clusters is None
    assert PostprocessRules.from_json(published.rules.to_json()) == published.rules


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "hope-postprocess/2"}, "hope-postprocess/1"),
        ({"rules": None}, "JSON object"),
        ({"clusters": {"format": "x"}}, "hope-clusters/1"),
        ({"clusters": {**RECORD["clusters"], "centers": [[0.0, 0.0]]}}, "2 clusters as in the rules, got 1 centres"),
    ],
)
def test_wrong_records_are_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        AdaptivePostprocess.from_json({**RECORD, **change})


def test_what_is_neither_rules_nor_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="hope-peds-2024"):
        AdaptivePostprocess.load(str(tmp_path / "nothing.json"))
    with pytest.raises(InputError, match="hope-postprocess/1"):
        AdaptivePostprocess.from_json([])
