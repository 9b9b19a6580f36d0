# ruff: noqa: S101  (these are tests, shipped so that adapters elsewhere can use them)
"""What every `SessionStore` has to do: capabilities, tombstones, audit."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from hope.contract.job import Attempt, CaseState, GoneError, Session
from hope.contract.options import RunOptions
from hope.domain.audit import verify
from hope.domain.case import MRSequence
from hope.domain.ids import new_id, new_token, token_hash
from hope.ports import CaseStore
from hope.testing.contracts.factories import (
    MOST,
    a_case,
    a_file,
    a_run,
    a_scan,
    a_session,
    an_attempt,
    done,
    job_of,
)

Reopen = Callable[[], CaseStore]


def calls_into(
    store: CaseStore, session_id: str, idle_id: str, done_id: str, attempt: Attempt
) -> list[Callable[[], object]]:
    """Every call that a closed session has to refuse: on itself, an idle case, a done one, a running attempt."""
    return [
        lambda: store.session(session_id),
        lambda: store.update_session(session_id, left=True),
        lambda: store.create_case(session_id),
        lambda: store.case(idle_id),
        lambda: store.case(idle_id, session_id),
        lambda: store.put_series(idle_id, a_scan()),
        lambda: store.assign_series(idle_id, {MRSequence.T1N: "t1c"}),
        lambda: store.add_series(idle_id, [a_scan()]),
        lambda: store.delete_series(idle_id, "t1c"),
        lambda: store.queue_case(idle_id, RunOptions(), MOST),
        lambda: store.begin_attempt(attempt.job, "late"),
        lambda: store.heartbeat(attempt, 0.5, "late"),
        lambda: store.commit_attempt(attempt, [a_file("late")]),
        lambda: store.artifacts(done_id),
        lambda: store.add_segmentation(done_id, a_file("late", None), {}),
        lambda: store.segmentation_results(done_id),
    ]


class SessionStoreContract:
    """The part of `CaseStoreContract` about sessions."""

    def test_a_session_is_what_its_token_opens(self, store: CaseStore) -> None:
        """And nothing else opens it: not its id, not another's token."""
        token = token_hash(new_token())
        before = time.time()
        session = store.create_session(token, "oidc:abc")
        other = a_session(store)
        assert (session.owner, session.close_with_page, session.notify, session.left_at) == (
            "oidc:abc",
            False,
            {},
            None,
        )
        assert before - 1 <= session.created_at <= time.time() + 1
        assert store.session_of_token(token) == session
        assert store.session(session.id) == session
        assert store.session_of_token(session.id) is None
        assert store.session_of_token(token_hash("x")) is None
        assert {s.id for s in store.sessions()} == {session.id, other.id}

    def test_changes_of_a_session(self, store: CaseStore, reopen: Reopen) -> None:
        """Only what is given changes; another process sees it."""
        session, other = a_session(store), a_session(store)
        assert store.update_session(session.id, close_with_page=True).close_with_page
        notify = {"webhook": "https://example.org/x"}
        assert store.update_session(session.id, notify=notify).notify == notify
        left = store.update_session(session.id, left=True)
        assert left.left_at is not None
        assert left.close_with_page
        assert left.notify == notify
        assert reopen().session(session.id) == left == store.update_session(session.id)
        assert store.update_session(session.id, left=False).left_at is None
        assert store.update_session(session.id, close_with_page=False, notify={}).notify == {}
        assert store.session(other.id) == other

    def test_a_session_is_aged_by_the_clock_of_the_store(self, store: CaseStore, reopen: Reopen) -> None:
        """Whatever the clock of the process says that asks."""
        before = store.now()
        session = a_session(store)
        left = store.update_session(session.id, left=True).left_at
        assert left is not None
        assert before <= session.created_at <= session.seen_at <= left <= reopen().now()

    def test_using_a_session_means_that_nobody_has_left(self, store: CaseStore) -> None:
        """A page that is reloaded said goodbye first."""
        token = token_hash(new_token())
        session = store.create_session(token, "local")
        store.update_session(session.id, left=True)
        seen = store.session_of_token(token)
        assert seen is not None
        assert seen.left_at is None
        assert store.session(session.id).left_at is None

    def test_unknown_sessions_are_gone(self, store: CaseStore) -> None:
        """Everything says the same, and closing is idempotent."""
        nobody = new_id()
        for call in (
            lambda: store.session(nobody),
            lambda: store.update_session(nobody, left=True),
            lambda: store.update_session(nobody),
            lambda: store.create_case(nobody),
        ):
            with pytest.raises(GoneError):
                call()
        store.close_session(nobody)
        store.delete_session_rows(nobody)
        assert store.cases(nobody) == []
        assert store.closing_sessions() == []

    def test_a_tombstone_ends_everything(self, store: CaseStore, reopen: Reopen) -> None:
        """After it no token opens the session, and no call writes to it, from whatever process."""
        token = token_hash(new_token())
        session = store.create_session(token, "local")
        waiting, running, finished = a_case(store, session), a_run(store, session), done(store, a_run(store, session))
        attempt = an_attempt(store, running)
        store.close_session(session.id)
        store.close_session(session.id)
        for peer in (store, reopen()):
            assert peer.session_of_token(token) is None
            assert session.id not in {s.id for s in peer.sessions()}
            for call in calls_into(peer, session.id, waiting.id, finished.id, attempt):
                with pytest.raises(GoneError):
                    call()
            peer.fail_attempt(attempt, "late", ours=True, final=True)
            peer.fail_case(running.id, running.run, "late")
            assert peer.closing_sessions() == [session.id]
            # What a kill still needs to know: what there was, and whose process may still live.
            states = [case.state for case in peer.cases(session.id)]
            assert states == [CaseState.NEW, CaseState.RUNNING, CaseState.DONE]
            assert peer.running_attempts(session_id=session.id) == [attempt]

    def test_a_case_of_a_closed_session_can_be_cancelled(self, store: CaseStore) -> None:
        """It is part of a kill."""
        session = a_session(store)
        case = a_run(store, session)
        store.close_session(session.id)
        assert store.cancel_case(case.id).state is CaseState.CANCELLED

    def test_rows_are_deleted_with_all_that_hangs_on_them(self, store: CaseStore) -> None:
        """Nothing of the session is left, and nothing of another session is touched."""
        session, other = a_session(store), a_session(store)
        token = token_hash(new_token())
        named = store.create_session(token, "local")
        kept = done(store, a_run(store, other))
        cases = [done(store, a_run(store, session)), a_run(store, session)]
        attempt = an_attempt(store, cases[1])
        store.close_session(session.id)
        store.delete_session_rows(session.id)
        store.delete_session_rows(session.id)
        assert store.closing_sessions() == []
        assert store.cases(session.id) == []
        assert store.events([case.id for case in cases], 0) == []
        assert store.running_attempts(session_id=session.id) == []
        store.end_attempt(attempt)
        with pytest.raises(GoneError):
            store.cancel_case(cases[1].id)
        with pytest.raises(GoneError):
            store.commit_attempt(attempt, [a_file("late")])
        assert store.case(kept.id) == kept
        assert len(store.artifacts(kept.id)) == 4
        assert store.session_of_token(token) == named

    def test_deleting_rows_writes_the_tombstone_too(self, store: CaseStore) -> None:
        """Whoever forgets to close first leaves no gap."""
        session = a_session(store)
        case = a_run(store, session)
        store.delete_session_rows(session.id)
        with pytest.raises(GoneError):
            store.begin_attempt(job_of(case), "late")
        assert store.closing_sessions() == []

    def test_audit_entries_make_a_chain(self, store: CaseStore, reopen: Reopen) -> None:
        """Numbers without a gap, each hash over the one before; pages of it can be read."""
        written = [store.append_audit("local", "case.run", f"{number:032x}", "ok") for number in range(7)]
        written.append(reopen().append_audit("token:ü", "session.kill", "f" * 32, "refused: too late"))
        assert [entry.number for entry in written] == list(range(1, 9))
        assert store.audit() == written
        assert store.audit(after=3, limit=2) == written[3:5]
        assert store.audit(after=8) == []
        assert verify(store.audit()).whole

    def test_the_audit_log_outlives_a_session(self, store: CaseStore) -> None:
        """That is what it is for."""
        session = a_session(store)
        store.append_audit(session.owner, "session.create", "0" * 32, "ok")
        store.delete_session_rows(session.id)
        assert len(store.audit()) == 1

    def test_the_chain_holds_whoever_writes(self, store: CaseStore, reopen: Reopen) -> None:
        """Eight writers at once, over two connections: no fork, no gap."""
        peers = [store, reopen()]

        def write(number: int) -> None:
            for turn in range(5):
                peers[number % 2].append_audit("local", "x", f"{number}-{turn}", "ok")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
        entries = store.audit()
        assert [entry.number for entry in entries] == list(range(1, 41))
        assert verify(entries).whole
        assert len({entry.target for entry in entries}) == 40

    def test_a_deletion_is_never_overtaken(self, store: CaseStore, reopen: Reopen) -> None:
        """Cases made while a session is being closed are either deleted with it or refused."""
        for _ in range(5):
            session = a_session(store)
            made: list[str] = []

            def make(peer: CaseStore, session: Session = session, made: list[str] = made) -> None:
                try:
                    while True:
                        made.append(a_case(peer, session).id)
                except GoneError:
                    return

            with ThreadPoolExecutor(4) as pool:
                makers = [pool.submit(make, peer) for peer in (store, reopen(), store)]
                time.sleep(0.05)
                store.close_session(session.id)
                store.delete_session_rows(session.id)
                for maker in makers:
                    maker.result()
            assert store.events(made, 0) == []
            assert store.cases(session.id) == []
