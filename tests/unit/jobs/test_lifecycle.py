"""Runs, cancellations and kills on a real store, with an engine that only notes what it is asked."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.empty_database import sqlite_with_tables

from hope.adapters.blobs_local import LocalBlobs
from hope.adapters.cases_sql import SqlCaseStore
from hope.contract.job import CaseRecord, CaseState, ConflictError, DeletionReceipt, GoneError, SeriesRecord, StageJob
from hope.contract.options import RunOptions
from hope.contract.scans import SessionLimits
from hope.contract.stages import Stage
from hope.domain.case import MRSequence
from hope.domain.errors import OutputError
from hope.domain.ids import new_token, reference_of, token_hash
from hope.jobs.lifecycle import DEATH_SECONDS, MOST_RECONCILIATIONS, CaseLifecycle
from hope.jobs.maintenance import MaintenanceLoop
from hope.ports import BlobInfo

SWEEP = 1.0


class NotingQueue:
    """An engine that runs nothing."""

    def __init__(self) -> None:
        self.enqueued: list[tuple[str, int, int]] = []
        self.cancelled: list[str] = []
        self.forgotten: list[tuple[str, int]] = []
        self.ended: dict[tuple[str, int], bool] = {}
        self.before_enqueue: Callable[[], None] = lambda: None

    def enqueue(self, case_id: str, session_id: str, run: int, priority: int) -> None:
        self.before_enqueue()
        self.enqueued.append((case_id, run, priority))
        self.ended[(case_id, run)] = False

    def cancel(self, case_id: str, run: int) -> None:
        self.cancelled.append(case_id)

    def has_ended(self, case_id: str, run: int) -> bool | None:
        return self.ended.get((case_id, run))

    def recover(self, executors: Sequence[str]) -> int:
        return 0

    def forget(self, case_id: str, runs: int) -> None:
        self.forgotten.append((case_id, runs))
        for run in range(1, runs + 1):
            self.ended.pop((case_id, run), None)

    def held(self) -> dict[str, int]:
        held: dict[str, int] = {}
        for case_id, run in self.ended:
            held[case_id] = max(run, held.get(case_id, 0))
        return held

    def check(self) -> None:
        """Always well."""


class Place:
    """A store, blobs, and sessions over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = SqlCaseStore(sqlite_with_tables(folder / "hope.sqlite"))
        self.blobs = LocalBlobs(folder / "blobs")
        self.queue = NotingQueue()
        self.staging = LocalBlobs(folder / "copies")
        self.lifecycle = CaseLifecycle(self.store, self.blobs, self.queue, 3, self.staging, sweep_seconds=SWEEP)
        self.session = self.store.create_session(token_hash(new_token()), "local").id

    def case(self, session: str | None = None) -> CaseRecord:
        case = self.store.create_case(session or self.session)
        scan, content = self.folder / "scan", b"voxels of " + case.id.encode()
        scan.write_bytes(content)
        digest, key = hashlib.sha256(content).hexdigest(), f"cases/{case.id}/series/t1c-1.nii"
        self.blobs.put_file(key, scan, digest)
        self.store.put_series(case.id, SeriesRecord(MRSequence.T1C, "t1c", key, len(content), digest))
        return self.store.case(case.id)

    def maintenance(self, hours: float = 24.0) -> tuple[MaintenanceLoop, list[tuple[str, str]]]:
        ended: list[tuple[str, str]] = []
        note = lambda session, reason: ended.append((session, reason))  # noqa: E731 - a note needs no name
        maintenance = MaintenanceLoop(
            self.store, self.blobs, self.lifecycle, hours, note, pause=0.05, staging=self.staging
        )
        return maintenance, ended

    def copy(self, case: CaseRecord, run: int = 1) -> str:
        """What a stage puts into the proxy bucket and cannot take back when it is killed."""
        path, key = self.folder / "copy", f"cases/{case.id}/{run}/segment/token/job/aligned.npy"
        path.write_bytes(b"copied voxels of " + case.id.encode())
        self.staging.put_file(key, path, "0" * 64)
        return key

    def copied(self) -> list[str]:
        return [blob.key for blob in self.staging.keys("cases/")]

    def rounds(self, maintenance: MaintenanceLoop, number: int = 3) -> None:
        """Whole rounds, however long the machine takes for them."""

        async def some() -> None:
            for _ in range(number):
                await maintenance.run_once()

        asyncio.run(some())

    def bytes_on_disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.folder.rglob("*") if path.is_file())


