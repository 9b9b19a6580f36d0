# ruff: noqa: S101  (these are tests, shipped so that adapters elsewhere can use them)
"""What every `CaseStore` has to do about attempts: of all that ever begin a stage, at most one outcome counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from hope.contract.job import Attempt, CaseState, EventKind, FencedError, GoneError, StageState, StageStatus
from hope.contract.options import RunOptions
from hope.contract.stages import STAGES, Stage
from hope.domain.ids import new_id
from hope.ports import CaseStore
from hope.testing.contracts.attempt_machine import follow_the_model
from hope.testing.contracts.factories import EXECUTOR, MOST, a_case, a_file, a_run, a_session, an_attempt, done, job_of


def stage_of(store: CaseStore, attempt: Attempt) -> StageStatus:
    """The stage's state as everybody sees it."""
    return next(s for s in store.case(attempt.job.case_id).stages if s.stage is attempt.job.stage)


def events_of(store: CaseStore, case_id: str, kind: EventKind) -> list[dict[str, object]]:
    """The data of all events of a kind."""
    return [dict(event.data) for event in store.events([case_id], 0, limit=10_000) if event.kind is kind]


class AttemptContract:
    """The part of `CaseStoreContract` about attempts and leases."""

    def test_a_pipeline_from_end_to_end(self, store: CaseStore) -> None:
        """Four stages, each begun and committed; the last makes the case done, with its result."""
        queued = a_run(store, choice=RunOptions(model="m", uncertainty_map=True))
        for place, stage in enumerate(STAGES):
            attempt = an_attempt(store, queued, stage)
            assert (attempt.job, attempt.executor, attempt.number) == (job_of(queued, stage), EXECUTOR, 1)
            assert attempt.choice == queued.choice
            case = store.case(queued.id)
            assert case.state is CaseState.RUNNING
            running = case.stages[place]
            assert (running.state, running.share, running.attempts, running.ended_at) == (
                StageState.RUNNING,
                0.0,
                1,
                None,
            )
            assert running.started_at is not None
            assert running.seen_at is not None
            store.commit_attempt(attempt, [a_file("out.nii.gz", stage)], {"tumour_found": True} if place == 3 else None)
            ended = store.case(queued.id).stages[place]
            assert (ended.state, ended.share) == (StageState.DONE, 1.0)
            assert ended.ended_at is not None
        case = store.case(queued.id)
        assert (case.state, case.result) == (CaseState.DONE, {"tumour_found": True})
        states = [(data["state"], data["run"]) for data in events_of(store, case.id, EventKind.STATE)]
        assert states == [("queued", 1), ("running", 1), ("done", 1)]
        stages = events_of(store, case.id, EventKind.STAGE)
        assert [(d["stage"], d["state"]) for d in stages] == [(s, w) for s in STAGES for w in ("running", "done")]
        assert all(float(str(d["seconds"])) >= 0 for d in stages if d["state"] == "done")

    def test_the_newest_attempt_fences_the_others(self, store: CaseStore) -> None:
        """A worker that was thought dead and comes back changes nothing any more."""
        case = a_run(store)
        old = an_attempt(store, case)
        new = store.begin_attempt(job_of(case), "worker-2")
        assert (new.number, new.executor) == (2, "worker-2")
        assert new.token != old.token
        with pytest.raises(FencedError):
            store.heartbeat(old, 0.9, "still here")
        with pytest.raises(FencedError):
            store.commit_attempt(old, [a_file("old")], {"from": "old"})
        store.fail_attempt(old, "old", ours=True, final=True)
        assert store.artifacts(case.id) == []
        assert stage_of(store, new).state is StageState.RUNNING
        store.commit_attempt(new, [a_file("new")])
        with pytest.raises(FencedError):
            store.commit_attempt(new, [a_file("twice")])
        assert [f.name for f in store.artifacts(case.id)] == ["new"]

    def test_what_may_not_begin(self, store: CaseStore) -> None:
        """A stage that is done, a run that is over or not there, a case that is another's or gone."""
        case = a_run(store)
        with pytest.raises(FencedError):
            store.begin_attempt(replace(job_of(case), run=2), "w")
        with pytest.raises(GoneError):
            store.begin_attempt(replace(job_of(case), session_id=a_session(store).id), "w")
        with pytest.raises(GoneError):
            store.begin_attempt(replace(job_of(case), case_id=new_id()), "w")
        with pytest.raises(FencedError):
            store.begin_attempt(replace(job_of(a_case(store)), run=0), "w")
        store.commit_attempt(an_attempt(store, case), [])
        with pytest.raises(FencedError):
            an_attempt(store, case)
        cancelled = a_run(store)
        store.cancel_case(cancelled.id)
        failed = a_run(store)
        store.fail_attempt(an_attempt(store, failed), "it broke", ours=True, final=True)
        for over in (cancelled, failed, done(store, a_run(store))):
            for stage in STAGES:
                with pytest.raises(FencedError):
                    an_attempt(store, over, stage)

    def test_an_older_run_is_fenced(self, store: CaseStore) -> None:
        """Cancelled and started again: the first run's worker cannot write into the second."""
        case = a_run(store)
        old = an_attempt(store, case)
        store.cancel_case(case.id)
        again = store.queue_case(case.id, RunOptions(), MOST)
        for call in (
            lambda: store.heartbeat(old, 0.5, "late"),
            lambda: store.commit_attempt(old, [a_file("late")]),
            lambda: an_attempt(store, case),
        ):
            with pytest.raises(FencedError):
                call()
        new = an_attempt(store, again)
        with pytest.raises(FencedError):
            store.commit_attempt(old, [a_file("late")])
        assert new.number == 1

    def test_progress_is_recorded_when_it_is_news(self, store: CaseStore) -> None:
        """A hundredth or another message; a sign of life is kept always."""
        case = a_run(store)
        attempt = an_attempt(store, case)
        for share, message in (
            (0.1, "a"),
            (0.105, "a"),
            (0.105, "b"),
            (0.5, "b"),
            (0.5, "b"),
            (0.509, "b"),
            (7.0, "b"),
        ):
            before = stage_of(store, attempt).seen_at or 0.0
            time.sleep(0.002)
            store.heartbeat(attempt, share, message)
            assert (stage_of(store, attempt).seen_at or 0.0) > before
        progress = events_of(store, case.id, EventKind.PROGRESS)
        assert [(d["share"], d["message"]) for d in progress] == [(0.1, "a"), (0.105, "b"), (0.5, "b"), (1.0, "b")]
        assert progress[0] == {"stage": "preprocess", "share": 0.1, "message": "a", "run": 1}
        assert (stage_of(store, attempt).share, stage_of(store, attempt).message) == (1.0, "b")

    def test_a_failure_that_is_not_final_lets_the_stage_wait_again(self, store: CaseStore) -> None:
        """The case goes on and says why it waits; the next attempt counts on."""
        case = a_run(store)
        attempt = an_attempt(store, case)
        store.heartbeat(attempt, 0.5, "half way")
        store.fail_attempt(attempt, "the child died", ours=True, final=False)
        waiting = stage_of(store, attempt)
        assert (waiting.state, waiting.share, waiting.message, waiting.started_at) == (
            StageState.WAITING,
            0.0,
            "the child died",
            None,
        )
        assert store.case(case.id).state is CaseState.RUNNING
        last = events_of(store, case.id, EventKind.STAGE)[-1]
        assert (last["state"], last["problem"]) == ("waiting", "the child died")
        with pytest.raises(FencedError):
            store.commit_attempt(attempt, [])
        assert an_attempt(store, case).number == 2

    @pytest.mark.parametrize("ours", [True, False])
    def test_a_final_failure_fails_the_case(self, store: CaseStore, ours: bool) -> None:
        """With the one sentence, and whose fault it is."""
        case = a_run(store)
        attempt = an_attempt(store, case)
        store.fail_attempt(attempt, "the scan is empty", ours=ours, final=True)
        failed = store.case(case.id)
        assert (failed.state, failed.problem, failed.problem_is_ours) == (CaseState.FAILED, "the scan is empty", ours)
        assert [s.state for s in failed.stages] == [StageState.FAILED, *[StageState.WAITING] * 3]
        assert events_of(store, case.id, EventKind.STATE)[-1] == {
            "state": "failed",
            "run": 1,
            "problem": "the scan is empty",
        }
        assert events_of(store, case.id, EventKind.STAGE)[-1]["problem"] == "the scan is empty"

    def test_a_failed_case_fences_its_other_attempts(self, store: CaseStore) -> None:
        """A stage that was begun beside the one that failed for good counts no more."""
        case = a_run(store)
        fatal, other = an_attempt(store, case), an_attempt(store, case, Stage.HARMONIZE)
        store.fail_attempt(fatal, "the scan is empty", ours=False, final=True)
        failed = store.case(case.id)
        with pytest.raises(FencedError):
            store.heartbeat(other, 0.5, "working")
        with pytest.raises(FencedError):
            store.commit_attempt(other, [a_file("late", Stage.HARMONIZE)])
        store.fail_attempt(other, "another reason", ours=True, final=True)
        assert store.case(case.id) == failed

    def test_cancelling(self, store: CaseStore) -> None:
        """Ends what waits and runs, keeps what is done, and does nothing to a case that is not in work."""
        case = a_run(store)
        store.commit_attempt(an_attempt(store, case), [a_file("kept")])
        attempt = an_attempt(store, case, Stage.HARMONIZE)
        assert store.cancel_case(case.id, run=2).state is CaseState.RUNNING
        cancelled = store.cancel_case(case.id, run=1)
        assert cancelled == store.case(case.id)
        assert cancelled.state is CaseState.CANCELLED
        assert [s.state for s in cancelled.stages] == [StageState.DONE, *[StageState.CANCELLED] * 3]
        with pytest.raises(FencedError):
            store.commit_attempt(attempt, [a_file("late")])
        number = store.events([case.id], 0)[-1].number
        assert store.cancel_case(case.id) == cancelled
        assert store.events([case.id], number) == []
        assert events_of(store, case.id, EventKind.STATE)[-1] == {"state": "cancelled", "run": 1}
        for idle in (a_case(store), done(store, a_run(store))):
            assert store.cancel_case(idle.id) == idle
        with pytest.raises(GoneError):
            store.cancel_case(new_id())

    def test_failing_a_case_that_nobody_works_on(self, store: CaseStore) -> None:
        """For the maintenance loop: only the run that it means, and only while that is in work."""
        case = a_run(store)
        attempt = an_attempt(store, case)
        store.fail_case(case.id, 2, "lost")
        assert store.case(case.id).state is CaseState.RUNNING
        store.fail_case(case.id, 1, "lost")
        failed = store.case(case.id)
        assert (failed.state, failed.problem, failed.problem_is_ours) == (CaseState.FAILED, "lost", True)
        assert failed.stages[0].state is StageState.FAILED
        with pytest.raises(FencedError):
            store.commit_attempt(attempt, [])
        finished = done(store, a_run(store))
        store.fail_case(finished.id, 1, "lost")
        store.fail_case(new_id(), 1, "lost")
        assert store.case(finished.id) == finished

    def test_whose_process_may_still_live(self, store: CaseStore, reopen: Callable[[], CaseStore]) -> None:
        """Begun and not ended, whatever came of it, by an executor whose lease holds."""
        session = a_session(store)
        case, other = a_run(store, session), a_run(store)
        old = an_attempt(store, case)
        new = an_attempt(store, case)
        foreign = an_attempt(store, other)
        assert reopen().running_attempts() == [old, new, foreign]
        assert store.running_attempts(session_id=session.id) == [old, new]
        assert store.running_attempts(case_id=other.id) == [foreign]
        store.commit_attempt(new, [])
        assert store.running_attempts(case_id=case.id) == [old, new]
        store.end_attempt(new)
        store.end_attempt(new)
        assert store.running_attempts(case_id=case.id) == [old]
        store.renew_lease(EXECUTOR, -1.0)
        assert store.running_attempts() == []
        lone = store.begin_attempt(job_of(other), "nobody-knows-me")
        assert store.running_attempts() == []
        store.renew_lease(lone.executor, 60.0)
        assert store.running_attempts() == [lone]

    def test_what_a_dead_process_left_is_open_until_somebody_says_that_it_is_deleted(self, store: CaseStore) -> None:
        """An expired lease says that the process is dead, not that its scratch directory is gone."""
        session = a_session(store)
        case, other = a_run(store, session), a_run(store)
        left, foreign = an_attempt(store, case), store.begin_attempt(job_of(other), "another")
        ended = store.begin_attempt(job_of(case), "another")
        store.renew_lease(EXECUTOR, -1.0)
        store.forget_executor(EXECUTOR)
        store.end_attempt(ended)
        assert store.open_attempts() == [left, foreign]
        assert store.open_attempts(session_id=session.id) == store.open_attempts(case_id=case.id) == [left]
        store.end_attempts_of("nobody-knows-me")
        assert store.open_attempts(session_id=session.id) == [left]
        store.end_attempts_of(EXECUTOR)
        assert store.open_attempts() == [foreign]

    def test_leases(self, store: CaseStore, reopen: Callable[[], CaseStore]) -> None:
        """They run out by themselves, can be renewed, and are forgotten only when they have run out."""
        peer = reopen()
        assert store.renew_lease("short", 60.0) == store.renew_lease("long", 60.0) == []
        store.renew_lease("short", 0.1)
        deadline = time.monotonic() + 20.0
        while not store.renew_lease("long", 60.0) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert store.renew_lease("long", 60.0) == peer.renew_lease("long", 60.0) == ["short"]
        assert store.renew_lease("short", 60.0) == []
        store.forget_executor("short")
        assert store.renew_lease("short", -1.0) == ["short"]
        store.forget_executor("long")
        assert store.renew_lease("longer", -2.0) == ["longer", "short"]
        store.forget_executor("longer", 60.0)
        assert store.renew_lease("long", 60.0) == ["longer", "short"]
        store.forget_executor("longer")
        store.forget_executor("short")
        store.forget_executor("short")
        assert store.renew_lease("long", 60.0) == []

    def test_the_lease_of_a_process_that_is_known_to_be_dead_ends_at_once(self, store: CaseStore) -> None:
        """Its attempts run no more, and peers see it as expired."""
        case = a_run(store)
        attempt = an_attempt(store, case)
        assert store.running_attempts() == [attempt]
        assert store.end_lease(EXECUTOR)
        assert store.running_attempts() == []
        assert store.renew_lease("peer", 60.0) == [EXECUTOR]
        assert not store.end_lease(EXECUTOR)
        assert not store.end_lease("nobody-knows-me")
        assert store.renew_lease("peer", 60.0) == [EXECUTOR]

    def test_eight_workers_want_one_stage(self, store: CaseStore, reopen: Callable[[], CaseStore]) -> None:
        """All begin, all work, all commit: one outcome counts, and it is whole."""
        case, peers = a_run(store), [store, reopen()]

        def work(number: int) -> str:
            peer = peers[number % 2]
            try:
                attempt = peer.begin_attempt(job_of(case), f"worker-{number}")
                peer.heartbeat(attempt, 0.5, f"by {number}")
                peer.commit_attempt(attempt, [a_file(f"{number}-{part}") for part in range(3)], {"by": number})
            except FencedError:
                return "fenced"
            return str(number)

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(work, range(8)))
        winners = [outcome for outcome in outcomes if outcome != "fenced"]
        assert len(winners) == 1
        assert [f.name for f in store.artifacts(case.id)] == [f"{winners[0]}-{part}" for part in range(3)]
        assert store.case(case.id).result == {"by": int(winners[0])}
        assert sum(d["state"] == "done" for d in events_of(store, case.id, EventKind.STAGE)) == 1

    def test_attempts_follow_the_model(self, store: CaseStore) -> None:
        """Thousands of calls in any order: the store and a model in memory agree after each."""
        follow_the_model(store)
