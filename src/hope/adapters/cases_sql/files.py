"""What stages left behind, and segmentations that users corrected. Rows only: the bytes are in the blob store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, func, select

from hope.adapters.cases_sql.database import Database
from hope.adapters.cases_sql.row_locks import GONE, lock_case
from hope.adapters.cases_sql.rows import artifact_from, artifact_row
from hope.adapters.cases_sql.tables import artifacts, cases, sessions
from hope.adapters.cases_sql.uploads import count_no_more
from hope.contract.job import Artifact, CaseState, ConflictError, EventKind, GoneError
from hope.contract.outputs import UNKNOWN_VERSION
from hope.contract.stages import STAGES, Stage

_ORDER: dict[Stage | None, int] = {stage: place for place, stage in enumerate((*STAGES, None))}


class FileRows:
    """The methods of `hope.ports.CaseStore` about artifacts."""

    _db: Database

    def artifacts(self, case_id: str, *, public: bool | None = None) -> list[Artifact]:
        """Files of the current run that finished stages left, in the stages' order, then corrections.

        Raises:
            GoneError: if the case is gone.
        """
        query = select(artifacts).where(artifacts.c.case_id == case_id)
        if public is not None:
            query = query.where(artifacts.c.public.is_(public))
        with self._db.read() as connection:
            _check_there(connection, case_id)
            found = [artifact_from(row) for row in connection.execute(query).mappings()]
        return sorted(found, key=lambda entry: (_ORDER[entry.stage], entry.version, entry.name))

    def add_segmentation(
        self, case_id: str, artifact: Artifact, result: Mapping[str, Any], run: int | None = None, upload: str = ""
    ) -> Artifact:
        """Keep a corrected mask as the next version (the version of ``artifact`` is ignored), with what it measures.

        `UNKNOWN_VERSION` in the artifact's name becomes the number, which nobody can know before.

        Args:
            case_id: whose mask it is.
            artifact: the mask, its bytes stored.
            result: what it measures.
            run: the run whose result it corrects; any if not given.
            upload: the upload whose bytes count no more, since the mask's do from now on.

        Raises:
            GoneError: if the case is gone.
            ConflictError: unless it is done, in that run.
        """
        with self._db.write() as transaction:
            case = lock_case(transaction, case_id)
            if case["state"] != CaseState.DONE:
                raise ConflictError("only a case that is done has a segmentation to correct")
            if run not in (None, case["run"]):
                raise ConflictError("the case was run again meanwhile; correct the new segmentation")
            count_no_more(transaction, upload)
            newest = select(func.max(artifacts.c.version)).where(artifacts.c.case_id == case_id)
            version = (transaction.connection.execute(newest).scalar() or 0) + 1
            name = artifact.name.replace(UNKNOWN_VERSION, str(version))
            kept = replace(artifact, name=name, stage=None, version=version)
            transaction.connection.execute(artifacts.insert(), artifact_row(case_id, kept, result))
            transaction.tell(case_id, EventKind.SEGMENTATION, {"version": version})
            return kept

    def segmentation_results(self, case_id: str) -> dict[int, Mapping[str, Any]]:
        """Version -> what was measured of it, for corrections.

        Raises:
            GoneError: if the case is gone.
        """
        query = select(artifacts.c.version, artifacts.c.measured).where(
            artifacts.c.case_id == case_id, artifacts.c.version > 0
        )
        with self._db.read() as connection:
            _check_there(connection, case_id)
            return {row.version: row.measured for row in connection.execute(query.order_by(artifacts.c.version))}


def _check_there(connection: Connection, case_id: str) -> None:
    query = (
        select(cases.c.id)
        .join(sessions, sessions.c.id == cases.c.session_id)
        .where(cases.c.id == case_id, sessions.c.closed_at.is_(None))
    )
    if connection.execute(query).first() is None:
        raise GoneError(GONE)