def time_is_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a deletion that has not ended counts as interrupted."""
    monkeypatch.setattr(place.lifecycle, "longest_wait_seconds", 0.0)
    monkeypatch.setattr("hope.jobs.maintenance.INTERRUPTED_SECONDS", 0.0)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_run_is_queued_and_enqueued_once(place: Place) -> None:
    case = place.case()
    queued = place.lifecycle.run_case(case, RunOptions())
    assert queued.state is CaseState.QUEUED
    assert place.queue.enqueued == [(case.id, 1, 10)]
    with pytest.raises(ConflictError):
        place.lifecycle.run_case(queued, RunOptions())


def test_a_sessions_later_cases_wait_behind_other_sessions_first(place: Place) -> None:
    for case in [place.case() for _ in range(3)]:
        place.lifecycle.run_case(case, RunOptions())
    other = place.store.create_session(token_hash(new_token()), "local").id
    place.lifecycle.run_case(place.case(other), RunOptions())
    assert [priority for _, _, priority in place.queue.enqueued] == [10, 11, 12, 10]


def test_a_session_may_have_only_so_many_cases_in_work(place: Place) -> None:
    for case in [place.case() for _ in range(3)]:
        place.lifecycle.run_case(case, RunOptions())
    with pytest.raises(ConflictError):
        place.lifecycle.run_case(place.case(), RunOptions())


def test_a_kill_leaves_nothing_but_hashes(place: Place) -> None:
    cases = [place.case() for _ in range(2)]
    place.lifecycle.run_case(cases[0], RunOptions())
    receipt = asyncio.run(place.lifecycle.delete_session(place.session, "user"))
    assert (receipt.cases, receipt.files, receipt.reason) == (2, 2, "user")
    assert receipt.bytes == sum(len(b"voxels of ") + len(case.id) for case in cases)
    assert receipt.reference == reference_of(place.session)
    assert place.queue.cancelled == [cases[0].id]
    assert {case for case, _ in place.queue.forgotten} == {case.id for case in cases}
    with pytest.raises(GoneError):
        place.store.session(place.session)
    left = place.bytes_on_disk()
    for secret in (place.session, *(case.id for case in cases)):
        assert secret.encode() not in left


def test_two_kills_at_once_are_one(place: Place) -> None:
    place.case()

    async def both() -> list[object]:
        return await asyncio.gather(*(place.lifecycle.delete_session(place.session, "user") for _ in range(2)))

    first, second = asyncio.run(both())
    assert first == second


def test_a_kill_waits_for_the_running_stage_to_be_dead(place: Place) -> None:
    case = place.case()
    place.lifecycle.run_case(case, RunOptions())
    place.store.renew_lease("worker", 60)
    attempt = place.store.begin_attempt(StageJob(case.id, place.session, 1, Stage.PREPROCESS), "worker")

    async def work() -> tuple[float, int]:
        start = time.monotonic()
        killing = asyncio.ensure_future(place.lifecycle.delete_session(place.session, "user"))
        await asyncio.sleep(0.5)
        assert not killing.done()
        assert list(place.blobs.keys(f"cases/{case.id}/"))
        place.store.end_attempt(attempt)
        return (await killing).stopped, time.monotonic() - start

    stopped, seconds = asyncio.run(work())
    assert stopped == 1
    assert seconds < DEATH_SECONDS


def test_a_dead_workers_stage_does_not_hold_a_kill_up(place: Place) -> None:
    case = place.case()
    place.lifecycle.run_case(case, RunOptions())
    place.store.renew_lease("worker", 0.2)
    place.store.begin_attempt(StageJob(case.id, place.session, 1, Stage.PREPROCESS), "worker")
    start = time.monotonic()
    receipt = asyncio.run(place.lifecycle.delete_session(place.session, "user"))
    assert time.monotonic() - start < DEATH_SECONDS
    [sentence] = receipt.unconfirmed
    assert sentence.startswith("1 worker(s) died or did not answer")
    assert receipt.files == 1


@pytest.mark.parametrize("whole_session", [True, False])
def test_a_receipt_waits_until_a_dead_workers_scratch_directory_is_deleted(place: Place, whole_session: bool) -> None:
    case = place.case()
    place.lifecycle.run_case(case, RunOptions())
    place.store.renew_lease("worker", -1)
    place.store.begin_attempt(StageJob(case.id, place.session, 1, Stage.PREPROCESS), "worker")

    async def work() -> DeletionReceipt:
        end = (
            place.lifecycle.delete_session(place.session, "user")
            if whole_session
            else place.lifecycle.delete_case(case)
        )
        ending = asyncio.ensure_future(end)
        await asyncio.sleep(0.5)
        assert not ending.done()
        place.store.end_attempts_of("worker")
        return await ending

    assert asyncio.run(work()).unconfirmed == ()


def test_deleting_a_case_leaves_the_others(place: Place) -> None:
    first, second = place.case(), place.case()
    receipt = asyncio.run(place.lifecycle.delete_case(first))
    assert (receipt.cases, receipt.files) == (1, 1)
    assert [case.id for case in place.store.cases(place.session)] == [second.id]
    assert list(place.blobs.keys(f"cases/{second.id}/"))


def test_a_case_that_was_started_again_meanwhile_is_deleted_with_its_new_run(place: Place) -> None:
    seen = place.case()
    place.lifecycle.run_case(seen, RunOptions())
    place.store.renew_lease("worker", 60)
    attempt = place.store.begin_attempt(StageJob(seen.id, place.session, 1, Stage.PREPROCESS), "worker")

    async def work() -> None:
        deleting = asyncio.ensure_future(place.lifecycle.delete_case(seen))  # knows of no run
        await asyncio.sleep(0.3)
        assert not deleting.done()
        place.store.end_attempt(attempt)
        await deleting

    asyncio.run(work())
    assert place.queue.cancelled == [seen.id]
    assert place.queue.held() == {}


@pytest.mark.parametrize("whole_session", [True, False])
def test_a_run_that_a_deletion_overtook_leaves_nothing_in_the_engine(place: Place, whole_session: bool) -> None:
    case = place.case()

    def delete() -> None:
        seen = place.store.case(case.id)
        asyncio.run(
            place.lifecycle.delete_session(place.session, "user")
            if whole_session
            else place.lifecycle.delete_case(seen)
        )  # type: ignore[arg-type]

    place.queue.before_enqueue = delete
    with pytest.raises(GoneError):
        place.lifecycle.run_case(case, RunOptions())
    assert place.queue.held() == {}


def test_the_engine_forgets_cases_that_are_gone(place: Place) -> None:
    living = place.case()
    place.lifecycle.run_case(living, RunOptions())
    place.queue.ended[("0123456789abcdefghjkmnpqrs", 2)] = True
    maintenance, _ = place.maintenance()
    place.rounds(maintenance)
    assert place.queue.held() == {living.id: 1}


@pytest.mark.parametrize("whole_session", [True, False])
def test_a_full_disk_can_be_emptied_by_deleting(
    place: Place, monkeypatch: pytest.MonkeyPatch, whole_session: bool
) -> None:
    case = place.case()
    name = "close_session" if whole_session else "cancel_case"
    write = getattr(place.store, name)

    def full(*arguments: object) -> object:
        if list(place.blobs.keys("cases/")):
            raise OutputError("the database cannot be written: the disk is full")
        return write(*arguments)

    monkeypatch.setattr(place.store, name, full)
    if whole_session:
        receipt = asyncio.run(place.lifecycle.delete_session(place.session, "user"))
    else:
        receipt = asyncio.run(place.lifecycle.delete_case(case))
    assert (receipt.cases, receipt.files) == (1, 1)
    with pytest.raises(GoneError):
        place.store.case(case.id)


def test_the_keeper_ends_an_idle_session_and_not_a_used_one(place: Place) -> None:
    place.case()
    used, _ = place.maintenance()
    place.rounds(used)
    assert place.store.session(place.session)
    maintenance, ended = place.maintenance(hours=1e-9)
    place.rounds(maintenance)
    assert ended == [(place.session, "expired")]


@pytest.mark.parametrize(("closed", "reason"), [(False, "expired"), (True, "page closed")])
def test_a_session_does_not_outlive_its_time_where_the_clock_was_put_back(
    place: Place, monkeypatch: pytest.MonkeyPatch, closed: bool, reason: str
) -> None:
    if closed:
        place.store.update_session(place.session, close_with_page=True, left=True)
    monkeypatch.setattr("hope.jobs.maintenance.LEAVE_SECONDS", 0.3)
    real = place.store.now
    monkeypatch.setattr(place.store, "now", lambda: real() - 36_000)
    maintenance, ended = place.maintenance(hours=24.0 if closed else 0.3 / 3600)
    place.rounds(maintenance, 1)
    assert ended == []
    time.sleep(0.4)
    place.rounds(maintenance, 1)
    assert ended == [(place.session, reason)]


def test_the_keeper_waits_while_a_case_is_in_work(place: Place) -> None:
    place.lifecycle.run_case(place.case(), RunOptions())
    maintenance, ended = place.maintenance(hours=1e-9)
    place.rounds(maintenance)
    assert ended == []


def test_the_keeper_ends_a_session_whose_page_was_closed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hope.jobs.maintenance.LEAVE_SECONDS", 0.0)
    place.store.update_session(place.session, left=True)
    maintenance, ended = place.maintenance()
    place.rounds(maintenance)
    assert ended == []  # the user did not ask for it
    place.store.update_session(place.session, close_with_page=True, left=True)
    place.rounds(maintenance)
    assert ended == [(place.session, "page closed")]


def test_a_page_that_comes_back_while_another_session_is_ended_is_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hope.jobs.maintenance.LEAVE_SECONDS", 0.0)
    back = place.store.create_session(token_hash("back"), "local").id
    for session in (place.session, back):
        place.store.update_session(session, close_with_page=True, left=True)
    kill = place.lifecycle.delete_session

    async def slow_kill(session_id: str, reason: str) -> DeletionReceipt:
        place.store.session_of_token(token_hash("back"))
        return await kill(session_id, reason)

    monkeypatch.setattr(place.lifecycle, "delete_session", slow_kill)
    maintenance, ended = place.maintenance()
    place.rounds(maintenance)
    assert ended == [(place.session, "page closed")]
    assert place.store.session(back).left_at is None


def test_a_kill_may_wait_for_uploads_and_then_for_attempts(place: Place) -> None:
    assert place.lifecycle.longest_wait_seconds >= DEATH_SECONDS + 2 * SWEEP


def test_the_keeper_finishes_a_kill_that_was_interrupted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    case = place.case()
    place.store.close_session(place.session)
    maintenance, ended = place.maintenance()
    place.rounds(maintenance)
    assert place.store.closing_sessions() == [place.session], "a kill that may be under way is left to whoever does it"
    assert ended == []
    time_is_up(place, monkeypatch)
    place.rounds(maintenance)
    assert ended == [(place.session, "interrupted")]
    assert list(place.blobs.keys("cases/")) == []
    assert case.id.encode() not in place.bytes_on_disk()


def test_a_run_that_the_engine_never_heard_of_is_enqueued(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hope.jobs.maintenance.RECONCILE_SECONDS", 0.0)
    case = place.case()
    place.store.queue_case(case.id, RunOptions(), 3)  # and then the gateway died
    maintenance, _ = place.maintenance()
    place.rounds(maintenance)
    assert [(entry[0], entry[1]) for entry in place.queue.enqueued] == [(case.id, 1)]


def test_a_pipeline_that_ended_without_a_word_is_started_again_and_in_the_end_fails(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hope.jobs.maintenance.RECONCILE_SECONDS", 0.0)
    case = place.case()
    place.lifecycle.run_case(case, RunOptions())
    place.queue.ended[(case.id, 1)] = True
    place.lifecycle.reconcile(place.store.case(case.id))
    assert [entry[0] for entry in place.queue.enqueued] == [case.id, case.id]
    for _ in range(MOST_RECONCILIATIONS):
        place.queue.ended[(case.id, 1)] = True
        place.lifecycle.reconcile(place.store.case(case.id))
    assert place.store.case(case.id).state is CaseState.FAILED
    assert place.store.case(case.id).problem_is_ours


def test_files_of_cases_that_are_gone_are_cleared(place: Place) -> None:
    living = place.case()
    stray = place.folder / "stray"
    stray.write_bytes(b"late")
    place.blobs.put_file(
        "cases/0123456789abcdefghjkmnpqrs/1/segment/x/file", stray, hashlib.sha256(b"late").hexdigest()
    )
    maintenance, _ = place.maintenance()
    place.rounds(maintenance)
    assert {blob.key.split("/")[1] for blob in place.blobs.keys("cases/")} == {living.id}


@pytest.mark.parametrize("whole_session", [True, False])
def test_what_was_copied_for_an_endpoint_goes_with_the_case(place: Place, whole_session: bool) -> None:
    """A stage that is killed cannot delete its copies in the proxy bucket."""
    case, other = place.case(), place.case(place.store.create_session(token_hash(new_token()), "local").id)
    place.lifecycle.run_case(case, RunOptions())
    place.copy(case)
    kept = place.copy(other)
    task = (
        place.lifecycle.delete_session(place.session, "killed") if whole_session else place.lifecycle.delete_case(case)
    )

    async def wait() -> DeletionReceipt:
        return await task

    receipt = asyncio.run(wait())
    assert place.copied() == [kept]
    assert receipt.files == 2


def test_a_deletion_that_the_proxy_bucket_does_not_answer_is_taken_up_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = place.case()
    place.copy(case)

    def away(prefix: str) -> tuple[int, int]:
        raise ConnectionError("the object store does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(place.staging, "delete_prefix", away)
        with pytest.raises(ConnectionError):
            asyncio.run(place.lifecycle.delete_session(place.session, "killed"))
    assert list(place.blobs.keys(f"cases/{case.id}/")) == []
    assert place.store.closing_sessions() == [place.session]
    time_is_up(place, monkeypatch)
    place.rounds(place.maintenance()[0])
    assert place.copied() == []
    assert place.store.closing_sessions() == []


def test_the_keeper_clears_copies_of_runs_that_are_not_in_work(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as an answer that an endpoint wrote when nobody waited for it any more."""
    listed = place.staging.keys
    foreign = [BlobInfo(f"cases/{name}", 1) for name in ("%C3%A4/1/x", "a b/1/x", "a/\u00b2/x", "../1/x", "readme")]
    monkeypatch.setattr(place.staging, "keys", lambda prefix: [*foreign, *listed(prefix)])
    running, idle, gone = place.case(), place.case(), place.case()
    place.lifecycle.run_case(running, RunOptions())
    kept = place.copy(running, run=1)
    place.copy(running, run=2)
    place.copy(idle)
    asyncio.run(place.lifecycle.delete_case(gone))
    place.copy(gone)
    place.rounds(place.maintenance()[0])
    # What is not the platform's own neither goes nor stops it.
    assert place.copied() == [*(blob.key for blob in foreign), kept]


