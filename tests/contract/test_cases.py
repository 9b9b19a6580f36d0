"""The SQL case store keeps its contract, on SQLite and on a Postgres that really runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from hope.adapters.cases_sql import SqlCaseStore
from hope.testing.contracts.case_store import CaseStoreContract


class SqlContract(CaseStoreContract):
    @pytest.fixture
    def store(self, url: str) -> Iterator[SqlCaseStore]:
        with closing(SqlCaseStore(url)) as store:
            yield store

    @pytest.fixture
    def reopen(self, url: str) -> Iterator[Callable[[], SqlCaseStore]]:
        with ExitStack() as opened:
            yield lambda: opened.enter_context(closing(SqlCaseStore(url)))


class TestSqlite(SqlContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'hope.sqlite'}"


class TestPostgres(SqlContract):
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url
