"""Where the wait after a killed process goes: until a peer notices the death, and until the work is begun again."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

_SHORT = 8
"""So much of a process's id stands in the log."""


@dataclass(frozen=True)
class Death:
    """One process that was killed.

    Attributes:
        at: when, in seconds since 1970.
        role: ``gateway`` or ``worker``.
        executor: its id in the platform, empty if it died before it had one.
    """

    at: float
    role: str
    executor: str = ""


@dataclass(frozen=True)
class Wait:
    """What one stage waited for after the worker that did it was killed, in seconds.

    Attributes:
        total: from that worker's death until the stage is begun again.
        notice: from the death until the first peer has given its work back to the queues; None if no log says so.
        deaths: processes that were killed meanwhile.
    """

    total: float
    notice: float | None
    deaths: int


def executor_of(pid: int) -> str:
    """The platform's id of a process of this machine, from the lock that it holds; empty if it has none yet."""
    for entry in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            path = entry.readlink()
            if path.suffix == ".lock" and path.name.startswith("room-"):
                return path.stem.removeprefix("room-")
    return ""


def noticed(folder: Path) -> dict[str, float]:
    """Beginning of a dead process's id -> when the first peer said that it has taken up its work."""
    found: dict[str, float] = {}
    for path in folder.glob("*.log"):
        for line in path.read_text(errors="replace").splitlines():
            if "dead process(es) noticed" not in line:
                continue
            record = json.loads(line)
            at = datetime.fromisoformat(record["time"]).timestamp()
            for name in record["event"].rpartition(": ")[2].split():
                found[name] = min(at, found.get(name, at))
    return found


def attempts(folder: Path, database_url: str) -> list[tuple[str, str, str, float]]:
    """Case, stage, executor and beginning of every attempt that the store has kept, in order of beginning."""
    url = f"sqlite:///{folder / 'data' / 'hope.sqlite'}" if database_url == "sqlite" else database_url
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as connection:
            rows = connection.execute(
                sa.text("select case_id, stage, executor, begun_at from attempts order by begun_at")
            )
            return [(str(row[0]), str(row[1]), str(row[2]), float(row[3])) for row in rows]
    finally:
        engine.dispose()


def waits(
    begun: Sequence[tuple[str, str, str, float]], deaths: Sequence[Death], notices: Mapping[str, float]
) -> tuple[list[Wait], int]:
    """The wait of every stage that was begun again, and how many were begun again though their worker lived."""
    died = {death.executor: death.at for death in deaths if death.executor}
    last: dict[tuple[str, str], tuple[str, float]] = {}
    found, undead = [], 0
    for case, stage, executor, at in begun:
        if before := last.get((case, stage)):
            death = died.get(before[0])
            if death is None or death > at:
                undead += 1
            else:
                notice = notices.get(before[0][:_SHORT])
                others = sum(death < other.at < at for other in deaths)
                found.append(Wait(at - death, None if notice is None else notice - death, others))
        last[case, stage] = (executor, at)
    return found, undead


def breakdown(found: Sequence[Wait]) -> list[str]:
    """Lines: the usual parts, and the five longest waits with theirs."""
    if not found:
        return ["no stage was begun again"]
    noted = [wait for wait in found if wait.notice is not None]
    lines = [
        f"{len(found)}: median until noticed {statistics.median(w.notice or 0 for w in noted):.1f} s, from there "
        f"{statistics.median(w.total - (w.notice or 0) for w in noted):.1f} s"
        if noted
        else f"{len(found)}: no log says when a death was noticed"
    ]
    for wait in sorted(found, key=lambda w: -w.total)[:5]:
        notice = "-" if wait.notice is None else f"{wait.notice:.1f}"
        lines.append(f"{wait.total:.1f} s: noticed after {notice} s, {wait.deaths} deaths meanwhile")
    return lines


@contextlib.contextmanager
def burners(number: int) -> Iterator[None]:
    """Keep so many cores busy with loops of the same priority as everything else.

    Each in a session of its own, like the platform's processes: the kernel may share the cores among sessions first.
    """
    program = [sys.executable, "-c", "while True: pass"]
    loops = [subprocess.Popen(program, start_new_session=True) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