def test_the_database_file_is_sqlite_and_holds_no_row_of_a_deleted_session(place: Place) -> None:
    case = place.case()
    asyncio.run(place.lifecycle.delete_session(place.session, "user"))
    with sqlite3.connect(place.folder / "hope.sqlite") as connection:
        dump = "\n".join(connection.iterdump())
    assert case.id not in dump
    assert place.session not in dump


def stray(place: Place, case: CaseRecord, folder: str) -> str:
    """A blob without a row, as a process leaves it that dies between the two."""
    path, key = place.folder / "stray", f"cases/{case.id}/{folder}/scan.nii"
    path.write_bytes(b"voxels without a row")
    place.blobs.put_file(key, path, "0" * 64)
    return key


def kept(place: Place) -> set[str]:
    return {blob.key for blob in place.blobs.keys("cases/")}


@pytest.mark.parametrize("folder", ["series/0123", "1/preprocess/token", "1/segmentation/abc"])
def test_files_that_no_row_names_are_deleted_while_their_case_lives(place: Place, folder: str) -> None:
    case = place.case()
    before = kept(place)
    assert before == {scan.blob_key for scan in case.series}
    key = stray(place, case, folder)
    maintenance, _ = place.maintenance()
    assert key in kept(place)
    place.rounds(maintenance)
    assert kept(place) == before
    assert place.store.case(case.id).series == case.series


