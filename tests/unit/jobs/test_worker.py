"""A worker's stage: fetched, run, stored, committed; and every way in which that ends otherwise."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.empty_database import sqlite_with_tables

from hope.adapters.blobs_local import LocalBlobs
from hope.adapters.cases_sql import SqlCaseStore
from hope.contract.job import Attempt, CaseRecord, CaseState, SeriesRecord, StageJob, StageState
from hope.contract.options import RunOptions
from hope.contract.stages import Stage
from hope.domain.case import MRSequence
from hope.domain.errors import FullError
from hope.domain.ids import new_id, new_token, token_hash
from hope.jobs.processes import StageProcesses
from hope.jobs.scratch import Scratch
from hope.jobs.worker import DONE, FAILED, STOPPED, StageWorker
from hope.testing.fleet import small_scan

EXECUTOR = "worker-1"


class Platform:
    """Store, blobs and a queued case, without an engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = SqlCaseStore(sqlite_with_tables(folder / "hope.sqlite"))
        self.blobs = LocalBlobs(folder / "blobs")
        self.scratch = Scratch(folder / "scratch")
        self.store.renew_lease(EXECUTOR, 60)
        session = self.store.create_session(token_hash(new_token()), "local")
        case = self.store.create_case(session.id)
        scan = folder / "scan.nii"
        scan.write_bytes(small_scan())
        digest, size = hashlib.sha256(small_scan()).hexdigest(), len(small_scan())
        key = f"cases/{case.id}/series/t1c-1.nii"
        self.blobs.put_file(key, scan, digest)
        self.store.put_series(case.id, SeriesRecord(MRSequence.T1C, "t1c", key, size, digest))
        self.case_id, self.session_id = case.id, session.id
        self.store.queue_case(case.id, RunOptions(), 10)

    @property
    def case(self) -> CaseRecord:
        return self.store.case(self.case_id)

    def job(self, stage: Stage, run: int = 1) -> StageJob:
        return StageJob(self.case_id, self.session_id, run, stage)

    def run(self, work: Callable[[StageWorker, StageProcesses], Awaitable[Any]], **choices: Any) -> Any:
        async def main() -> Any:
            processes = StageProcesses("hope.testing.short_stages")
            worker = StageWorker(self.store, self.blobs, processes, self.scratch, EXECUTOR, **choices)
            try:
                return await work(worker, processes)
            finally:
                await processes.close()

        return asyncio.run(main())

    def stage(self, stage: Stage = Stage.PREPROCESS, **choices: Any) -> str:
        outcome: str = self.run(lambda worker, _: worker.run(self.job(stage)), **choices)
        return outcome

    def keys(self) -> list[str]:
        return [blob.key for blob in self.blobs.keys("cases/")]

    def scratch_is_empty(self) -> bool:
        return not any(self.scratch.directory.iterdir())


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path)


def test_a_stage_is_told_how_each_scan_was_told_and_whose_it_is(platform: Platform) -> None:
    key = f"cases/{platform.case_id}/series/t2w-1.nii"
    digest, size = hashlib.sha256(small_scan()).hexdigest(), len(small_scan())
    (scan := platform.folder / "t2w.nii").write_bytes(small_scan())
    platform.blobs.put_file(key, scan, digest)
    told = {"confidence": 0.75, "reason": "T2 by its timing", "whose": {"patient": "0a1b"}}
    case = platform.store.create_case(platform.session_id)
    facts = {**told, "shape": [1, 1, 1], "dicom": True}
    platform.store.put_series(case.id, SeriesRecord(MRSequence.T2W, "t2w", key, size, digest, facts))
    platform.store.queue_case(case.id, RunOptions(), 10)

    async def work(worker: StageWorker, _: StageProcesses) -> dict[str, Any]:
        attempt = Attempt(
            "token", StageJob(case.id, platform.session_id, 1, Stage.PREPROCESS), EXECUTOR, 1, RunOptions()
        )
        (into := platform.folder / "into").mkdir()
        return worker._fetch(attempt, into)

    assert platform.run(work) == {"t2w": told}


def test_all_stages_make_the_case_done_with_its_files(platform: Platform) -> None:
    async def work(worker: StageWorker, _: StageProcesses) -> list[str]:
        return [await worker.run(platform.job(stage)) for stage in Stage]

    assert platform.run(work) == [DONE] * 4
    assert platform.case.state is CaseState.DONE
    assert [stage.state for stage in platform.case.stages] == [StageState.DONE] * 4
    assert platform.case.result["volumes_ml"]
    assert platform.case.result["made_on"] == platform.case.scans != {}
    public = {artifact.name for artifact in platform.store.artifacts(platform.case_id, public=True)}
    assert f"case-{platform.case_id[:8]}-seg.nii.gz" in public
    assert platform.store.running_attempts(case_id=platform.case_id) == []
    assert platform.scratch_is_empty()


