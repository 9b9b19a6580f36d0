# ruff: noqa: S101  (these are tests, shipped so that adapters elsewhere can use them)
"""What every `CaseStore` has to do: cases, scans, runs, files, events."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from hope.contract.job import CaseEvent, CaseState, ConflictError, EventKind, GoneError, StageState
from hope.contract.options import RunOptions
from hope.contract.stages import STAGES
from hope.domain.case import MRSequence
from hope.domain.ids import new_id
from hope.ports import CaseStore
from hope.testing.contracts.attempts import AttemptContract
from hope.testing.contracts.factories import (
    EXECUTOR,
    MOST,
    a_case,
    a_file,
    a_run,
    a_scan,
    a_session,
    an_attempt,
    done,
)
from hope.testing.contracts.scans import ScanContract
from hope.testing.contracts.session_store import Reopen, SessionStoreContract
from hope.testing.contracts.uploads import UploadContract


class CaseStoreContract(SessionStoreContract, AttemptContract, ScanContract, UploadContract):
    """Subclass it as ``class TestMyStore(CaseStoreContract)`` and provide the fixtures ``store`` and ``reopen``.

    ``store``: an empty store. ``reopen``: a function that opens the same store once more, as another process would.
    """

    @pytest.fixture
    def store(self) -> CaseStore:
        """An empty store."""
        raise NotImplementedError

    @pytest.fixture
    def reopen(self) -> Reopen:
        """Opens the same store once more."""
        raise NotImplementedError

    def test_a_new_case(self, store: CaseStore, reopen: Reopen) -> None:
        """Empty, numbered within its session, and the same for everybody who may see it."""
        session, other = a_session(store), a_session(store)
        first, second, foreign = (store.create_case(s.id) for s in (session, session, other))
        assert (first.number, second.number, foreign.number) == (1, 2, 1)
        assert (first.state, first.run, first.stages, first.series, first.result) == (CaseState.NEW, 0, (), (), {})
        assert first.session_id == session.id
        assert reopen().case(first.id, session.id) == store.case(first.id) == first
        assert store.cases(session.id) == [first, second]

    def test_numbers_are_not_given_again(self, store: CaseStore) -> None:
        """Case 2 stays case 2 for whoever looks at the page."""
        session = a_session(store)
        store.create_case(session.id)
        store.delete_case(store.create_case(session.id).id)
        assert store.create_case(session.id).number == 3

    def test_another_sessions_case_is_gone(self, store: CaseStore) -> None:
        """With the very words for a case that never was."""
        case, stranger = a_case(store), a_session(store)
        with pytest.raises(GoneError) as foreign:
            store.case(case.id, stranger.id)
        with pytest.raises(GoneError) as unknown:
            store.case(new_id(), stranger.id)
        assert str(foreign.value) == str(unknown.value)

    def test_living_cases(self, store: CaseStore) -> None:
        """Deleted cases and those of a closed session are not among them."""
        session, other = a_session(store), a_session(store)
        here, deleted, closed = (store.create_case(owner.id).id for owner in (session, session, other))
        asked = [here, deleted, closed, new_id()]
        assert store.living_cases(asked) == {here, deleted, closed}
        store.delete_case(deleted)
        store.close_session(other.id)
        assert store.living_cases(asked) == {here}
        assert store.living_cases([]) == set()

    def test_a_run_begins(self, store: CaseStore) -> None:
        """Queued, with the choice, four waiting stages, and one event."""
        case = a_case(store)
        choice = RunOptions(model="m", harmonize=False, preprocessed=True, postprocess=False, uncertainty_map=True)
        after = store.events([case.id], 0)[-1].number
        queued = store.queue_case(case.id, choice, MOST)
        assert (queued.state, queued.run, queued.choice, queued.problem) == (CaseState.QUEUED, 1, choice, "")
        assert [s.stage for s in queued.stages] == list(STAGES)
        assert {(s.state, s.share, s.attempts, s.started_at) for s in queued.stages} == {
            (StageState.WAITING, 0.0, 0, None)
        }
        assert store.case(case.id) == queued
        events = store.events([case.id], after)
        assert [(e.kind, e.data) for e in events] == [(EventKind.STATE, {"state": "queued", "run": 1})]

    def test_what_cannot_be_queued(self, store: CaseStore) -> None:
        """A case without an assigned scan, one in work, one too many, one that is not there."""
        session = a_session(store)
        empty = store.create_case(session.id)
        with pytest.raises(ConflictError, match="scan"):
            store.queue_case(empty.id, RunOptions(), MOST)
        store.put_series(empty.id, a_scan("series-1", None))
        with pytest.raises(ConflictError, match="scan"):
            store.queue_case(empty.id, RunOptions(), MOST)
        case = a_run(store, session)
        with pytest.raises(ConflictError, match="worked on"):
            store.queue_case(case.id, RunOptions(), MOST)
        for change in (
            lambda: store.put_series(case.id, a_scan()),
            lambda: store.assign_series(case.id, {MRSequence.T1N: "t1c"}),
            lambda: store.add_series(case.id, [a_scan()]),
            lambda: store.delete_series(case.id, "t1c"),
        ):
            with pytest.raises(ConflictError):
                change()
        with pytest.raises(ConflictError, match="1 case in work"):
            store.queue_case(a_case(store, session).id, RunOptions(), 1)
        a_run(store)
        assert store.queue_case(a_case(store, session).id, RunOptions(), 2).state is CaseState.QUEUED
        with pytest.raises(GoneError):
            store.queue_case(new_id(), RunOptions(), MOST)

    def test_the_limit_holds_whoever_queues_at_once(self, store: CaseStore, reopen: Reopen) -> None:
        """Eight at once where three may: three are queued."""
        session = a_session(store)
        cases = [a_case(store, session) for _ in range(8)]
        peers, start = [store, reopen()], threading.Barrier(8)

        def queue(number: int) -> bool:
            start.wait()
            try:
                peers[number % 2].queue_case(cases[number].id, RunOptions(), 3)
            except ConflictError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(queue, range(8))) == 3
        assert sum(case.state.in_work for case in store.cases(session.id)) == 3

    def test_a_new_run_forgets_the_last_one(self, store: CaseStore) -> None:
        """Result, problem, files and corrections go; the scans stay."""
        case = done(store, a_run(store))
        store.add_segmentation(case.id, a_file("v1", None, public=True), {"x": 1})
        again = store.queue_case(case.id, RunOptions(), MOST)
        assert (again.run, again.result, again.problem, again.series) == (2, {}, "", case.series)
        assert {s.state for s in again.stages} == {StageState.WAITING}
        assert store.artifacts(case.id) == []
        assert store.segmentation_results(case.id) == {}
        store.fail_attempt(an_attempt(store, again), "it broke", ours=True, final=True)
        third = store.queue_case(case.id, RunOptions(), MOST)
        assert (third.run, third.problem, third.problem_is_ours) == (3, "", False)

    def test_cases_in_work_are_found_by_age(self, store: CaseStore) -> None:
        """For the maintenance loop, over all sessions."""
        queued, running, other = a_run(store), a_run(store), done(store, a_run(store))
        an_attempt(store, running)
        assert [case.id for case in store.cases_in_work(-1.0)] == [queued.id, running.id]
        assert store.cases_in_work(60.0) == []
        assert other.id not in {case.id for case in store.cases_in_work(-1.0)}

    def test_files_of_finished_stages_are_listed(self, store: CaseStore) -> None:
        """In the stages' order, by publicity if asked; corrections last, numbered by the store."""
        case = done(store, a_run(store))
        files = store.artifacts(case.id)
        assert [(f.name, f.stage, f.version) for f in files] == [(f"{s}.nii.gz", s, 0) for s in STAGES]
        first = store.add_segmentation(case.id, replace(a_file("a", None, public=True), version=7), {"volumes_ml": {}})
        second = store.add_segmentation(case.id, a_file("seg-v{version}.nii.gz", None, public=True), {"x": [1, 2]})
        assert (first.version, first.name, first.stage) == (1, "a", None)
        assert (second.version, second.name) == (2, "seg-v2.nii.gz")
        assert store.artifacts(case.id) == [*files, first, second]
        assert store.artifacts(case.id, public=True) == [files[-1], first, second]
        assert store.artifacts(case.id, public=False) == files[:-1]
        assert store.segmentation_results(case.id) == {1: {"volumes_ml": {}}, 2: {"x": [1, 2]}}
        last = store.events([case.id], 0)[-1]
        assert (last.kind, last.data) == (EventKind.SEGMENTATION, {"version": 2})
        assert store.case(case.id) == replace(case, correction={"version": 2, "volumes_ml": {}})

    def test_what_was_made_of_a_correction_lies_under_its_version(self, store: CaseStore) -> None:
        """Its volumes are the case's from then on; whoever does not know of it is refused, and a new run forgets it."""
        case = done(store, a_run(store))
        volumes = {"WT": {"ml": 3.0}}
        both = [a_file("seg-v{version}.nii.gz", None, public=True), a_file("report-v{version}.html", None, public=True)]
        mask = store.add_segmentation(case.id, both, {"volumes_ml": volumes}, newest_known=0)
        assert (mask.version, mask.name) == (1, "seg-v1.nii.gz")
        names = {file.name for file in store.artifacts(case.id, public=True) if file.version == 1}
        assert names == {"seg-v1.nii.gz", "report-v1.html"}
        assert store.segmentation_results(case.id) == {1: {"volumes_ml": volumes}}
        assert store.case(case.id).correction == {"version": 1, "volumes_ml": volumes}
        files = store.artifacts(case.id)
        with pytest.raises(ConflictError, match="version 1 is the newest"):
            store.add_segmentation(case.id, both, {"volumes_ml": {}}, newest_known=0)
        assert store.artifacts(case.id) == files
        assert store.add_segmentation(case.id, both, {"volumes_ml": {}}, newest_known=1).version == 2
        assert store.queue_case(case.id, RunOptions(), MOST).version == 0

    def test_a_case_has_the_name_that_the_user_gives_it(self, store: CaseStore) -> None:
        """It stays over runs, goes with an empty one, and makes no event."""
        case = a_run(store)
        events = store.events([case.id], 0)
        assert (case.label, store.label_case(case.id, "left frontal").label) == ("", "left frontal")
        assert store.case(case.id) == replace(case, label="left frontal")
        assert store.events([case.id], 0) == events
        assert store.label_case(case.id, "").label == ""
        with pytest.raises(GoneError):
            store.label_case(new_id(), "x")

    def test_only_a_done_case_can_be_corrected(self, store: CaseStore) -> None:
        """While it runs, nobody knows what would be corrected."""
        with pytest.raises(ConflictError):
            store.add_segmentation(a_run(store).id, a_file("x", None), {})
        again = done(store, store.queue_case(done(store, a_run(store)).id, RunOptions(), MOST))
        with pytest.raises(ConflictError, match="run again"):
            store.add_segmentation(again.id, a_file("x", None), {}, run=1)
        assert store.add_segmentation(again.id, a_file("x", None), {}, run=2).version == 1
        with pytest.raises(GoneError):
            store.add_segmentation(new_id(), a_file("x", None), {})
        with pytest.raises(GoneError):
            store.artifacts(new_id())
        with pytest.raises(GoneError):
            store.segmentation_results(new_id())

    def test_deleting_a_case(self, store: CaseStore, reopen: Reopen) -> None:
        """All of it, and only it, for good."""
        session = a_session(store)
        case, kept = a_run(store, session), done(store, a_run(store, session))
        attempt = an_attempt(store, case)
        store.delete_case(case.id)
        store.delete_case(case.id)
        store.delete_case(new_id())
        for call in (
            lambda: store.case(case.id),
            lambda: reopen().commit_attempt(attempt, [a_file("late")]),
            lambda: store.put_series(case.id, a_scan()),
            lambda: store.cancel_case(case.id),
        ):
            with pytest.raises(GoneError):
                call()
        assert store.events([case.id], 0) == []
        assert store.running_attempts(case_id=case.id) == []
        assert store.cases(session.id) == [kept]

    def test_events_are_read_in_pages(self, store: CaseStore) -> None:
        """Of the cases asked for, in order, later than the last one seen."""
        one, two, three = a_case(store), a_case(store), a_case(store)
        for _ in range(5):
            for case in (one, two, three):
                store.put_series(case.id, a_scan())
        numbers = [event.number for event in store.events([one.id, three.id], 0)]
        assert len(numbers) == 12
        assert numbers == sorted(set(numbers))
        assert [e.number for e in store.events([one.id, three.id], numbers[3], limit=4)] == numbers[4:8]
        assert {e.case_id for e in store.events([two.id], 0)} == {two.id}
        assert store.events([], 0) == []
        assert abs(store.events([one.id], 0)[0].at - time.time()) < 60

    def test_event_numbers_grow_over_deletions(self, store: CaseStore) -> None:
        """A reader that waits for numbers above the last one must not wait for ever."""
        session = a_session(store)
        case = a_case(store, session)
        last = store.events([case.id], 0)[-1].number
        store.delete_session_rows(session.id)
        assert store.events([a_case(store).id], 0)[0].number > last

    def test_a_reader_never_misses_an_event(self, store: CaseStore, reopen: Reopen) -> None:
        """Eight writers; a reader that asks for what is newer than the last one it saw gets every single one."""
        cases = [a_run(store) for _ in range(8)]
        attempts = [an_attempt(store, case) for case in cases]
        ids, seen = [case.id for case in cases], [0]
        peers, got, writing = [store, reopen()], list[CaseEvent](), threading.Event()
        writing.set()

        def write(number: int) -> None:
            for turn in range(25):
                peers[number % 2].heartbeat(attempts[number], 0.5, f"turn {turn}")

        def read() -> None:
            reader, last_round = reopen(), False
            while not last_round:
                last_round = not writing.is_set()
                page = reader.events(ids, seen[0])
                got.extend(page)
                seen[0] = page[-1].number if page else seen[0]

        with ThreadPoolExecutor(9) as pool:
            reading = pool.submit(read)
            try:
                list(pool.map(write, range(8)))
            finally:
                writing.clear()
            reading.result()
        assert got == store.events(ids, 0, limit=10_000)
        assert sum(event.kind is EventKind.PROGRESS for event in got) == 200

    def test_figures_for_metrics(self, store: CaseStore) -> None:
        """Every state is named, also where there is none of it."""
        assert store.counts() == {f"cases_{s}": 0 for s in CaseState} | {"sessions": 0, "attempts_running": 0}
        session = a_session(store)
        a_case(store, session)
        done(store, a_run(store, session))
        an_attempt(store, a_run(store))
        figures = store.counts()
        assert figures["sessions"] == 2
        assert (figures["cases_new"], figures["cases_done"], figures["cases_running"]) == (1, 1, 1)
        assert figures["attempts_running"] == 1
        store.forget_executor(EXECUTOR)
        store.renew_lease(EXECUTOR, -1.0)
        assert store.counts()["attempts_running"] == 0

    def test_check_passes(self, store: CaseStore) -> None:
        """A store that works says nothing."""
        store.check()
