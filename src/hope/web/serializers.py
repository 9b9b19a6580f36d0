"""Records of the store -> what the REST interface answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from hope import DISCLAIMER
from hope.contract.job import Artifact, CaseRecord, SeriesRecord, Session, StageStatus
from hope.contract.options import RunOptions
from hope.contract.report import CaseReport, Flag, VolumeMl
from hope.contract.scans import SeriesChange
from hope.contract.stages import shares
from hope.domain.grid import ATLAS_GRID
from hope.domain.qc import Severity, worst_first
from hope.settings import Settings
from hope.web import schemas
from hope.web.vocabulary import sequence_titles

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
    result = CaseReport.stored(case.result) if case.result else None
    preprocessed = _is_preprocessed(case, result)
    weights = shares(preprocessed)
    there: dict[str, Any] = {
        "problem": case.problem or None,
        "problem_is_ours": case.problem_is_ours if case.problem else None,
        **(_result_facts(case, result) if result else {}),
    }
    return schemas.CaseOut(
        id=case.id,
        number=case.number,
        label=case.label,
        state=case.state,
        created_at=case.created_at,
        run=case.run,
        # Made anew, so that every field counts as set and is answered.
        choice=RunOptions.stored(case.choice.to_json()),
        stages=[_stage_out(status, weights[status.stage], preprocessed) for status in case.stages],
        series=[series_out(record) for record in case.series],
        version=case.version,
        volumes_ml=_volumes(case, result),
        qc=worst_first([*_since_then(case), *result.qc]) if result else [],
        disclaimer=(result and result.disclaimer) or DISCLAIMER,
        **{name: value for name, value in there.items() if value is not None},
    )


def _volumes(case: CaseRecord, result: CaseReport | None) -> dict[str, VolumeMl]:
    """Of the mask that is current."""
    if case.version:
        return {key: VolumeMl.model_validate(volume) for key, volume in case.correction["volumes_ml"].items()}
    return result.volumes_ml if result else {}


def _result_facts(case: CaseRecord, result: CaseReport) -> dict[str, Any]:
    """What a run found; a corrected mask says itself whether there is a tumour, and has no intervals."""
    there = result.model_fields_set
    found, intervals = result.tumour_found, result.interval_method
    if case.version:
        found, intervals = any(volume.ml > 0 for volume in _volumes(case, result).values()), None
    return {
        "tumour_found": found,
        "expected_quality": result.expected_quality,
        "interval_method": intervals,
        "postprocess": result.postprocess if "postprocess" in there else None,
        "harmonization": result.harmonization if result.harmonization.asked else None,
        "model": result.model if "model" in there else None,
        "missing": result.input.missing if "input" in there else None,
        "reference": result.input.reference,
    }


def _since_then(case: CaseRecord) -> list[Flag]:
    """A warning where the scans of a case are not those any more that its result was made on."""
    if not (changed := case.changed_scans):
        return []
    verb = "is" if len(changed) == 1 else "are"
    reason = f"{', '.join(changed)} {verb} not what this result was made on: run the case again"
    return [Flag(code="scans_changed", severity=str(Severity.WARNING), reason=reason)]


def _is_preprocessed(case: CaseRecord, result: CaseReport | None) -> bool:
    """Whether a run treats, or probably will treat, the scans as preprocessed: its stages then take other shares."""
    if result and result.input.treated_as:
        return result.input.treated_as == "preprocessed"
    if case.choice.preprocessed is not None:
        return case.choice.preprocessed
    scans = [record.facts for record in case.series if record.sequence is not None]
    atlas = sorted(ATLAS_GRID.shape)
    return bool(scans) and all(sorted(facts.get("shape") or []) == atlas for facts in scans)


def file_out(artifact: Artifact) -> schemas.FileOut:
    """A file to download."""
    output = artifact.output
    there = {name: value for name, value in (output.to_json() if output else {}).items() if name != "detail"}
    if output:
        there |= {"audience": str(output.role.audience), "title": output.title(sequence_titles())}
    return schemas.FileOut.model_validate(
        {
            "title": artifact.name,
            **there,
            "name": artifact.name,
            "kind": artifact.kind,
            "bytes": artifact.bytes,
            "sha256": artifact.sha256,
            "version": artifact.version,
        }
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
        sha256=record.sha256,
        **there,
    )


def series_stored(change: SeriesChange) -> schemas.SeriesStored:
    """A scan that was just stored, and what became of others."""
    stored = series_out(change.stored[0])
    fields: dict[str, Any] = {name: getattr(stored, name) for name in stored.model_fields_set}
    if change.replaced:
        fields["replaced"] = series_out(change.replaced[0])
    if change.unassigned:
        fields["unassigned"] = list(change.unassigned)
    return schemas.SeriesStored(**fields)


def _stage_out(status: StageStatus, weight: float, preprocessed: bool) -> schemas.StageOut:
    there: dict[str, float] = {}
    if status.started_at is not None:
        there["seconds"] = round(max(0.0, (status.ended_at or time.time()) - status.started_at), 3)
    if status.seen_at is not None:
        there["seen_at"] = status.seen_at
    return schemas.StageOut(
        stage=status.stage,
        title=status.stage.spec.title,
        state=status.state,
        share=min(1.0, max(0.0, status.share)),
        weight=round(weight, 4),
        usual_seconds=round(status.stage.spec.seconds(preprocessed), 1),
        message=status.message,
        attempts=status.attempts,
        **there,
    )
