# ruff: noqa: S101  (these are tests, shipped so that adapters elsewhere can use them)
"""A model of runs and attempts in a few lines of memory, and a machine that compares a `CaseStore` with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from hope.contract.job import Attempt, CaseState, ConflictError, FencedError, GoneError, StageJob, StageState
from hope.contract.options import RunOptions
from hope.contract.stages import STAGES, Stage
from hope.ports import CaseStore
from hope.testing.contracts.factories import EXECUTOR, MOST, a_case, a_file, a_session

IN_WORK = (CaseState.QUEUED, CaseState.RUNNING)


@dataclass
class ModelCase:
    """What one case should look like."""

    id: str
    run: int = 0
    state: CaseState = CaseState.NEW
    stages: dict[Stage, StageState] = field(default_factory=dict)
    current: dict[Stage, Attempt | None] = field(default_factory=dict)
    tries: dict[Stage, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    gone: bool = False

    def is_current(self, attempt: Attempt) -> bool:
        """Whether the attempt may write."""
        return self.current.get(attempt.job.stage) is attempt


def outcome(call: Any) -> str:
    """What a call did, in a word."""
    try:
        call()
    except (GoneError, FencedError, ConflictError) as error:
        return type(error).__name__
    return "ok"


class AttemptMachine(RuleBasedStateMachine):
    """One session with some cases; every rule is done to the store and to the model."""

    cases = Bundle("cases")
    attempts = Bundle("attempts")

    def __init__(self, store: CaseStore) -> None:
        super().__init__()
        self.store = store
        self.session = a_session(store)
        self.model: list[ModelCase] = []
        self.begun: list[Attempt] = []
        self.ended: set[str] = set()
        self.closed = False
        store.renew_lease(EXECUTOR, 3600.0)

    def of(self, attempt: Attempt) -> ModelCase:
        """The model of an attempt's case."""
        return next(case for case in self.model if case.id == attempt.job.case_id)

    def expected(self, case: ModelCase, fenced: bool) -> str:
        """Gone before fenced before ok."""
        return "GoneError" if case.gone or self.closed else "FencedError" if fenced else "ok"

    @initialize(target=cases)
    def begin_with_cases(self) -> Any:
        """Two cases in work, since most of what there is to find happens in those."""
        return multiple(self.queued_case(), self.queued_case())

    def queued_case(self) -> ModelCase:
        """A case with a scan, in its first run."""
        case = ModelCase(a_case(self.store, self.session).id)
        self.model.append(case)
        self.queue(case)
        return case

    @rule(case=cases)
    def run_again(self, case: ModelCase) -> None:
        """Start a run, or try to."""
        self.queue(case)

    def queue(self, case: ModelCase) -> None:
        """Start a run if that is allowed."""
        got = outcome(lambda: self.store.queue_case(case.id, RunOptions(), MOST))
        if case.gone or self.closed:
            assert got == "GoneError"
        elif case.state in IN_WORK:
            assert got == "ConflictError"
        else:
            assert got == "ok"
            case.run, case.state, case.files = case.run + 1, CaseState.QUEUED, []
            case.stages = dict.fromkeys(STAGES, StageState.WAITING)
            case.current, case.tries = dict.fromkeys(STAGES), dict.fromkeys(STAGES, 0)

    @rule(target=attempts, case=cases, stage=st.sampled_from(STAGES), back=st.sampled_from([0, 0, 0, 1]))
    def begin(self, case: ModelCase, stage: Stage, back: int) -> Any:
        """Take up a stage, of the current run or of the one before."""
        return self.take_up(case, StageJob(case.id, self.session.id, case.run - back, stage))

    @rule(target=attempts, attempt=attempts)
    def begin_again(self, attempt: Attempt) -> Any:
        """Another worker takes up what one began: from now on the first one is fenced."""
        return self.take_up(self.of(attempt), attempt.job)

    def take_up(self, case: ModelCase, job: StageJob) -> Any:
        """Begin an attempt if that is allowed."""
        stage = job.stage
        got: list[Attempt] = []
        open_stage = case.stages.get(stage) in (StageState.WAITING, StageState.RUNNING)
        fenced = job.run != case.run or case.state not in IN_WORK or not open_stage
        assert outcome(lambda: got.append(self.store.begin_attempt(job, EXECUTOR))) == self.expected(case, fenced)
        if not got:
            return multiple()
        case.state, case.stages[stage], case.current[stage] = CaseState.RUNNING, StageState.RUNNING, got[0]
        case.tries[stage] += 1
        assert got[0].number == case.tries[stage]
        self.begun.append(got[0])
        return got[0]

    @rule(attempt=attempts, share=st.floats(0, 1))
    def heartbeat(self, attempt: Attempt, share: float) -> None:
        """Progress counts from the current attempt only."""
        case = self.of(attempt)
        got = outcome(lambda: self.store.heartbeat(attempt, share, "working"))
        assert got == self.expected(case, not case.is_current(attempt))

    @rule(attempt=attempts)
    def commit(self, attempt: Attempt) -> None:
        """So does an outcome; the last one makes the case done."""
        case, stage = self.of(attempt), attempt.job.stage
        name = f"{stage}-{len(case.files)}"
        got = outcome(lambda: self.store.commit_attempt(attempt, [a_file(name, stage)]))
        assert got == self.expected(case, not case.is_current(attempt))
        if got == "ok":
            case.files.append(name)
            case.stages[stage], case.current[stage] = StageState.DONE, None
            if set(case.stages.values()) == {StageState.DONE}:
                case.state = CaseState.DONE

    @rule(attempt=attempts, final=st.booleans())
    def fail(self, attempt: Attempt, final: bool) -> None:
        """A failure of an attempt that does not count is nothing."""
        case, stage = self.of(attempt), attempt.job.stage
        self.store.fail_attempt(attempt, "it broke", ours=True, final=final)
        if self.expected(case, not case.is_current(attempt)) == "ok":
            case.stages[stage], case.current[stage] = StageState.FAILED if final else StageState.WAITING, None
            if final:
                case.state, case.current = CaseState.FAILED, {}

    @rule(attempt=attempts)
    def end(self, attempt: Attempt) -> None:
        """The process is dead."""
        self.store.end_attempt(attempt)
        self.ended.add(attempt.token)

    @rule(case=cases, what=st.sampled_from([*["nothing"] * 6, "cancel", "cancel", "delete", "close"]))
    def stop(self, case: ModelCase, what: str) -> None:
        """Cancel or delete a case, or kill the session; seldom, since after that little happens."""
        if what == "cancel":
            self.cancel(case)
        elif what == "delete":
            self.store.delete_case(case.id)
            case.gone = True
        elif what == "close":
            self.store.close_session(self.session.id)
            self.closed = True

    def cancel(self, case: ModelCase) -> None:
        """Also in a closed session."""
        assert outcome(lambda: self.store.cancel_case(case.id)) == ("GoneError" if case.gone else "ok")
        if not case.gone and case.state in IN_WORK:
            case.state, case.current = CaseState.CANCELLED, {}
            for stage, state in case.stages.items():
                if state in (StageState.WAITING, StageState.RUNNING):
                    case.stages[stage] = StageState.CANCELLED

    @invariant()
    def they_agree(self) -> None:
        """States, files and running processes of all cases are those of the model."""
        there = {case.id: case for case in self.store.cases(self.session.id)}
        assert set(there) == {case.id for case in self.model if not case.gone}
        for case in self.model:
            if not case.gone:
                record = there[case.id]
                assert (record.run, record.state) == (case.run, case.state)
                assert {s.stage: s.state for s in record.stages} == case.stages
                if not self.closed:
                    assert sorted(f.name for f in self.store.artifacts(case.id)) == sorted(case.files)
        living = {a.token for a in self.begun if a.token not in self.ended and not self.of(a).gone}
        assert {a.token for a in self.store.running_attempts(session_id=self.session.id)} == living


def follow_the_model(store: CaseStore, examples: int = 12, steps: int = 40) -> None:
    """Run the machine on a store, each example in a session of its own."""
    limits = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        # Each step is a transaction of a real database: finding the shortest failure would take minutes.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: AttemptMachine(store), settings=limits)  # type: ignore[arg-type]
