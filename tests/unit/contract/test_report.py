"""The report's model: what is written is what was given, old reports can be read, and the schema is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hope.contract.report import CaseReport, Flag, json_schema

OLD = Path(__file__).resolve().parents[2] / "golden" / "data" / "result-1.json"
"""What version 0.1.0 wrote of a synthetic case before there was a model of it."""


def old() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(OLD.read_text(encoding="utf-8"))
    return found


def test_an_old_result_is_read_whole_and_written_as_it_was() -> None:
    report = CaseReport.stored(old())
    assert report.volumes_ml["WT"].ml == 44.197
    assert report.input.reference == "t1c"
    assert report.input.sequences["t2f"].grid is not None
    assert report.files[0].role is None
    assert list(report.to_json()) == list(old())
    assert json.loads(report.text()) == old()


def test_fields_of_a_newer_version_are_passed_over() -> None:
    newer = {**old(), "something_new": {"x": 1}, "qc": [{**old()["qc"][0], "weight": 2}]}
    report = CaseReport.stored(newer)
    assert "something_new" not in report.to_json()
    assert report.qc == [Flag(**old()["qc"][0])]


def test_a_report_that_is_none_is_refused() -> None:
    for wrong in ({}, {"case_id": "x", "volumes_ml": {"WT": {"ml": -1}}}, {"case_id": "x", "qc": [{"code": "a"}]}):
        with pytest.raises(ValueError, match="validation error"):
            CaseReport.stored(wrong)


def test_models_and_methods_may_add_facts_of_their_own() -> None:
    values = {"case_id": "x", "model": {"id": "m", "endpoint": "e"}, "postprocess": {"rules": "r", "voted_by": 3}}
    assert CaseReport.stored(values).to_json() == values


def test_the_page_gets_no_matrix_and_no_list_of_files() -> None:
    facts = CaseReport.stored(old()).for_page()
    assert "affine" not in json.dumps(facts)
    assert not {"transforms", "files"} & set(facts)
    assert facts["input"]["sequences"]["t1c"]["sha256"] == old()["input"]["sequences"]["t1c"]["sha256"]
    assert CaseReport.stored(facts).for_page() == facts


def test_reserved_fields_are_there_and_not_written() -> None:
    reserved = {"case_label", "measurements", "series_selection", "comparison", "training_data"}
    assert reserved <= set(CaseReport.model_fields)
    assert not reserved & set(CaseReport.stored(old()).to_json())
    assert CaseReport(case_id="x", case_label="left").to_json() == {"case_id": "x", "case_label": "left"}


def test_the_published_schema_is_the_models_and_holds_for_a_result(repository: Path) -> None:
    published = json.loads((repository / "docs/reference/case-report.schema.json").read_text(encoding="utf-8"))
    assert published == json_schema(), "run `make docs`"
    jsonschema.Draft202012Validator.check_schema(published)
    jsonschema.validate(old(), published)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**old(), "tumour_found": "perhaps"}, published)
