"""Short ways to a session, a case, a run: what the contracts of the case store begin with."""

from __future__ import annotations

import secrets

from hope.contract.job import Artifact, Attempt, CaseRecord, SeriesRecord, Session, StageJob
from hope.contract.options import RunOptions
from hope.contract.stages import Stage
from hope.domain.case import MRSequence
from hope.domain.ids import new_token, token_hash
from hope.ports import CaseStore

EXECUTOR = "worker-1"
MOST = 1000


def a_session(store: CaseStore, owner: str = "local") -> Session:
    """A new session, by a token that nobody keeps."""
    return store.create_session(token_hash(new_token()), owner)


def a_scan(key: str = "t1c", sequence: MRSequence | None = MRSequence.T1C) -> SeriesRecord:
    """A scan whose blob key is unique."""
    facts = {"shape": [2, 3, 4], "spacing_mm": [1.0, 1.5, 2.0], "orientation": "RAS", "warnings": []}
    return SeriesRecord(sequence, key, f"cases/x/series/{key}-{secrets.token_hex(4)}.nii", 352, "ab" * 32, facts)


def a_case(store: CaseStore, session: Session | None = None) -> CaseRecord:
    """A case with one scan, that may be queued."""
    case = store.create_case((session or a_session(store)).id)
    store.put_series(case.id, a_scan())
    return store.case(case.id)


def a_run(store: CaseStore, session: Session | None = None, choice: RunOptions | None = None) -> CaseRecord:
    """A queued case, and a worker that lives."""
    store.renew_lease(EXECUTOR, 600.0)
    return store.queue_case(a_case(store, session).id, choice or RunOptions(), MOST)


PRIORITY = 3
"""Of the jobs made here; another one than usual, so that it cannot get lost unseen."""


def job_of(case: CaseRecord, stage: Stage = Stage.PREPROCESS) -> StageJob:
    """The job of one stage of the case's current run."""
    return StageJob(case.id, case.session_id, case.run, stage, PRIORITY)


def an_attempt(store: CaseStore, case: CaseRecord, stage: Stage = Stage.PREPROCESS) -> Attempt:
    """A stage, begun."""
    return store.begin_attempt(job_of(case, stage), EXECUTOR)


def a_file(name: str, stage: Stage | None = Stage.PREPROCESS, *, public: bool = False) -> Artifact:
    """A file of a stage."""
    return Artifact(name, "something", f"cases/x/{secrets.token_hex(4)}/{name}", 10, "cd" * 32, stage, public=public)


def done(store: CaseStore, case: CaseRecord) -> CaseRecord:
    """The case with all stages done; each left one file, the last one a result."""
    for stage in Stage:
        attempt = an_attempt(store, case, stage)
        result = {"volumes_ml": {"ET": 1.5}} if stage is Stage.POSTPROCESS else None
        store.commit_attempt(attempt, [a_file(f"{stage}.nii.gz", stage, public=result is not None)], result)
        store.end_attempt(attempt)
    return store.case(case.id)
