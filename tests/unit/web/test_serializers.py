"""Records as the REST interface tells them, also those that an earlier version wrote."""

from __future__ import annotations

import pytest
from tests.unit.contract.test_report import old

from hope.contract.job import Artifact, CaseRecord, CaseState, SeriesRecord, StageStatus
from hope.contract.options import RunOptions
from hope.contract.outputs import OutputFile, Role
from hope.contract.report import CaseReport
from hope.contract.stages import STAGES, Stage, shares
from hope.domain.case import MRSequence
from hope.web.serializers import case_out, file_out

WAITING = tuple(StageStatus(stage) for stage in STAGES)


def a_case(shape: tuple[int, ...] = (256, 256, 30), preprocessed: bool | None = None) -> CaseRecord:
    scan = SeriesRecord(MRSequence.T1C, "t1c", "k", 1, "0" * 64, {"shape": list(shape)})
    choice = RunOptions(preprocessed=preprocessed)
    return CaseRecord("id", "session", 1, CaseState.QUEUED, 0.0, 1, choice, stages=WAITING, series=(scan,))


@pytest.mark.parametrize(
    ("case", "preprocessed"),
    [
        (a_case(), False),
        (a_case((240, 240, 155)), True),
        (a_case((240, 155, 240)), True),
        (a_case((240, 240, 155), preprocessed=False), False),
        (a_case(preprocessed=True), True),
    ],
)
def test_the_weights_of_stages_depend_on_the_case(case: CaseRecord, preprocessed: bool) -> None:
    reported = {stage.stage: stage.weight for stage in case_out(case).stages}
    assert reported == pytest.approx(shares(preprocessed), abs=1e-3)


def test_what_the_result_says_overrules_the_guess() -> None:
    result = {"case_id": "x", "input": {"treated_as": "preprocessed"}}
    case = CaseRecord("id", "session", 1, CaseState.DONE, 0.0, 1, stages=WAITING, result=result)
    (first, *_) = case_out(case).stages
    assert first.weight == pytest.approx(shares(True)[Stage.PREPROCESS], abs=1e-3)


def test_a_result_of_an_earlier_version_is_told_in_full() -> None:
    """A row of the database holds what was then left out for the page."""
    stored = {name: value for name, value in old().items() if name not in ("transforms", "files")}
    reported = case_out(CaseRecord("id", "session", 1, CaseState.DONE, 0.0, result=stored))
    answer = reported.model_dump(mode="json", exclude_unset=True)
    for name in ("volumes_ml", "qc", "tumour_found", "interval_method", "postprocess", "model", "disclaimer"):
        assert answer[name] == old()[name], name
    assert (answer["reference"], answer["missing"]) == ("t1c", [])
    assert "harmonization" not in answer
    assert CaseReport.stored(stored).files == []


def test_a_case_without_a_result_says_nothing_of_one() -> None:
    answer = case_out(a_case()).model_dump(mode="json", exclude_unset=True)
    assert not {"tumour_found", "model", "postprocess", "reference", "missing", "problem"} & set(answer)
    assert answer["choice"] == RunOptions().to_json()


def test_a_file_tells_its_role_and_one_of_a_newer_version_its_name() -> None:
    view = Artifact("x-t2f-view.nii.gz", "view", "k", 3, "0" * 64, Stage.POSTPROCESS, public=True)
    known = file_out(Artifact(**{**vars(view), "output": OutputFile.of(Role.VIEW, sequence="t2f")}))
    assert (known.role, known.sequence, known.space, known.audience) == ("view", "t2f", "native", "page")
    assert known.title == "Scan as the page shows it"
    unknown = file_out(view).model_dump(mode="json", exclude_unset=True)
    assert unknown["title"] == view.name
    assert not {"role", "sequence", "space", "audience"} & set(unknown)
