# ruff: noqa: S101  (these are tests, shipped so that adapters elsewhere can use them)
"""What every `CaseStore` has to do about scans: no key is given twice, and what is replaced was named."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from hope.contract.job import CaseRecord, ConflictError, EventKind, SeriesRecord
from hope.contract.options import RunOptions
from hope.contract.scans import ChangedError, SeriesChange
from hope.domain.case import MRSequence
from hope.domain.errors import InputError
from hope.ports import CaseStore
from hope.testing.contracts.factories import MOST, a_case, a_scan, a_session

T1N, T1C, T2W, T2F = MRSequence


def scan(key: str, sequence: MRSequence | None, number: int) -> SeriesRecord:
    """A scan with bytes of its own."""
    return replace(a_scan(key, sequence), sha256=f"{number:064x}")


def sequences(case: CaseRecord) -> Mapping[str, MRSequence | None]:
    """Key -> which sequence it is."""
    return {record.key: record.sequence for record in case.series}


class ScanContract:
    """The part of `CaseStoreContract` about scans."""

    def test_scans_are_added_and_replaced(self, store: CaseStore) -> None:
        """The same key and sequence replaces, and says what is not needed any more; each writes an event."""
        case = store.create_case(a_session(store).id)
        first, second, flair = a_scan(), a_scan(), a_scan("t2f", T2F)
        assert store.put_series(case.id, flair) == SeriesChange((flair,))
        assert store.put_series(case.id, first) == SeriesChange((first,))
        assert store.put_series(case.id, second) == SeriesChange((second,), (first,), (), (first.blob_key,))
        assert store.case(case.id).series == (second, flair)
        events = store.events([case.id], 0)
        assert [(e.kind, e.data) for e in events] == [
            (EventKind.SERIES, {"sequence": "t2f", "key": "t2f"}),
            (EventKind.SERIES, {"sequence": "t1c", "key": "t1c"}),
            (EventKind.SERIES, {"sequence": "t1c", "key": "t1c"}),
        ]

    def test_a_scan_that_was_assigned_elsewhere_is_not_replaced(self, store: CaseStore) -> None:
        """Its key alone does not name it; what only had the sequence loses it and stays."""
        case = store.create_case(a_session(store).id)
        store.put_series(case.id, scan("t1c", T1C, 1))
        store.assign_series(case.id, {T1N: "t1c"})
        change = store.put_series(case.id, scan("t1c", T1C, 2))
        assert (change.stored[0].key, change.replaced, change.unused) == ("t1c-2", (), ())
        assert sequences(store.case(case.id)) == {"t1c": T1N, "t1c-2": T1C}
        third = store.put_series(case.id, scan("t1c", T1C, 3))
        assert (third.stored[0].key, third.unassigned) == ("t1c-3", ("t1c-2",))
        assert sequences(store.case(case.id)) == {"t1c": T1N, "t1c-2": None, "t1c-3": T1C}

    def test_a_scan_is_replaced_by_its_hash(self, store: CaseStore) -> None:
        """Whatever its key is; one that is not there any more is said, and nothing is stored then."""
        case = store.create_case(a_session(store).id)
        old = scan("series-1", None, 1)
        store.put_series(case.id, old)
        change = store.put_series(case.id, scan("t1c", T1C, 2), match=[old.sha256])
        assert (change.stored[0].key, change.replaced) == ("series-1", (old,))
        with pytest.raises(ChangedError):
            store.put_series(case.id, scan("t1c", T1C, 3), match=[old.sha256])
        with pytest.raises(ChangedError):
            store.put_series(case.id, scan("t2f", T2F, 3), match=["*"])
        assert store.put_series(case.id, scan("t1c", T1C, 4), match=["*"]).stored[0].key == "series-1"
        assert sequences(store.case(case.id)) == {"series-1": T1C}

    def test_added_scans_replace_nothing(self, store: CaseStore) -> None:
        """Not even of the same key and sequence; the same bytes are not stored twice."""
        case = store.create_case(a_session(store).id)
        first = [scan("t1c", T1C, 1), scan("series-1", None, 2)]
        assert store.add_series(case.id, first).stored == tuple(first)
        store.assign_series(case.id, {T2F: "series-1"})
        second = [scan("t1c", T1C, 3), scan("series-1", None, 4), scan("series-2", T2F, 5), scan("t1c", T1C, 1)]
        change = store.add_series(case.id, second)
        assert [record.key for record in change.stored] == ["t1c-2", "series-2", "series-3", "t1c"]
        assert change.unused == (second[-1].blob_key,)
        assert sequences(store.case(case.id)) == {
            "t1c": T1C, "series-1": T2F, "t1c-2": None, "series-2": None, "series-3": None
        }  # fmt: skip

    def test_no_key_is_given_twice(self, store: CaseStore, reopen: Callable[[], CaseStore]) -> None:
        """Not after a deletion, and whoever adds at the same time."""
        case = store.create_case(a_session(store).id)
        store.put_series(case.id, scan("t1c", T1C, 0))
        assert store.delete_series(case.id, "t1c").sha256 == f"{0:064x}"
        assert store.put_series(case.id, scan("t1c", T1C, 1)).stored[0].key == "t1c-2"
        with pytest.raises(InputError, match="t1c-2"):
            store.delete_series(case.id, "t1c")
        peers, start = [store, reopen()], threading.Barrier(8)

        def add(number: int) -> str:
            start.wait()
            return peers[number % 2].add_series(case.id, [scan("series-1", None, 10 + number)]).stored[0].key

        with ThreadPoolExecutor(8) as pool:
            keys = list(pool.map(add, range(8)))
        assert sorted(keys) == [f"series-{number}" for number in range(1, 9)]

    def test_assignments_are_made_all_at_once(self, store: CaseStore) -> None:
        """A sequence belongs to one scan, a scan to one sequence; what is left out stays; None gives up."""
        case = store.create_case(a_session(store).id)
        store.add_series(case.id, [scan(f"series-{n}", None, n) for n in (1, 2, 10)])
        assert [s.key for s in store.case(case.id).series] == ["series-1", "series-2", "series-10"]
        store.assign_series(case.id, {T1C: "series-2", T2F: "series-10"})
        changed = store.assign_series(case.id, {T1C: "series-1", T1N: "series-2"})
        assert sequences(changed) == {"series-1": T1C, "series-2": T1N, "series-10": T2F}
        assert store.case(case.id) == changed
        assert sequences(store.assign_series(case.id, {T1C: "series-2", T1N: "series-1"})) == {
            "series-1": T1N, "series-2": T1C, "series-10": T2F
        }  # fmt: skip
        last = store.events([case.id], 0)[-1].number
        assert store.assign_series(case.id, {T2W: "series-10", T1N: None}).sequences == (T1C, T2W)
        seen = [(event.data["key"], event.data["sequence"]) for event in store.events([case.id], last)]
        assert sorted(seen, key=str) == [("series-1", None), ("series-10", "t2w")]

    @pytest.mark.parametrize("wrong", [{T1C: "series-1", T1N: "series-99"}, {T1C: "series-1", T1N: "series-1"}])
    def test_assignments_that_are_not_possible_change_nothing(
        self, store: CaseStore, wrong: Mapping[MRSequence, str | None]
    ) -> None:
        """Not even those that are."""
        case = store.create_case(a_session(store).id)
        store.add_series(case.id, [scan("series-1", None, 1), scan("t1c", T1C, 2)])
        before = store.case(case.id)
        with pytest.raises(InputError, match="series"):
            store.assign_series(case.id, wrong)
        assert store.case(case.id) == before

    def test_a_run_sees_all_assignments_or_none(self, store: CaseStore, reopen: Callable[[], CaseStore]) -> None:
        """Twenty times a run and an exchange of two scans at once: whoever is second knows what the first one did."""
        peer = reopen()
        for _ in range(20):
            case = a_case(store)
            store.put_series(case.id, a_scan("t2f", T2F))
            start = threading.Barrier(2)

            def assign(case_id: str = case.id, start: threading.Barrier = start) -> bool:
                start.wait()
                try:
                    peer.assign_series(case_id, {T1C: "t2f", T2F: "t1c"})
                except ConflictError:
                    return False
                return True

            with ThreadPoolExecutor(1) as pool:
                assigning = pool.submit(assign)
                start.wait()
                queued = store.queue_case(case.id, RunOptions(), MOST)
                assigned = assigning.result()
            exchanged = {"t1c": T2F, "t2f": T1C}
            assert sequences(queued) == (exchanged if assigned else {"t1c": T1C, "t2f": T2F})
            assert sequences(store.case(case.id)) == sequences(queued)
