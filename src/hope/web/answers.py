"""Records of the store -> what the REST interface answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from hope import DISCLAIMER
from hope.domain.job import CaseRecord, SeriesRecord, Session, StageStatus
from hope.settings import Settings
from hope.web import schemas
from hope.web.words import STAGE_TITLES

MIB = 2**20


def case_name(case_id: str) -> str:
    """What files call a case: short, and not enough to ask for it."""
    return f"case-{case_id[:8]}"


def session_out(session: Session, cases: Sequence[CaseRecord], settings: Settings) -> schemas.SessionOut:
    """A session with its cases."""
    platform = settings.platform
    return schemas.SessionOut(
        id=session.id,
        created_at=session.created_at,
        expires_at=session.seen_at + 3600 * platform.session_hours,
        close_with_page=session.close_with_page,
        notify=dict(session.notify),
        cases=[case_out(case) for case in cases],
        limits=schemas.Limits(
            max_upload_bytes=platform.max_upload_mb * MIB,
            max_cases_in_work=platform.max_cases_in_work,
            session_hours=platform.session_hours,
        ),
    )


def case_out(case: CaseRecord) -> schemas.CaseOut:
    """A case; what only a result has is left unset before there is one."""
    result = case.result
    source = result.get("input") or {}
    there: dict[str, Any] = {
        "problem": case.problem or None,
        "problem_is_ours": case.problem_is_ours if case.problem else None,
        "tumour_found": result.get("tumour_found"),
        "interval_method": result.get("interval_method"),
        "postprocess": result.get("postprocess"),
        "harmonization": result.get("harmonization") or None,
        "model": result.get("model"),
        "missing": source.get("missing"),
        "reference": source.get("reference"),
    }
    return schemas.CaseOut(
        id=case.id,
        number=case.number,
        state=case.state,
        created_at=case.created_at,
        run=case.run,
        choice=schemas.ChoiceOut(
            model=case.choice.model,
            harmonize=case.choice.harmonize,
            preprocessed=case.choice.preprocessed,
            postprocess=case.choice.postprocess,
        ),
        stages=[_stage_out(status) for status in case.stages],
        series=[series_out(record) for record in case.series],
        volumes_ml=dict(result.get("volumes_ml") or {}),
        qc=list(result.get("qc") or []),
        disclaimer=str(result.get("disclaimer") or DISCLAIMER),
        **{name: value for name, value in there.items() if value is not None},
    )


def series_out(record: SeriesRecord) -> schemas.SeriesOut:
    """A stored scan."""
    facts = record.facts
    there = {name: facts[name] for name in ("confidence", "reason") if facts.get(name) is not None}
    return schemas.SeriesOut(
        key=record.key,
        sequence=record.sequence,
        shape=list(facts.get("shape", [])),
        spacing_mm=list(facts.get("spacing_mm", [])),
        orientation=str(facts.get("orientation", "")),
        warnings=list(facts.get("warnings", [])),
        bytes=record.bytes,
        **there,
    )


def _stage_out(status: StageStatus) -> schemas.StageOut:
    there: dict[str, float] = {}
    if status.started_at is not None:
        there["seconds"] = round(max(0.0, (status.ended_at or time.time()) - status.started_at), 3)
    if status.seen_at is not None:
        there["seen_at"] = status.seen_at
    return schemas.StageOut(
        stage=status.stage,
        title=STAGE_TITLES[status.stage],
        state=status.state,
        share=min(1.0, max(0.0, status.share)),
        message=status.message,
        attempts=status.attempts,
        **there,
    )
