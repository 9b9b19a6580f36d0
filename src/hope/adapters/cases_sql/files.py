"""What stages left behind, and segmentations that users corrected. Rows only: the bytes are in the blob store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, func, select, update

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
        self,
        case_id: str,
        artifacts_of_it: Artifact | Sequence[Artifact],
        result: Mapping[str, Any],
        run: int | None = None,
        upload: str = "",
        newest_known: int | None = None,
    ) -> Artifact:
        """Keep a corrected mask as the next version, with what it measures; it is current from now on.

        `UNKNOWN_VERSION` in the artifacts' names becomes the number, which nobody can know before.

        Args:
            case_id: whose mask it is.
            artifacts_of_it: the mask, or first the mask and then what was made of it; their bytes stored, their version
                ignored.
            result: what it measures.
            run: the run whose result it corrects; any if not given.
            upload: the upload whose bytes count no more, since the mask's do from now on.
            newest_known: the newest version that the caller knows of; any if not given.

        Raises:
            GoneError: if the case is gone.
            ConflictError: unless it is done, in that run, and nobody has corrected it since ``newest_known``.
        """
        with self._db.write() as transaction:
            case = lock_case(transaction, case_id)
            if case["state"] != CaseState.DONE:
                raise ConflictError("only a case that is done has a segmentation to correct")
            if run not in (None, case["run"]):
                raise ConflictError("the case was run again meanwhile; correct the new segmentation")
            count_no_more(transaction, upload)
            newest = select(func.max(artifacts.c.version)).where(artifacts.c.case_id == case_id)
            last = transaction.connection.execute(newest).scalar() or 0
            if newest_known is not None and newest_known != last:
                raise ConflictError(
                    f"the mask was corrected elsewhere meanwhile: version {last} is the newest, you know of version"
                    f" {newest_known}; look at it, or save yours as one more version"
                )
            version = last + 1
            given = [artifacts_of_it] if isinstance(artifacts_of_it, Artifact) else artifacts_of_it
            kept = [
                replace(one, name=one.name.replace(UNKNOWN_VERSION, str(version)), stage=None, version=version)
                for one in given
            ]
            for number, one in enumerate(kept):
                row = artifact_row(case_id, one, result if number == 0 else {})
                transaction.connection.execute(artifacts.insert(), row)
            current = {"version": version, "volumes_ml": result.get("volumes_ml") or {}}
            transaction.connection.execute(update(cases).where(cases.c.id == case_id).values(correction=current))
            transaction.tell(case_id, EventKind.SEGMENTATION, {"version": version})
            return kept[0]

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
            rows = connection.execute(query.order_by(artifacts.c.version))
            # What was made of a mask lies under its version, too, and measures nothing.
            return {row.version: row.measured for row in rows if row.measured}


def _check_there(connection: Connection, case_id: str) -> None:
    query = (
        select(cases.c.id)
        .join(sessions, sessions.c.id == cases.c.session_id)
        .where(cases.c.id == case_id, sessions.c.closed_at.is_(None))
    )
    if connection.execute(query).first() is None:
        raise GoneError(GONE)
