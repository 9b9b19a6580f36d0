"""How the stages are joined where there is a choice: which clean-up a prediction gets, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hope.contract.options import RunOptions
from hope.contract.stages import STAGES, steps_of
from hope.domain.case import SEQUENCES, AlignedCase, CleanUp, MRSequence, Prediction
from hope.domain.errors import StageError
from hope.domain.grid import Grid
from hope.domain.labels import ED, ET, NET
from hope.domain.progress import silent
from hope.domain.volume import Volume
from hope.pipeline import Clock, _cleaned
from hope.stages.postprocess import radiomics

GRID = Grid((24, 24, 24), np.diag([-1.0, -1.0, 1.0, 1.0]))


def a_prediction(postprocess: dict[str, Any] | None) -> Prediction:
    """A whole tumour of two parts, and a speck of which the model is unsure."""
    labels = np.zeros(GRID.shape, np.uint8)
    labels[4:16, 4:16, 4:16], labels[6:9, 6:9, 6:9] = ED, ET
    labels[20:22, 20:22, 20:22] = NET
    wt = np.where(labels > 0, np.float16(0.6), np.float16(0))
    wt[4:16, 4:16, 4:16] = 1
    return Prediction(Volume(labels, GRID), {"WT": wt}, "test", "0" * 64, postprocess=postprocess)


def rules(clusters: int, centres: bool = True) -> dict[str, Any]:
    """Rules whose cluster 0 drops ET below 100 voxels, and whose others do nothing."""
    first = {"minimum_voxels": {"ET": 100}, "redefine_below_share": {}}
    nothing = {"minimum_voxels": {}, "redefine_below_share": {}}
    model = {
        "format": "hope-clusters/1",
        "name": "two",
        "features": ["wt_shape_VoxelVolume"],
        "normalisation": {"kind": "standard", "mean": [0.0], "scale": [1.0]},
        "pca": {"mean": [0.0], "components": [[1.0]]},
        "centers": [[1000.0], [-1000.0]],
        "note": "",
    }
    return {
        "format": "hope-postprocess/1",
        "rules": {
            "format": "hope-postprocess-rules",
            "format_version": 1,
            "name": "mine",
            "scheme": "peds",
            "redefine_to": "NET",
            "order": ["ET", "CC", "ED"],
            "clusters": [first] + [nothing] * (clusters - 1),
        },
        "clusters": model if centres and clusters == 2 else None,
    }


def aligned(without: MRSequence | None = None) -> AlignedCase:
    rng = np.random.default_rng(1)
    images = {s: Volume(rng.normal(100, 10, GRID.shape).astype(np.float32), GRID) for s in SEQUENCES if s != without}
    return AlignedCase.in_place("case", images, Volume(np.ones(GRID.shape, dtype=bool), GRID))


def test_a_models_own_rules_take_the_place_of_the_default() -> None:
    outcome = _cleaned(a_prediction(rules(1)), aligned(), RunOptions(), silent)
    assert "mine" in outcome.method
    assert not (outcome.labels.data == ET).any()
    assert (outcome.labels.data == NET).sum() == 8, "the default would have dropped the speck"
    assert not outcome.warning


def test_the_cluster_comes_from_the_tumour() -> None:
    outcome = _cleaned(a_prediction(rules(2)), aligned(), RunOptions(), silent)
    assert outcome.details["cluster"] == 0
    assert not (outcome.labels.data == ET).any()


@pytest.mark.parametrize("why", ["a sequence is missing", "no cluster model", "features fail"])
def test_rules_that_cannot_be_used_are_replaced_aloud(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if why == "features fail":

        def fail(*_: object) -> dict[str, float]:
            raise StageError("the tumour is a single voxel")

        monkeypatch.setattr(radiomics, "tumour_features", fail)
    given = aligned(without=MRSequence.T2F if why == "a sequence is missing" else None)
    outcome = _cleaned(a_prediction(rules(2, centres=why != "no cluster model")), given, RunOptions(), silent)
    plain = _cleaned(a_prediction(None), given, RunOptions(), silent)
    assert np.array_equal(outcome.labels.data, plain.labels.data), "no other cluster's rules"
    assert not (outcome.labels.data == NET).any(), "the default clean-up, which drops the speck"
    assert "not applied" in outcome.warning
    facts = outcome.to_json()
    assert facts["cluster"] is None
    assert facts["reason"]
    assert "ml removed" in str(facts["rules"]) or "removed below" in str(facts["rules"])


def test_a_model_without_rules_gets_the_default_and_nobody_may_want_none() -> None:
    plain = _cleaned(a_prediction(None), aligned(), RunOptions(), silent)
    assert not (plain.labels.data == NET).any()
    left = _cleaned(a_prediction(rules(1)), aligned(), RunOptions(postprocess=False), silent)
    assert (left.method, left.changed) == ("none", False)


@pytest.mark.parametrize("voted", [True, False])
@pytest.mark.parametrize("stated", [CleanUp.SPECKS, CleanUp.UNSURE, None])
def test_the_bundle_states_the_clean_up_and_votes_tell_it_only_where_it_does_not(
    voted: bool, stated: CleanUp | None
) -> None:
    votes = {"WT": np.ones(GRID.shape, np.float16)} if voted else {}
    prediction = replace(a_prediction(None), agreement=votes, cleanup=stated)
    method = _cleaned(prediction, aligned(), RunOptions(), silent).method
    specks = stated is CleanUp.SPECKS if stated else voted
    assert ("whole-tumour components below" in method) is specks
    assert ("nowhere surer" in method) is not specks


def test_progress_is_one_way_and_follows_the_measured_seconds() -> None:
    reported: list[tuple[str, float]] = []
    clock = Clock(lambda message, share: reported.append((message, share)))
    for step in steps_of(STAGES, page=False):
        with clock.stage(step.name) as progress:
            progress(f"{step.name}: begin", 0.0)
            progress(f"{step.name}: end", 1.0)
        clock.preprocessed = True  # known once the first step, intake, is done
    shares = [share for _, share in reported]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, pytest.approx(1.0))
    assert dict(reported)["preprocess: end"] < 0.3, "of a preprocessed case little is done by then"
    assert [entry.name for entry in clock.seconds] == [step.name for step in steps_of(STAGES, page=False)]
    with pytest.raises(ValueError, match="not one of the steps that are left"), clock.stage("intake"):
        pass


def test_a_raw_case_is_mostly_done_after_preprocessing() -> None:
    reported: list[float] = []
    clock = Clock(lambda _, share: reported.append(share))
    for name in ("intake", "preprocess"):
        with clock.stage(name) as progress:
            progress("end", 1.0)
    assert 0.6 < reported[-1] < 0.95
