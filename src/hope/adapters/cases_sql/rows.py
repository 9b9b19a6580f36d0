"""Rows -> the domain's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import RowMapping

from hope.contract.job import (
    Artifact,
    Attempt,
    CaseEvent,
    CaseRecord,
    CaseState,
    EventKind,
    SeriesRecord,
    Session,
    StageJob,
    StageState,
    StageStatus,
)
from hope.contract.options import RunOptions
from hope.contract.outputs import OutputFile
from hope.contract.stages import Stage
from hope.domain.audit import AuditEntry
from hope.domain.case import SEQUENCES, MRSequence


def session_from(row: RowMapping) -> Session:
    """A row of ``sessions``."""
    return Session(
        id=row["id"],
        owner=row["owner"],
        created_at=row["created_at"],
        seen_at=row["seen_at"],
        close_with_page=row["close_with_page"],
        notify=row["notify"],
        left_at=row["left_at"],
    )


def case_from(row: RowMapping, stages: Iterable[RowMapping], series: Iterable[RowMapping]) -> CaseRecord:
    """A row of ``cases`` with its rows of ``stages`` (in order) and ``series`` (in any order)."""
    scans = sorted((series_from(entry) for entry in series), key=_place)
    return CaseRecord(
        id=row["id"],
        session_id=row["session_id"],
        number=row["number"],
        state=CaseState(row["state"]),
        created_at=row["created_at"],
        run=row["run"],
        choice=RunOptions.stored(row["choice"]),
        problem=row["problem"],
        problem_is_ours=row["problem_is_ours"],
        stages=tuple(stage_from(entry) for entry in stages),
        result=row["result"],
        series=tuple(scans),
        label=row["label"],
        correction=row["correction"],
    )


def _place(series: SeriesRecord) -> tuple[int, int, str]:
    """Assigned scans in channel order, then ``series-2`` before ``series-10``."""
    channel = len(SEQUENCES) if series.sequence is None else SEQUENCES.index(series.sequence)
    return channel, len(series.key), series.key


def series_from(row: RowMapping) -> SeriesRecord:
    """A row of ``series``."""
    return SeriesRecord(
        sequence=MRSequence(row["sequence"]) if row["sequence"] else None,
        key=row["key"],
        blob_key=row["blob_key"],
        bytes=row["bytes"],
        sha256=row["sha256"],
        facts=row["facts"],
    )


def stage_from(row: RowMapping) -> StageStatus:
    """A row of ``stages``."""
    return StageStatus(
        stage=Stage(row["stage"]),
        state=StageState(row["state"]),
        share=row["share"],
        message=row["message"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        attempts=row["attempts"],
        seen_at=row["seen_at"],
    )


def attempt_from(row: RowMapping) -> Attempt:
    """A row of ``attempts``."""
    return Attempt(
        token=row["token"],
        job=StageJob(row["case_id"], row["session_id"], row["run"], Stage(row["stage"]), row["priority"]),
        executor=row["executor"],
        number=row["number"],
        choice=RunOptions.stored(row["choice"]),
    )


def artifact_from(row: RowMapping) -> Artifact:
    """A row of ``artifacts``. What a user can list has a role also if the row was written before there were any."""
    output = OutputFile.from_json(row["output"])
    if output is None and row["public"]:
        output = OutputFile.of_name(row["name"])
    return Artifact(
        name=row["name"],
        kind=row["kind"],
        blob_key=row["blob_key"],
        bytes=row["bytes"],
        sha256=row["sha256"],
        stage=Stage(row["stage"]) if row["stage"] else None,
        version=row["version"],
        public=row["public"],
        output=output,
    )


def artifact_row(case_id: str, artifact: Artifact, measured: Mapping[str, Any]) -> dict[str, Any]:
    """The opposite of `artifact_from`."""
    return {
        "case_id": case_id,
        "stage": str(artifact.stage or ""),
        "name": artifact.name,
        "version": artifact.version,
        "kind": artifact.kind,
        "blob_key": artifact.blob_key,
        "bytes": artifact.bytes,
        "sha256": artifact.sha256,
        "public": artifact.public,
        "output": artifact.output.to_json() if artifact.output else {},
        "measured": dict(measured),
    }


def event_from(row: RowMapping) -> CaseEvent:
    """A row of ``events``."""
    return CaseEvent(row["number"], row["case_id"], row["at"], EventKind(row["kind"]), row["data"])


def audit_from(row: RowMapping) -> AuditEntry:
    """A row of ``audit_log``."""
    return AuditEntry(**row)