class Fetches:
    """A blob store that remembers what it was asked for."""

    def __init__(self, blobs: LocalBlobs) -> None:
        self._blobs, self.names = blobs, set[str]()

    def fetch(self, key: str, to: Path, sha256: str) -> None:
        self.names.add(to.name)
        self._blobs.fetch(key, to, sha256)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)


def fetched(platform: Platform) -> dict[str, set[str]]:
    """What each stage fetches, in order."""
    names: dict[str, set[str]] = {}
    blobs = platform.blobs
    for stage in Stage:
        platform.blobs = fetches = Fetches(blobs)  # type: ignore[assignment]
        assert platform.stage(stage) == DONE
        names[str(stage)] = fetches.names
    return names


def test_a_worker_fetches_only_what_its_stage_reads(platform: Platform) -> None:
    """The short stages leave one file of each role, named after stage and role."""
    aligned, harmonized = "preprocess-aligned.json", "harmonize-harmonized.json"
    notes = {f"{stage}-notes.json" for stage in ("preprocess", "harmonize", "segment")}
    assert fetched(platform) == {
        "preprocess": {"t1c.nii"},
        "harmonize": {aligned},
        "segment": {aligned, harmonized},
        "postprocess": {
            "t1c.nii",
            "preprocess-uploaded.json",
            aligned,
            harmonized,
            "segment-prediction.json",
            *notes,
        },
    }


