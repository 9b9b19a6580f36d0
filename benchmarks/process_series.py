"""Descriptors, threads and memory of a process over time, and whether they are flat."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import sqlalchemy as sa

MOST_MORE = 2
"""So many descriptors, threads or connections more are within what comes and goes."""


@dataclass(frozen=True)
class Sample:
    """One look at a process.

    Attributes:
        at: seconds since the beginning.
        descriptors, threads: of the process itself.
        rss_mib, pss_mib: resident memory; shared pages whole, and by the share of it that is this process's.
        children: processes that it has started and that live.
        connections: to the database, of all processes.
        database_mib, store_mib: size of the database, and of the files of cases.
        rows: of all tables together, the engine's too.
    """

    at: float
    descriptors: int
    threads: int
    rss_mib: float
    pss_mib: float
    children: int = 0
    connections: int = 0
    database_mib: float = 0.0
    store_mib: float = 0.0
    rows: int = 0

    def line(self) -> str:
        """The figures as a row of the table."""
        values = [getattr(self, field.name) for field in fields(self)]
        return " ".join(f"{value:>12.1f}" if isinstance(value, float) else f"{value:>12}" for value in values)


HEAD = " ".join(f"{field.name:>12}" for field in fields(Sample))


def look(pid: int, at: float, url: str = "", folder: Path | None = None) -> Sample:
    """Look at a process; at its database and data directory too where they are given.

    Args:
        pid: of the process.
        at: seconds since the beginning.
        url: of a Postgres database, or empty.
        folder: the data directory.
    """
    memory = {line.split(":")[0]: line.split()[1] for line in _read(pid, "smaps_rollup").splitlines()[1:]}
    status = dict(line.split(":", 1) for line in _read(pid, "status").splitlines())
    connections, size, rows = _postgres(url) if url else _sqlite(folder) if folder else (0, 0.0, 0)
    return Sample(
        at,
        len(list(Path(f"/proc/{pid}/fd").iterdir())),
        int(status["Threads"]),
        int(memory["Rss"]) / 1024,
        int(memory["Pss"]) / 1024,
        len(_read(pid, f"task/{pid}/children").split()),
        connections,
        size,
        _mib(folder / "blobs") if folder else 0.0,
        rows,
    )


def _read(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8")


def _mib(folder: Path, pattern: str = "*") -> float:
    size = 0
    for place, _, names in os.walk(folder):  # which passes over folders that are deleted meanwhile
        for name in fnmatch.filter(names, pattern):
            with contextlib.suppress(FileNotFoundError):
                size += Path(place, name).stat().st_size
    return size / 2**20


def _postgres(url: str) -> tuple[int, float, int]:
    """Connections but for this one, MiB, and rows."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        known = sa.text("select count(*) from pg_stat_activity where datname = current_database()")
        connections = connection.execute(known).scalar_one() - 1
        size = connection.execute(sa.text("select pg_database_size(current_database())")).scalar_one() / 2**20
        tables = sa.text(
            "select quote_ident(schemaname) || '.' || quote_ident(tablename) from pg_tables"
            " where schemaname not in ('pg_catalog', 'information_schema')"
        )
        counts = rows_of(connection, list(connection.execute(tables).scalars()))
    return connections, size, sum(counts.values())


def _sqlite(folder: Path | None) -> tuple[int, float, int]:
    if folder is None:
        return 0, 0.0, 0
    rows = 0
    for path in folder.glob("*.sqlite"):
        engine = sa.create_engine(f"sqlite:///file:{path}?mode=ro&uri=true", poolclass=sa.NullPool)
        with engine.connect() as connection:
            tables = sa.text("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")
            rows += sum(rows_of(connection, list(connection.execute(tables).scalars())).values())
    return 0, _mib(folder, "*.sqlite*"), rows


def rows_of(connection: sa.Connection, tables: Sequence[str]) -> dict[str, int]:
    """How many rows each table has."""
    return {table: connection.execute(sa.text(f"select count(*) from {table}")).scalar_one() for table in tables}  # noqa: S608


def slope(samples: Sequence[Sample], name: str) -> float:
    """What a figure gains in a second, by least squares."""
    if len(samples) < 2:
        return 0.0
    at = [sample.at for sample in samples]
    return statistics.linear_regression(at, [float(getattr(sample, name)) for sample in samples]).slope


def growth(samples: Sequence[Sample], *, day_seconds: float, memory_mib: float, size_mib: float) -> list[str]:
    """What is not flat, in words; nothing if all is.

    The first quarter is left out: pools fill then. Descriptors, threads and connections: the median of the last quarter
    is at most ``MOST_MORE`` above that of the second. Memory (PSS), database, store: the slope over the last three.

    Args:
        samples: of one process, in order.
        day_seconds: how long a simulated day takes.
        memory_mib: most that memory may gain in such a day.
        size_mib: the same of database and store.
    """
    quarter = len(samples) // 4
    if quarter < 2:
        return ["there are too few samples to tell"]
    later = samples[quarter:]
    found = []
    for name in ("descriptors", "threads", "connections"):
        before, after = (
            statistics.median(getattr(one, name) for one in part)
            for part in (samples[quarter : 2 * quarter], samples[-quarter:])
        )
        if after > before + MOST_MORE:
            found.append(f"{name}: {before:g} in the second quarter, {after:g} in the last")
    for name, most in (("pss_mib", memory_mib), ("database_mib", size_mib), ("store_mib", size_mib)):
        gained = slope(later, name) * day_seconds
        if gained > most:
            found.append(f"{name}: {gained:.1f} MiB more a day, at most {most:g} are allowed")
    return found
