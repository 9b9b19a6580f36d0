"""Many idle sessions expire at once: how long it takes, and what is left.

python benchmarks/platform_expiry.py [--sessions 10000] [--database sqlite|postgres|URL]

Every tenth session has a case with a scan, one in fifty was used just now and has to stay.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from database import database
from machine import machine
from sqlalchemy import create_engine, text

from hope.adapters.blobs_local import LocalBlobs
from hope.adapters.cases_sql import SqlCaseStore
from hope.contract.job import SeriesRecord
from hope.domain.case import MRSequence
from hope.domain.ids import new_token, token_hash
from hope.jobs.lifecycle import CaseLifecycle
from hope.jobs.maintenance import MaintenanceLoop

IDLE_HOURS = 24.0


class NoQueue:
    """An engine that holds nothing, since no case was started."""

    def held(self) -> dict[str, int]:
        """Nothing."""
        return {}

    def forget(self, case_id: str, runs: int) -> None:
        """There is nothing to forget."""


def expire(folder: Path, url: str, sessions: int) -> dict[str, Any]:
    """Make the sessions, let a day pass for most of them, and let one round of housekeeping end them."""
    blobs = LocalBlobs(folder / "blobs")
    with closing(SqlCaseStore(url)) as store:
        every = [_session(store, blobs, number, folder) for number in range(sessions)]
        fresh = set(every[49::50])
        _let_a_day_pass(url, [one for one in every if one not in fresh])
        queue: Any = NoQueue()
        lifecycle = CaseLifecycle(store, blobs, queue, sweep_seconds=5.0)
        ended: list[tuple[str, str]] = []
        loop = MaintenanceLoop(store, blobs, lifecycle, IDLE_HOURS, lambda *end: ended.append(end))
        before, begun = _files(folder / "blobs"), time.monotonic()
        asyncio.run(loop.run_once())
        seconds = time.monotonic() - begun
        left = {session.id for session in store.sessions()}
        return {
            "sessions": sessions,
            "expired": sum(reason == "expired" for _, reason in ended),
            "ended for another reason": sum(reason != "expired" for _, reason in ended),
            "in use and lost": len(fresh - left),
            "idle and left": len(left - fresh),
            "files before": before,
            "files left": _files(folder / "blobs"),
            "seconds": round(seconds, 1),
            "sessions a second": round(len(ended) / seconds, 1),
        }


def _let_a_day_pass(url: str, sessions: list[str]) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        change = text("UPDATE sessions SET seen_at = seen_at - :day, created_at = created_at - :day WHERE id = :id")
        connection.execute(change, [{"id": one, "day": 2 * IDLE_HOURS * 3600} for one in sessions])
    engine.dispose()


def _session(store: SqlCaseStore, blobs: LocalBlobs, number: int, folder: Path) -> str:
    session = store.create_session(token_hash(new_token()), "local").id
    if number % 10 == 0:
        case = store.create_case(session)
        scan, content = folder / "scan", b"voxels of " + case.id.encode()
        scan.write_bytes(content)
        digest, key = hashlib.sha256(content).hexdigest(), f"cases/{case.id}/series/t1c-1.nii"
        blobs.put_file(key, scan, digest)
        store.put_series(case.id, SeriesRecord(MRSequence.T1C, "t1c", key, len(content), digest))
    return session


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def main() -> None:
    """Print the figures; fails if a session in use was ended or an idle one stayed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--database", default="sqlite")
    chosen = parser.parse_args()
    print(machine())
    with database(chosen.database) as url, tempfile.TemporaryDirectory(prefix="hope-expiry-") as name:
        folder = Path(name)
        result = expire(folder, f"sqlite:///{folder / 'hope.sqlite'}" if url == "sqlite" else url, chosen.sessions)
    for what, value in result.items():
        print(f"{what:<26}{value}")
    sys.exit(1 if result["in use and lost"] or result["idle and left"] or result["files left"] else 0)


if __name__ == "__main__":
    main()
