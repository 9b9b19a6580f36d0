"""The table of stages: each can read what it needs, and the shares of a run add up."""

from __future__ import annotations

import copy
import importlib

import pytest

from hope.contract.outputs import LISTED, Role
from hope.contract.stages import SCANS, STAGES, Stage, shares, steps_of


def test_what_a_stage_reads_an_earlier_one_has_written() -> None:
    written: set[str] = {SCANS}
    for stage in STAGES:
        assert set(stage.spec.reads) <= written, stage
        written |= set(stage.spec.writes)
    made = {role for role in LISTED if role.spec.made_by_pipeline}
    assert made <= written
    assert Role.CORRECTED_SEGMENTATION not in written


def test_only_stages_that_need_the_scans_read_them() -> None:
    assert [str(stage) for stage in STAGES if SCANS in stage.spec.reads] == ["preprocess", "postprocess"]


@pytest.mark.parametrize("preprocessed", [True, False])
def test_shares_add_up_and_depend_on_the_case(preprocessed: bool) -> None:
    found = shares(preprocessed)
    assert list(found) == list(STAGES)
    assert sum(found.values()) == pytest.approx(1)
    assert min(found.values()) > 0


def test_a_raw_case_spends_most_of_its_time_in_preprocessing() -> None:
    assert 0.6 < shares(False)[Stage.PREPROCESS] < 0.9
    assert shares(True)[Stage.PREPROCESS] < 0.2


def test_steps_are_those_of_result_json() -> None:
    names = [step.name for step in steps_of(STAGES, page=False)]
    assert names == ["intake", "preprocess", "harmonize", "segment", "postprocess", "measure", "report"]
    assert [step.name for step in steps_of(STAGES, page=True)][-1] == "view"


@pytest.mark.parametrize("stage", STAGES)
def test_the_body_is_there(stage: Stage) -> None:
    module, _, function = stage.spec.run.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_a_stage_is_its_name() -> None:
    assert Stage("segment") is Stage.SEGMENT
    assert f"{Stage.SEGMENT}" == "segment"
    assert copy.deepcopy(Stage.SEGMENT) is Stage.SEGMENT
    with pytest.raises(ValueError, match="toy"):
        Stage("toy")
