# ruff: noqa: S101  (these are tests, shipped so that adapters elsewhere can use them)
"""What every `CaseStore` has to do about uploads under way: they count, and no two of them take the last space."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from hope.contract.job import GoneError
from hope.contract.scans import BusyError, QuotaError, SessionLimits
from hope.ports import CaseStore
from hope.testing.contracts.factories import EXECUTOR, a_file, a_run, a_scan, a_session, done

LIMITS = SessionLimits(bytes=1000, files=5, uploads=4)


class UploadContract:
    """The part of `CaseStoreContract` about uploads."""

    def test_uploads_count_with_what_is_stored(self, store: CaseStore) -> None:
        """In the whole session, and in no other; what is stored in their name counts once."""
        session = a_session(store)
        case, other = store.create_case(session.id), store.create_case(session.id)
        store.put_series(other.id, replace(a_scan(), bytes=300))
        upload = store.begin_upload(case.id, EXECUTOR, 400, LIMITS)
        assert store.upload_bytes_left(upload, case.id, LIMITS) == 700
        with pytest.raises(QuotaError, match="too much space"):
            store.begin_upload(other.id, EXECUTOR, 301, LIMITS)
        with pytest.raises(QuotaError):
            store.resize_upload(upload, case.id, 701, LIMITS)
        store.resize_upload(upload, case.id, 700, LIMITS)
        store.put_series(case.id, replace(a_scan(), bytes=700), upload=upload)
        assert store.open_uploads(case.id) == store.open_uploads(session.id) == 1
        assert store.open_uploads(other.id) == 0
        store.end_upload(upload)
        store.end_upload(upload)
        assert store.open_uploads(session.id) == 0
        with pytest.raises(QuotaError):
            store.begin_upload(case.id, EXECUTOR, 1, LIMITS)
        stranger = store.create_case(a_session(store).id)
        assert store.begin_upload(stranger.id, EXECUTOR, 1000, LIMITS)

    def test_corrections_count_too(self, store: CaseStore) -> None:
        """Results of stages do not."""
        case = done(store, a_run(store))
        held = case.series[0].bytes
        store.add_segmentation(case.id, replace(a_file("v1", None), bytes=100), {})
        upload = store.begin_upload(case.id, EXECUTOR, 0, LIMITS)
        assert store.upload_bytes_left(upload, case.id, LIMITS) == 1000 - held - 100

    def test_only_so_many_at_once_and_so_many_files(self, store: CaseStore) -> None:
        """Uploads count as files before they are."""
        case = store.create_case(a_session(store).id)
        begun = [store.begin_upload(case.id, EXECUTOR, 0, LIMITS) for _ in range(4)]
        with pytest.raises(BusyError):
            store.begin_upload(case.id, EXECUTOR, 0, LIMITS)
        store.end_upload(begun[0])
        with pytest.raises(QuotaError, match="files"):
            store.begin_upload(case.id, EXECUTOR, 0, LIMITS, files=3)
        assert store.begin_upload(case.id, EXECUTOR, 0, LIMITS, files=2)

    def test_an_upload_outlives_its_case_until_it_has_ended(self, store: CaseStore) -> None:
        """So that a deletion can wait for it, or for the sweep of a dead process's scratch directory."""
        session = a_session(store)
        case = store.create_case(session.id)
        upload = store.begin_upload(case.id, "another", 10, LIMITS)
        store.close_session(session.id)
        store.delete_session_rows(session.id)
        assert store.open_uploads(session.id) == store.open_uploads(case.id) == 1
        for call in (
            lambda: store.begin_upload(case.id, EXECUTOR, 1, LIMITS),
            lambda: store.resize_upload(upload, case.id, 20, LIMITS),
            lambda: store.upload_bytes_left(upload, case.id, LIMITS),
        ):
            with pytest.raises(GoneError):
                call()
        store.end_attempts_of(EXECUTOR)
        assert store.open_uploads(session.id) == 1
        store.end_attempts_of("another")
        assert store.open_uploads(session.id) == 0

    def test_no_two_take_the_last_bytes(self, store: CaseStore, reopen: Callable[[], CaseStore]) -> None:
        """Eight at once where there is space for three."""
        case, start = store.create_case(a_session(store).id), threading.Barrier(8)
        peers, limits = [store, reopen()], replace(LIMITS, files=100, uploads=100)

        def begin(number: int) -> bool:
            start.wait()
            try:
                peers[number % 2].begin_upload(case.id, EXECUTOR, 300, limits)
            except QuotaError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(begin, range(8))) == 3