def test_files_of_an_earlier_versions_worker_are_fetched_by_every_stage(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their rows name no role: a run that is on its way during an upgrade ends well."""
    monkeypatch.setattr("hope.jobs.worker.OutputFile.from_json", lambda entry: None)
    assert platform.stage(Stage.PREPROCESS) == DONE
    monkeypatch.undo()
    monkeypatch.setenv("HOPE_SHORT_SECONDS", "noop")
    platform.blobs = fetches = Fetches(platform.blobs)  # type: ignore[assignment]
    assert platform.stage(Stage.HARMONIZE) == DONE
    assert fetches.names == {f"preprocess-{role}.json" for role in ("uploaded", "aligned", "notes")}


def test_a_stage_that_is_done_is_not_done_again(platform: Platform) -> None:
    assert platform.stage() == DONE
    before = platform.keys()
    assert platform.stage() == DONE
    assert platform.keys() == before
    assert platform.case.stages[0].attempts == 1


def test_wrong_input_fails_the_case_with_the_sentence_and_is_not_tried_again(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOPE_SHORT_FAIL", "preprocess:9:input")
    monkeypatch.setenv("HOPE_SHORT_DIR", str(platform.folder))
    assert platform.stage() == FAILED
    assert platform.case.state is CaseState.FAILED
    assert "told to find the input wrong" in platform.case.problem
    assert not platform.case.problem_is_ours
    assert platform.case.stages[0].attempts == 1


@pytest.mark.parametrize("how", ["HOPE_SHORT_FAIL", "HOPE_SHORT_CRASH"])
def test_our_own_fault_is_tried_again_then_told(platform: Platform, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setenv(how, "preprocess:1")
    monkeypatch.setenv("HOPE_SHORT_DIR", str(platform.folder))
    assert platform.stage() == DONE
    assert platform.case.stages[0].attempts == 2


def test_tries_are_limited_and_the_fault_is_said_to_be_ours(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOPE_SHORT_CRASH", "preprocess:9")
    monkeypatch.setenv("HOPE_SHORT_DIR", str(platform.folder))
    assert platform.stage(tries=2) == FAILED
    assert platform.case.problem_is_ours
    assert platform.case.stages[0].attempts == 2


def test_attempts_that_ended_with_their_worker_are_no_failures_of_the_stage(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three workers were killed in it; the fourth's first failure is not its last try."""
    for _ in range(3):
        platform.store.end_attempt(platform.store.begin_attempt(platform.job(Stage.PREPROCESS), new_id()))
    monkeypatch.setenv("HOPE_SHORT_CRASH", "preprocess:1")
    monkeypatch.setenv("HOPE_SHORT_DIR", str(platform.folder))
    assert platform.stage(tries=3) == DONE
    assert platform.case.stages[0].attempts == 5


def test_what_ends_workers_again_and_again_is_given_up(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hope.jobs.worker.MAX_ATTEMPTS", 3)
    for _ in range(3):
        platform.store.end_attempt(platform.store.begin_attempt(platform.job(Stage.PREPROCESS), new_id()))
    assert platform.stage() == FAILED
    assert "begun 3 times" in platform.case.problem
    assert platform.case.stages[0].attempts == 4


def test_a_stage_that_takes_too_long_is_stopped_and_failed(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPE_SHORT_SECONDS", "60")
    start = time.monotonic()
    assert platform.stage(timeout_seconds=1.0) == FAILED
    assert time.monotonic() - start < 10
    assert "took longer" in platform.case.problem


@pytest.mark.parametrize("end", ["cancel", "delete case", "close session"])
def test_work_that_nobody_wants_any_more_stops_and_leaves_nothing(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setenv("HOPE_SHORT_SECONDS", "60")
    monkeypatch.setenv("HOPE_SHORT_STUBBORN", "1")
    store, before = platform.store, platform.keys()

    async def work(worker: StageWorker, processes: StageProcesses) -> tuple[str, float, list[int]]:
        running = asyncio.ensure_future(worker.run(platform.job(Stage.PREPROCESS)))
        while not processes.pids or not store.running_attempts(case_id=platform.case_id):
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        start = time.monotonic()
        if end == "cancel":
            store.cancel_case(platform.case_id)
        elif end == "delete case":
            store.delete_case(platform.case_id)
        else:
            store.close_session(platform.session_id)
        return await running, time.monotonic() - start, processes.pids

    outcome, seconds, pids = platform.run(work)
    assert outcome == STOPPED
    assert pids == []
    assert seconds < 3.5
    assert platform.keys() == before
    assert platform.scratch_is_empty()


class NotingCopies:
    """A proxy bucket that only notes what is deleted from it; at the first time it does not answer, if told so."""

    def __init__(self, away: int = 0) -> None:
        self.deleted: list[str] = []
        self.delete_prefix = _failing(self._delete, away)

    def _delete(self, prefix: str) -> tuple[int, int]:
        self.deleted.append(prefix)
        return 0, 0


@pytest.mark.parametrize("away", [0, 1])
def test_what_a_dead_stage_copied_for_an_endpoint_is_deleted(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, away: int
) -> None:
    monkeypatch.setenv("HOPE_SHORT_CRASH", "segment:1")
    monkeypatch.setenv("HOPE_SHORT_DIR", str(platform.folder))
    staging, stage = NotingCopies(away), f"cases/{platform.case_id}/1/segment/"

    async def work(worker: StageWorker, _: StageProcesses) -> list[str]:
        return [await worker.run(platform.job(stage)) for stage in (Stage.PREPROCESS, Stage.HARMONIZE, Stage.SEGMENT)]

    assert platform.run(work, staging=staging) == [DONE] * 3
    # What the attempt had, as soon as its process was dead; before the next one whatever is left of any.
    attempts = [prefix.removeprefix(stage) for prefix in staging.deleted]
    depths = [attempt.count("/") for attempt in attempts]
    assert depths[: 2 - away] == [1, 0][away:]
    # A beat that comes just after the commit finds the attempt fenced: its own copies are then looked at once more.
    assert depths[2 - away :] in ([], [1])
    assert all(prefix.startswith(stage) for prefix in staging.deleted)


def test_a_fenced_attempt_answers_what_the_other_one_made_of_the_stage(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOPE_SHORT_SECONDS", "60")
    store = platform.store

    async def work(worker: StageWorker, processes: StageProcesses) -> tuple[str, list[int]]:
        running = asyncio.ensure_future(worker.run(platform.job(Stage.PREPROCESS)))
        while not processes.pids or not store.running_attempts(case_id=platform.case_id):
            await asyncio.sleep(0.05)
        other = store.begin_attempt(platform.job(Stage.PREPROCESS), new_id())
        await asyncio.sleep(3.0)
        assert not running.done()
        pids = processes.pids
        store.commit_attempt(other, [])
        return await running, pids

    assert platform.run(work) == (DONE, [])


def test_a_cancelled_worker_leaves_a_dead_process_and_an_ended_attempt(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOPE_SHORT_SECONDS", "60")

    async def work(worker: StageWorker, processes: StageProcesses) -> list[int]:
        running = asyncio.ensure_future(worker.run(platform.job(Stage.PREPROCESS)))
        while not platform.store.running_attempts(case_id=platform.case_id):
            await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return processes.pids

    assert platform.run(work) == []
    assert platform.store.running_attempts(case_id=platform.case_id) == []
    assert platform.scratch_is_empty()


def test_an_attempt_that_was_begun_while_the_worker_was_stopped_is_ended(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, begun = platform.store.begin_attempt, threading.Event()

    def slowly(*arguments: Any) -> Any:
        attempt = begin(*arguments)
        begun.set()
        time.sleep(0.5)
        return attempt

    monkeypatch.setattr(platform.store, "begin_attempt", slowly)

    async def work(worker: StageWorker, processes: StageProcesses) -> None:
        running = asyncio.ensure_future(worker.run(platform.job(Stage.PREPROCESS)))
        while not begun.is_set():
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    platform.run(work)
    assert platform.store.open_attempts(case_id=platform.case_id) == []


def _failing(real: Callable[..., Any], times: int) -> Callable[..., Any]:
    """A call that does not get through so many times."""
    left = [times]

    def call(*arguments: Any, **more: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise ConnectionError("the store does not answer")
        return real(*arguments, **more)

    return call


@pytest.mark.parametrize("name", ["begin_attempt", "commit_attempt", "end_attempt"])
def test_a_database_that_was_away_for_a_moment_costs_nothing(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("hope.jobs.waiting.AWAY_SECONDS", 0.05)
    monkeypatch.setattr(platform.store, name, _failing(getattr(platform.store, name), 2))
    assert platform.stage() == DONE
    assert platform.store.running_attempts(case_id=platform.case_id) == []


def test_a_commit_whose_answer_is_lost_keeps_the_files_that_its_rows_name(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = platform.store.commit_attempt

    def committed_and_not_answered(*arguments: Any) -> None:
        commit(*arguments)
        raise ConnectionError("the database does not answer")

    monkeypatch.setattr(platform.store, "commit_attempt", committed_and_not_answered)
    assert platform.stage() == DONE
    named = {artifact.blob_key for artifact in platform.store.artifacts(platform.case_id)}
    assert named and named <= set(platform.keys())


def test_files_that_cannot_be_fetched_for_a_while_are_waited_for(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform.blobs, "fetch", _failing(platform.blobs.fetch, 2))
    assert platform.stage(tries=1) == DONE


def test_a_scan_that_was_damaged_in_the_store_is_noticed(platform: Platform) -> None:
    key = platform.case.series[0].blob_key
    path = platform.folder / "blobs" / key
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    assert platform.stage(tries=1) == FAILED
    assert "damaged" in platform.case.problem
    assert platform.case.problem_is_ours


def test_slots_limit_how_many_stages_run_at_once(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPE_SHORT_SECONDS", "0.4")

    async def work(worker: StageWorker, processes: StageProcesses) -> int:
        jobs = [asyncio.ensure_future(worker.run(platform.job(Stage.PREPROCESS)))]
        case = platform.store.create_case(platform.session_id)
        series = platform.case.series[0]
        platform.store.put_series(case.id, series)
        platform.store.queue_case(case.id, RunOptions(), 10)
        jobs.append(asyncio.ensure_future(worker.run(StageJob(case.id, platform.session_id, 1, Stage.PREPROCESS))))
        most = 0
        while not all(task.done() for task in jobs):
            attempts = platform.store.running_attempts(session_id=platform.session_id)
            most = max(most, len(attempts))
            await asyncio.sleep(0.02)
        return most

    assert platform.run(work, slots=1) == 1


class FullFor:
    """A blob store on a disk that is full for so many tries, and says so in the way of the operating system or ours."""

    def __init__(self, blobs: LocalBlobs, times: int, error: Exception) -> None:
        self._blobs, self._times, self._error = blobs, times, error

    def put_file(self, key: str, path: Path, sha256: str) -> None:
        if self._times:
            self._times -= 1
            raise self._error
        self._blobs.put_file(key, path, sha256)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)


@pytest.mark.parametrize("error", [FullError("cannot write: the disk is full"), OSError(errno.ENOSPC, "No space left")])
def test_a_full_disk_is_said_and_waited_for_and_costs_no_try(
    platform: Platform, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hope.jobs.worker.FULL_SECONDS", 0.5)
    monkeypatch.setattr("hope.jobs.worker.AWAY_SECONDS", 0.1)
    platform.blobs = FullFor(platform.blobs, 4, error)  # type: ignore[assignment]
    assert platform.stage(tries=1) == DONE
    stage = platform.case.stages[0]
    assert (stage.state, stage.attempts) == (StageState.DONE, 5)
    problems = [e.data["problem"] for e in platform.store.events([platform.case_id], 0) if "problem" in e.data]
    assert problems == ["the disk is full; the stage goes on when there is room"] * 4
    assert platform.scratch_is_empty()


def test_a_stage_that_waits_for_room_ends_when_its_run_is_cancelled(platform: Platform) -> None:
    platform.blobs = FullFor(platform.blobs, 1000, FullError("the disk is full"))  # type: ignore[assignment]

    async def work(worker: StageWorker, _: StageProcesses) -> str:
        waiting = asyncio.ensure_future(worker.run(platform.job(Stage.PREPROCESS)))
        while not platform.case.stages[0].message.startswith("the disk is full"):
            await asyncio.sleep(0.05)
        platform.store.cancel_case(platform.case_id)
        return await asyncio.wait_for(waiting, 10)

    assert platform.run(work) == STOPPED
