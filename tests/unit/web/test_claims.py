"""Bytes of an upload are counted while a program makes and removes files in its folder."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from hope.contract.scans import QuotaError, SessionLimits
from hope.ports import CaseStore
from hope.web.case_watch import _measured, _Use
from hope.web.claims import Claim


class CountingStore:
    """Stands where a case store stands, and remembers the largest size that was claimed."""

    largest = 0

    def resize_upload(self, upload: str, case_id: str, size: int, limits: SessionLimits) -> None:
        self.largest = max(self.largest, size)


def claim(store: CountingStore) -> Claim:
    return Claim(cast(CaseStore, store), "case", "upload", SessionLimits(2**30, 10, 10), 0)


def test_directories_that_vanish_while_they_are_counted_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "stays").write_bytes(bytes(5_000_000))
    store, done = CountingStore(), threading.Event()

    def change() -> None:
        while not done.is_set():
            for name in "abcdefgh":
                (tmp_path / name / "deep").mkdir(parents=True)
                (tmp_path / name / "deep" / "file").write_bytes(b"2")
            for name in "abcdefgh":
                shutil.rmtree(tmp_path / name)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            claim(store).measure(tmp_path)
    finally:
        done.set()
        thread.join()
    assert store.largest >= 5_000_000
    claim(store).measure(tmp_path / "gone")


def test_one_folder_that_cannot_be_counted_hides_none_of_the_others() -> None:
    def unreadable() -> None:
        raise PermissionError(13, "not allowed")

    def full() -> None:
        raise QuotaError("too much", expected="less", fix="delete something")

    scope: Any = SimpleNamespace()
    uses = [_Use("a", scope, (unreadable,)), _Use("b", scope, (full,))]
    assert [use.case_id for use, _ in _measured(uses)] == ["b"]