def test_a_scan_that_was_replaced_and_not_deleted_is_found(place: Place) -> None:
    case = place.store.create_case(place.session)
    old, new = stray(place, case, "series/0123"), stray(place, case, "series/4567")
    for key in (old, new):
        place.store.put_series(case.id, SeriesRecord(MRSequence.T1C, "t1c", key, 20, "0" * 64))
    maintenance, _ = place.maintenance()
    place.rounds(maintenance)
    assert kept(place) == {new}


def test_files_of_a_stage_that_has_not_ended_are_left_alone(place: Place) -> None:
    case = place.lifecycle.run_case(place.case(), RunOptions())
    attempt = place.store.begin_attempt(StageJob(case.id, place.session, 1, Stage.PREPROCESS), "a worker")
    key = stray(place, case, "1/preprocess/token")
    maintenance, _ = place.maintenance()
    place.rounds(maintenance)
    assert key in kept(place)
    place.store.fail_attempt(attempt, "it failed", ours=False, final=True)
    place.store.end_attempt(attempt)
    place.rounds(place.maintenance()[0])
    assert key not in kept(place)


def test_files_of_an_upload_that_has_not_ended_are_left_alone(place: Place) -> None:
    case = place.case()
    upload = place.store.begin_upload(case.id, "a gateway", 0, SessionLimits(2**30, 100, 4))
    key = stray(place, case, "series/0123")
    place.rounds(place.maintenance()[0])
    assert key in kept(place)
    place.store.end_upload(upload)
    place.rounds(place.maintenance()[0])
    assert key not in kept(place)


def test_what_a_killed_upload_stored_late_is_deleted_with_its_case(place: Place) -> None:
    """Its gateway puts the scan into the store after the first look, and dies before its row is refused."""
    case = place.case()
    upload = place.store.begin_upload(case.id, "a gateway", 0, SessionLimits(2**30, 100, 4))

    async def work() -> None:
        deleting = asyncio.ensure_future(place.lifecycle.delete_case(case))
        while list(place.blobs.keys("cases/")) or place.store.living_cases([case.id]):
            await asyncio.sleep(0.01)
        stray(place, case, "series/0123")
        place.store.end_upload(upload)  # a peer has deleted the scratch directory of the dead gateway
        receipt = await deleting
        assert (receipt.files, receipt.unconfirmed) == (2, ())

    asyncio.run(work())
    assert kept(place) == set()
