"""Databases of every schema that there was, with rows in them, are brought up to date and go on being used.

The tables of an earlier schema are made by its own migrations. Their rows are those of a platform at work, less what
that schema had no place for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine, insert, select, text

import hope.adapters.cases_sql as package
from hope.adapters.cases_sql import SqlCaseStore
from hope.adapters.cases_sql.tables import SCHEMA_VERSION, metadata
from hope.contract.job import CaseRecord, CaseState
from hope.contract.stages import Stage
from hope.domain.audit import verify
from hope.domain.ids import reference_of
from hope.testing.contracts.factories import EXECUTOR, a_case, a_file, a_run, a_session, an_attempt, done

FOLDER = Path(str(package.__file__)).parent / "migrations"
TIED_TO_SESSIONS = ("sessions", "cases", "series", "stages", "artifacts", "events")
EARLIER = sorted(step.revision for step in ScriptDirectory(str(FOLDER)).walk_revisions())[:-1]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return (
        f"sqlite:///{tmp_path / 'old.sqlite'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    )


@pytest.fixture
def opened() -> Iterator[Callable[[str], SqlCaseStore]]:
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(closing(SqlCaseStore(url)))


def at_work(store: SqlCaseStore) -> dict[str, CaseRecord]:
    """A platform in the middle of everything: name -> case."""
    session = a_session(store)
    cases = {"done": done(store, a_run(store, session)), "queued": a_run(store, session)}
    cases["running"] = a_run(store, session)
    an_attempt(store, cases["running"])
    cases["corrected"] = done(store, a_run(store, session))
    for volume in (1.0, 2.0):
        correction = {"volumes_ml": {"WT": {"ml": volume}}}
        store.add_segmentation(cases["corrected"].id, a_file("v{version}", None, public=True), correction)
    cases["cancelled"] = a_run(store, session)
    store.cancel_case(cases["cancelled"].id, cases["cancelled"].run)
    gone = a_case(store)
    store.close_session(gone.session_id)
    store.delete_session_rows(gone.session_id)
    store.append_audit("local", "case.run", cases["done"].id, "ok")
    store.append_audit("local", "session.end", gone.session_id, "ok")
    return {name: store.case(case.id) for name, case in cases.items()}


def laid_down(revision: str, source: str, url: str) -> None:
    """The rows of one database in another one of an earlier schema."""
    read, write = create_engine(source), create_engine(url)
    try:
        with read.connect() as there, write.begin() as here:
            config = Config()
            config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
            config.attributes["connection"] = here
            command.upgrade(config, revision)
            earlier = MetaData()
            earlier.reflect(here)
            for table in metadata.sorted_tables:
                if (old := earlier.tables.get(table.name)) is None:
                    continue
                columns = [column for column in table.columns if column.name in old.columns]
                rows = [dict(row) for row in there.execute(select(*columns)).mappings()]
                if rows:
                    here.execute(insert(table), rows)
            if here.dialect.name == "postgresql":  # as many numbers are given as there are rows with one
                here.execute(text("SELECT setval(pg_get_serial_sequence('events', 'number'), max(number)) FROM events"))
    finally:
        read.dispose()
        write.dispose()


@pytest.mark.parametrize("revision", EARLIER)
def test_a_database_of_an_earlier_schema_with_rows_is_used_on(
    revision: str, url: str, tmp_path: Path, opened: Callable[[str], SqlCaseStore]
) -> None:
    source = f"sqlite:///{tmp_path / 'now.sqlite'}"
    now = opened(source)
    cases = at_work(now)
    laid_down(revision, source, url)
    store = opened(url)
    assert {name: store.case(case.id) for name, case in cases.items()} == cases
    assert {name: case.state for name, case in cases.items()} == {
        "done": CaseState.DONE,
        "queued": CaseState.QUEUED,
        "running": CaseState.RUNNING,
        "corrected": CaseState.DONE,
        "cancelled": CaseState.CANCELLED,
    }
    assert store.case(cases["corrected"].id).version == 2
    for case in cases.values():
        assert [entry.name for entry in store.artifacts(case.id)] == [entry.name for entry in now.artifacts(case.id)]
        assert store.events([case.id], 0, 1000) == now.events([case.id], 0, 1000)
    store.append_audit("local", "case.run", cases["queued"].id, "ok")
    assert verify(store.audit()).entries == verify(now.audit()).entries + 1 == 3

    # Work goes on: a case that waited is done, and a stage whose worker ended with the earlier version is begun anew.
    store.renew_lease(EXECUTOR, 600.0)
    assert done(store, cases["queued"]).state is CaseState.DONE
    assert an_attempt(store, cases["running"], Stage.PREPROCESS).number == 2

    # A deletion leaves nothing but its tombstone, and the tables are those that the code means.
    session = cases["done"].session_id
    store.close_session(session)
    store.delete_session_rows(session)
    engine = create_engine(url)
    with engine.connect() as connection:
        left = {name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar() for name in TIED_TO_SESSIONS}  # noqa: S608
        buried = set(connection.execute(text("SELECT reference FROM tombstones")).scalars())
        same = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(same, metadata) == []
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == SCHEMA_VERSION
    engine.dispose()
    assert left == dict.fromkeys(TIED_TO_SESSIONS, 0)
    assert reference_of(session) in buried
