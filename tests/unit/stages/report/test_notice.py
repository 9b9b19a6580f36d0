"""What the picture of a result says above its slices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hope.contract.report import CaseReport
from hope.stages.report.notice import notice_of

STORED = json.loads((Path(__file__).parents[3] / "golden" / "data" / "result-1.json").read_text(encoding="utf-8"))
FLAG = {"code": "unlike_training", "severity": "warning", "sequence": None, "reason": "the input is unusual"}
POOR = {"verdict": "likely poor", "regions": {}, "fitted_on": "cases"}


def report(*flags: dict[str, Any], **more: Any) -> CaseReport:
    without = {key: value for key, value in STORED.items() if key != "expected_quality"}
    return CaseReport.model_validate({**without, "qc": list(flags), **more})


def test_without_a_remark_it_says_nothing() -> None:
    assert notice_of(report()) == ""
    assert notice_of(report({**FLAG, "severity": "caution"})) == ""


def test_the_verdict_comes_first_then_what_speaks_against_the_result() -> None:
    found = report(FLAG, {**FLAG, "code": "perhaps_no_tumour"}, expected_quality=POOR)
    assert notice_of(found) == "Expected quality: likely poor. There may be no tumour at all. 2 warnings in the report."
    assert notice_of(report(FLAG)) == "1 warning in the report."
