"""Cohort tables that would give a wrong fit without a word, and survival models that are damaged."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from hope.cli import main
from hope.cohort.apply import read_model
from hope.cohort.cox import Outcomes
from hope.cohort.survival import fit_report, validate
from hope.cohort.table import MEASURED, Cohort, Column, Joined, read_cohort
from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.export.stored_result import volumes_of_case
from hope.formats.nifti import write_labels
from hope.testing.stored_results import labelled, write_stored_result

HEAD = "case_id,days,event,age_years"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("case_id,days,event,age_years,age_years\na,1,1,5,6\n", "two columns of one name.*age_years"),
        ("case_id,days,event,age_years,days\na,1,1,5,9\n", "two columns of one name.*days"),
        (f"{HEAD}\nP1,1,1,5\nP1 ,2,0,6\n", "twice.*rows 2 and 3"),
        (f"{HEAD}\nP1,1,1,5\nP2,2,0,6\np1,2,0,6\n", "twice.*rows 2 and 4"),
        (f"{HEAD}\nsub-07_ses-01,1,1,5\nsub-07_ses-02,2,0,6\n", "a patient stands in the cohort table twice"),
        (f"{HEAD}\nP1,1,1,5\n,2,0,6\n", "row 3 of the cohort table names no case"),
        (f"{HEAD}\nP1,1_0,1,5\n", "row 2 of days"),
        (f"{HEAD}\nP1,1,1,5{'0' * 140_000}\n", "no CSV that can be read"),
    ],
)
def test_a_table_that_holds_two_answers_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_cohort(tmp_path / "cohort.csv")


def test_sessions_of_different_subjects_and_ends_of_lines_of_old_programs_are_read(tmp_path: Path) -> None:
    text = f"{HEAD}\rsub-1_ses-01, 1 ,1,5\rsub-11_ses-01,2,0,6 \r"
    (tmp_path / "cohort.csv").write_bytes(text.encode())
    cohort = read_cohort(tmp_path / "cohort.csv")
    assert cohort.covariates.ravel().tolist() == [5, 6] and cohort.outcomes.days.tolist() == [1, 2]


def test_a_joined_table_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_text(f"{HEAD}\na,1,1,5\n", encoding="utf-8")
    (tmp_path / "other.csv").write_text("case_id,x,x\na,1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="the table to join has two columns of one name"):
        read_cohort(tmp_path / "cohort.csv", joined=Joined(tmp_path / "other.csv", ["x"]))


def test_results_never_replace_a_volume_of_the_table(tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_text("case_id,days,event,ml_WT\na,1,1,500\n", encoding="utf-8")
    with pytest.raises(InputError, match="ml_WT would stand in the cohort table twice"):
        read_cohort(tmp_path / "cohort.csv", measured=lambda case: {"WT": 3.0, "TC": 3.0})


def test_volumes_are_of_the_mask_that_lies_there_and_of_the_case_of_the_row(tmp_path: Path) -> None:
    results = tmp_path / "results"
    grid = Grid((14, 16, 13), np.diag([1.0, 2.0, 5.0, 1.0]))
    report = write_stored_result(results / "case-a", labelled(grid), case_id="case-a")
    write_stored_result(results / "case-b", labelled(grid), case_id="case-c")
    (tmp_path / "one.csv").write_text("case_id,days,event\ncase-a,1,1\n", encoding="utf-8")
    (tmp_path / "two.csv").write_text("case_id,days,event\ncase-a,1,1\ncase-b,2,0\n", encoding="utf-8")
    (tmp_path / "none.csv").write_text("case_id,days,event\n../results/case-a,1,1\n", encoding="utf-8")

    def measured(case: str) -> dict[str, float]:
        return volumes_of_case(results, case, MEASURED)

    found = read_cohort(tmp_path / "one.csv", measured=measured)
    assert found.names == ("ml_WT", "ml_TC")
    assert found.covariates.ravel().tolist() == [report.volumes_ml["WT"].ml, report.volumes_ml["TC"].ml]
    wrong = {"two": "row 3 of the cohort table: the directory .* another one", "none": "row 2 .* no result"}
    for table, said in wrong.items():
        with pytest.raises(InputError, match=said):
            read_cohort(tmp_path / f"{table}.csv", measured=measured)
    write_labels(labelled(grid, (1,)), results / "case-a" / "case-a-seg.nii.gz")
    with pytest.raises(InputError, match=r"row 2 of the cohort table: the .* was changed since it was measured"):
        read_cohort(tmp_path / "one.csv", measured=measured)


def test_an_empty_cell_is_no_level_unless_the_dictionary_lists_it(tmp_path: Path) -> None:
    (tmp_path / "cohort.csv").write_text("case_id,days,event,grade\na,1,1,2\nb,2,0, 2\nc,3,1,\n", encoding="utf-8")
    grade = Column(description="grade", kind="category")
    with pytest.raises(InputError, match="row 4 of grade is empty"):
        read_cohort(tmp_path / "cohort.csv", {"grade": grade})
    listed = read_cohort(tmp_path / "cohort.csv", {"grade": grade.model_copy(update={"values": ["", "2"]})})
    assert listed.names == ("grade=2",) and listed.covariates.ravel().tolist() == [1, 1, 0]


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 1))
    cohort = Cohort(("x0",), x, Outcomes(np.ceil(rng.exponential(400 * np.exp(-x[:, 0]))) + 1, np.ones(300, bool)))
    report = fit_report(cohort, 0.02, validate(cohort, 0.02, repeats=1))
    assert report["published"]
    return report


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("model", "mean"), None),
        (("model", "spread"), [0.0]),
        (("model", "coefficients"), [1.0, 2.0]),
        (("model", "coefficients"), [float("nan")]),
        (("model", "thirds"), [1.0, -1.0]),
        (("model", "baseline"), {"days": [], "cumulative_hazard": []}),
        (("model", "uncertainty"), {"coefficients": [[1.0]]}),
        (("c_index",), [0.6]),
        (("covariates",), ["x0", "x1"]),
        (("cases",), None),
    ],
)
def test_a_damaged_model_is_refused_in_one_sentence(
    published: dict[str, Any], where: tuple[str, ...], value: object, tmp_path: Path
) -> None:
    report = copy.deepcopy(published)
    place = report
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    path = tmp_path / "survival.json"
    path.write_text(json.dumps(published), encoding="utf-8")
    assert read_model(path) == published
    path.write_text(json.dumps(report), encoding="utf-8")
    run = CliRunner().invoke(main, ["survival", "apply", str(path), "x0=0"])
    assert run.exit_code == 2 and "the survival model is damaged" in run.output, run.output
