"""SQLite files with the tables in them, for tests that use a store and do not test how its tables come about."""

from __future__ import annotations

from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hope.adapters.cases_sql import SqlCaseStore
from hope.contract.job import GoneError


@cache
def _content() -> bytes:
    with TemporaryDirectory() as place:
        path = Path(place) / "hope.sqlite"
        with closing(SqlCaseStore(f"sqlite:///{path}")) as store, suppress(GoneError):
            store.session("nobody")  # the first question makes the tables
        assert [left.name for left in Path(place).iterdir()] == [path.name], "a part of the database lies beside it"
        return path.read_bytes()


def sqlite_with_tables(path: Path) -> str:
    """URL of a new database that the migrations made, once for a process: they take ten times the copy."""
    path.write_bytes(_content())
    return f"sqlite:///{path}"
