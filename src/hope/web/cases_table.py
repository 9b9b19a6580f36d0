"""All cases of a session as one table for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime

from hope.contract.job import CaseState
from hope.domain.labels import PEDS, REGIONS
from hope.domain.qc import Severity
from hope.web.schemas import CaseOut
from hope.web.vocabulary import STATE_TITLES

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula; an apostrophe before it makes it text."""


def case_title(case: CaseOut) -> str:
    """What a person calls a case: the name that its user gave, else its number."""
    return case.label or f"Case {case.number}"


def cases_csv(cases: Sequence[CaseOut]) -> str:
    """One row a case (RFC 4180): volumes of the current mask in ml, empty where there is no result.

    Args:
        cases: as the REST interface answers them.
    """
    keys = list(dict.fromkeys([*(label.key for label in PEDS.labels), *REGIONS]))
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\r\n")
    head = ["case", "begun", "state", "version", *(f"{key}_ml" for key in keys), "expected_quality", "worst_remark"]
    table.writerow(head)
    for case in cases:
        done = case.state is CaseState.DONE
        begun = datetime.fromtimestamp(case.created_at, UTC).isoformat(timespec="seconds")
        volumes = (
            [case.volumes_ml[key].ml if key in case.volumes_ml else 0.0 for key in keys] if done else [""] * len(keys)
        )
        worst = next((flag.reason for flag in case.qc if flag.severity in (Severity.WARNING, Severity.CAUTION)), "")
        # What is expected of the model's mask says nothing of one that a person corrected.
        quality = case.expected_quality.verdict if case.expected_quality and not case.version else ""
        said = (case_title(case), begun, STATE_TITLES[case.state])
        table.writerow([*map(_text, said), case.version, *volumes, _text(str(quality)), _text(worst)])
    return stream.getvalue()


def _text(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text
