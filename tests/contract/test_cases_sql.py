"""What only the SQL case store promises: its schema, its files, and many processes at once."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random
from unittest.mock import Mock

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, text
from tests.servers import free_port

import hope.adapters.cases_sql as package
from hope.adapters.cases_sql import SqlCaseStore
from hope.adapters.cases_sql import sessions as sessions_module
from hope.adapters.cases_sql.database import Database
from hope.adapters.cases_sql.tables import SCHEMA_VERSION, metadata
from hope.contract.job import CaseState, EventKind
from hope.contract.options import RunOptions
from hope.contract.outputs import OutputFile, Role
from hope.contract.stages import STAGES
from hope.domain.audit import verify
from hope.domain.errors import InputError, OutputError
from hope.domain.ids import new_token, reference_of, token_hash
from hope.testing.contracts.factories import (
    EXECUTOR,
    a_case,
    a_file,
    a_run,
    a_scan,
    a_session,
    an_attempt,
    done,
    job_of,
)

Open = Callable[[], SqlCaseStore]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "hope.sqlite"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, path: Path) -> str:
    return f"sqlite:///{path}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def opened() -> Iterator[Callable[[str], SqlCaseStore]]:
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(closing(SqlCaseStore(url)))


@pytest.fixture
def store(url: str, opened: Callable[[str], SqlCaseStore]) -> SqlCaseStore:
    return opened(url)


@pytest.fixture
def sqlite(path: Path, opened: Callable[[str], SqlCaseStore]) -> SqlCaseStore:
    return opened(f"sqlite:///{path}")


# --- the schema


def test_migrations_make_the_tables_that_the_code_means(store: SqlCaseStore, url: str) -> None:
    store.check()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []
    engine.dispose()


def test_the_newest_migration_is_the_version_that_the_code_expects() -> None:
    folder = Path(str(package.__file__)).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_heads() == [SCHEMA_VERSION]


def test_a_newer_schema_is_refused(store: SqlCaseStore, url: str, opened: Callable[[str], SqlCaseStore]) -> None:
    store.check()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(InputError, match="got schema 9999"):
        opened(url).check()


def test_rows_of_an_earlier_version_are_read(url: str, opened: Callable[[str], SqlCaseStore]) -> None:
    """A database of schema 0001 with a finished case is brought up to date; options and files mean what they meant."""
    with closing(SqlCaseStore(url)) as store:
        case = done(store, a_run(store))
    engine = create_engine(url)
    old = {"model": "m", "harmonize": True, "preprocessed": None, "postprocess": False, "priority": 7}
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE artifacts DROP COLUMN output"))
        for column in ("keys_made", "label", "correction"):
            connection.execute(text(f"ALTER TABLE cases DROP COLUMN {column}"))
        connection.execute(text("DROP TABLE uploads"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        connection.execute(text("UPDATE cases SET choice = :choice"), {"choice": json.dumps(old)})
        for name, public in (("x-t1c-view.nii.gz", True), ("aligned-t1c.npy", False)):
            connection.execute(
                text(
                    "INSERT INTO artifacts"
                    " (case_id, stage, name, version, kind, blob_key, bytes, sha256, public, measured)"
                    " VALUES (:case_id, 'postprocess', :name, 0, 'view', :key, 1, :sha, :public, '{}')"
                ),
                {"case_id": case.id, "name": name, "key": f"k/{name}", "sha": "a" * 64, "public": public},
            )
    engine.dispose()
    store = opened(url)
    assert store.case(case.id).choice == RunOptions(model="m", harmonize=True, postprocess=False)
    outputs = {file.name: file.output for file in store.artifacts(case.id)}
    assert outputs["x-t1c-view.nii.gz"] == OutputFile.of(Role.VIEW, sequence="t1c")
    assert outputs["aligned-t1c.npy"] is None


def test_corrections_of_an_earlier_version_are_current(url: str, opened: Callable[[str], SqlCaseStore]) -> None:
    """A database of schema 0004 with corrections in it: the newest one is the case's, and no case has a name."""
    with closing(SqlCaseStore(url)) as store:
        corrected, plain = done(store, a_run(store)), done(store, a_run(store))
        for volume in (1.0, 2.0):
            volumes = {"WT": {"ml": volume}}
            store.add_segmentation(corrected.id, a_file("v{version}", None, public=True), {"volumes_ml": volumes})
    engine = create_engine(url)
    with engine.begin() as connection:
        for column in ("label", "correction"):
            connection.execute(text(f"ALTER TABLE cases DROP COLUMN {column}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
    engine.dispose()
    store = opened(url)
    found = store.case(corrected.id)
    assert (found.version, found.correction["volumes_ml"], found.label) == (2, {"WT": {"ml": 2.0}}, "")
    assert store.case(plain.id) == plain


def test_processes_make_the_schema_at_once(url: str) -> None:
    lines = in_processes(url, "store.append_audit('local', 'start', str(number), 'ok')", count=4)
    assert len(lines) == 4
    with closing(SqlCaseStore(url)) as store:
        assert verify(store.audit()).entries == 4


# --- many processes

PROLOGUE = """
import json, os, sys, time
from hope.adapters.cases_sql import SqlCaseStore
from hope.contract.job import *
from hope.contract.options import *
from hope.contract.stages import *
url, number = sys.argv[1], int(sys.argv[2])
store = SqlCaseStore(url)
"""


def in_processes(url: str, body: str, count: int, *arguments: str) -> list[str]:
    """Run code in processes that all start together; their printed lines."""
    program = f"{PROLOGUE}sys.stdin.readline()\n{body}\nprint('end')\n"
    command = [sys.executable, "-c", program, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([*command, str(n), *arguments], **pipes) for n in range(count)]  # type: ignore[call-overload]
    lines = []
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        lines.append(out.removesuffix("end\n"))
    return lines


def test_processes_compete_for_stages(store: SqlCaseStore, url: str) -> None:
    """Eight processes do the same 5 pipelines: each stage counts once, the audit chain holds, events are complete."""
    cases = [a_run(store) for _ in range(5)]
    body = """
jobs = json.loads(sys.argv[3])
for case_id, session_id in jobs:
    for stage in STAGES:
        try:
            attempt = store.begin_attempt(StageJob(case_id, session_id, 1, stage), f"w{number}")
            store.heartbeat(attempt, 0.5, f"by {number}")
            file = Artifact(f"{stage}", "", f"k/{number}", 1, "0" * 64, stage)
            # Who loses one stage goes on to the next at once, so stages end in any order: only the last tells a result.
            store.commit_attempt(attempt, [file], {"by": number} if stage == STAGES[-1] else None)
            store.append_audit("system", "stage", f"{case_id[:5]}{stage}", "ok")
        except FencedError:
            pass
"""
    in_processes(url, body, 8, json.dumps([[case.id, case.session_id] for case in cases]))
    for case in cases:
        current = store.case(case.id)
        assert current.state is CaseState.DONE
        files = store.artifacts(case.id)
        assert len(files) == 4
        assert current.result == {"by": int(files[-1].blob_key.removeprefix("k/"))}
        reported = [e for e in store.events([case.id], 0, 10_000) if e.kind is EventKind.STAGE]
        assert Counter(e.data["stage"] for e in reported if e.data["state"] == "done") == dict.fromkeys(STAGES, 1)
    entries = store.audit()
    assert verify(entries).whole
    assert Counter(e.target for e in entries) == {f"{c.id[:5]}{s.stage}": 1 for c in cases for s in c.stages}


def test_killed_writers_leave_whole_transactions(store: SqlCaseStore, url: str) -> None:
    """kill -9 in the middle of writing: others go on at once, and nothing is half there."""
    case = a_run(store)
    program = f"""{PROLOGUE}
print("up", flush=True)
while True:
    attempt = store.begin_attempt(StageJob(sys.argv[3], sys.argv[4], 1, Stage.PREPROCESS), f"w{{number}}")
    store.append_audit("system", "stage", attempt.token[:8], "ok")
    try:
        store.heartbeat(attempt, attempt.number / 100 % 1, str(attempt.number))
    except FencedError:
        pass
"""
    random = Random(5)
    for turn in range(4):
        command = [sys.executable, "-c", program, url, str(turn), case.id, case.session_id]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            for _ in range(random.randrange(20)):
                store.append_audit("local", "beside", "x", "ok")
            process.kill()
        store.append_audit("local", "after", "x", "ok")
    assert verify(store.audit()).whole
    begun = [e for e in store.events([case.id], 0, 10**6) if e.kind is EventKind.STAGE]
    assert len(begun) == store.case(case.id).stages[0].attempts
    store.commit_attempt(an_attempt(store, case), [a_file("x")])


# --- nothing stays behind


def everything_of(path: Path) -> bytes:
    """All bytes of the database's files."""
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def a_busy_session(store: SqlCaseStore, random: Random) -> tuple[str, list[str]]:
    """A session with all kinds of rows of many sizes, and everything in it that must not stay."""
    token, marks = token_hash(new_token()), [secrets.token_hex(8) for _ in range(6)]
    session = store.create_session(token, "local")
    store.update_session(session.id, notify={"webhook": f"https://example.org/{marks[0]}"})
    secret = [session.id, token, *marks]
    for _ in range(random.randint(1, 4)):
        case = a_case(store, session)
        store.put_series(case.id, a_scan(f"series-{marks[1]}", None))
        store.renew_lease(EXECUTOR, 600.0)
        queued = store.queue_case(case.id, case.choice, 100)
        for stage in queued.stages:
            attempt = store.begin_attempt(job_of(queued, stage.stage), EXECUTOR)
            for turn in range(random.randint(0, 6)):
                store.heartbeat(attempt, turn / 10, marks[2] + "m" * random.randint(0, 300))
            made = [a_file(f"{marks[3]}-{n}", stage.stage) for n in range(random.randint(0, 5))]
            store.commit_attempt(attempt, made, {marks[4]: "r" * random.randint(0, 9000)})
            secret.append(attempt.token)
        store.add_segmentation(case.id, a_file(marks[5], None), {"case": case.id})
        secret.append(case.id)
    return session.id, secret


def test_no_byte_of_a_deleted_session_stays_in_sqlite_files(sqlite: SqlCaseStore, path: Path) -> None:
    """Ids, tokens, messages, names and results are searched for after each of many deletions among living sessions."""
    random, living, buried = Random(7), {}, []
    for _ in range(16):
        session_id, secret = a_busy_session(sqlite, random)
        assert all(word.encode() in everything_of(path) for word in secret)
        living[session_id] = secret
        while len(living) > random.randint(1, 5):
            victim = random.choice(list(living))
            sqlite.close_session(victim)
            sqlite.delete_session_rows(victim)
            buried += living.pop(victim)
            content = everything_of(path)
            assert [word for word in buried if word.encode() in content] == []
            assert reference_of(victim).encode() in content
    assert buried
    assert [s.id for s in sqlite.sessions()] == list(living)


def test_no_byte_of_a_deleted_case_stays_in_sqlite_files(sqlite: SqlCaseStore, path: Path) -> None:
    session = a_session(sqlite)
    case, kept = done(sqlite, a_run(sqlite, session)), done(sqlite, a_run(sqlite, session))
    sqlite.delete_case(case.id)
    content = everything_of(path)
    assert case.id.encode() not in content
    assert kept.id.encode() in content


def test_who_finds_a_deletion_unfinished_finishes_it(
    sqlite: SqlCaseStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies between deleting and scrubbing leaves bytes; the next one to write takes them away."""
    case = done(sqlite, a_run(sqlite))
    with monkeypatch.context() as patch:
        patch.setattr(Database, "scrub", lambda _: None)
        sqlite.delete_session_rows(case.session_id)
    assert case.id.encode() in everything_of(path)
    with closing(SqlCaseStore(f"sqlite:///{path}")) as successor:
        successor.renew_lease("w", 1.0)
        assert case.id.encode() not in everything_of(path)


def test_a_reader_in_the_way_only_delays_the_scrubbing(
    sqlite: SqlCaseStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hope.adapters.cases_sql.database.SCRUB_SECONDS", 0.2)
    case = done(sqlite, a_run(sqlite))
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM cases").fetchone()
    sqlite.delete_session_rows(case.session_id)
    assert sqlite.cases(case.session_id) == []
    assert case.id.encode() in everything_of(path)
    reader.close()
    sqlite.renew_lease("w", 1.0)
    assert case.id.encode() not in everything_of(path)


def test_a_full_disk_only_delays_the_scrubbing(
    sqlite: SqlCaseStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite writes the file anew beside the old one, for which there may be no room."""
    monkeypatch.setattr("hope.adapters.cases_sql.database.SCRUB_SECONDS", 0.2)
    case = done(sqlite, a_run(sqlite))
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    def execute(statement: str) -> None:
        if statement == "VACUUM":
            raise full

    with monkeypatch.context() as patch:
        engine = Mock()
        engine.raw_connection().cursor().execute = execute
        patch.setattr(sqlite._db, "_engine", engine)
        sqlite.delete_session_rows(case.session_id)
    assert sqlite.cases(case.session_id) == []
    sqlite.renew_lease("w", 1.0)
    assert case.id.encode() not in everything_of(path)


def test_a_full_disk_does_not_lock_a_session_out(sqlite: SqlCaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or nobody could delete what fills it."""
    session = sqlite.create_session(token_hash("known"), "local")
    sqlite.update_session(session.id, left=True)

    def full(*_: object) -> None:
        raise OutputError("the database cannot be written")

    monkeypatch.setattr(sqlite, "_change", full)
    found = sqlite.session_of_token(token_hash("known"))
    assert found is not None and found.id == session.id


def test_nothing_of_a_deleted_session_can_be_selected(store: SqlCaseStore, url: str) -> None:
    """Every column of every table, on Postgres too."""
    session_id, secret = a_busy_session(store, Random(1))
    store.delete_session_rows(session_id)
    engine = create_engine(url)
    with engine.connect() as connection:
        content = repr([list(connection.execute(table.select())) for table in metadata.sorted_tables])
    engine.dispose()
    assert [word for word in secret if word in content] == []
    assert reference_of(session_id) in content


# --- cheap and private


@contextmanager
def statements() -> Iterator[list[str]]:
    """The SQL that is sent meanwhile."""
    sent: list[str] = []

    def note(_c: object, _k: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_a_session_costs_as_many_queries_as_a_case(store: SqlCaseStore) -> None:
    session = a_session(store)
    cases = [a_case(store, session) for _ in range(12)]
    with statements() as sent:
        store.case(cases[0].id)
        of_one = len([s for s in sent if s.startswith("SELECT")])
        sent.clear()
        assert len(store.cases(session.id)) == 12
        assert len([s for s in sent if s.startswith("SELECT")]) == of_one == 3


def test_a_session_in_use_is_seldom_written(store: SqlCaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    token = token_hash(new_token())
    session = store.create_session(token, "local")
    with statements() as sent:
        for _ in range(5):
            store.session_of_token(token)
    assert not [s for s in sent if "UPDATE" in s]
    monkeypatch.setattr(sessions_module, "SEEN_EVERY_SECONDS", 0.0)
    seen = store.session_of_token(token)
    assert seen is not None
    assert seen.seen_at > session.seen_at
    assert store.session(session.id) == seen


def test_the_clock_of_a_host_does_not_age_sessions_or_runs(
    postgres_url: str, opened: Callable[[str], SqlCaseStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, wall = opened(postgres_url), time.time
    monkeypatch.setattr(time, "time", lambda: wall() + 3600)
    session = a_session(store)
    left = store.update_session(session.id, left=True).left_at
    assert left is not None
    for moment in (session.created_at, session.seen_at, left, store.now()):
        assert abs(moment - wall()) < 600
    case = a_run(store, session)
    assert all(abs(event.at - wall()) < 600 for event in store.events([case.id], 0)), "they are told by that moment"
    assert store.cases_in_work(600) == []
    monkeypatch.setattr(time, "time", lambda: wall() + 7200)
    assert store.cases_in_work(600) == []


def test_when_a_session_was_seen_is_told_by_the_clock_of_the_database(
    postgres_url: str, opened: Callable[[str], SqlCaseStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, wall, token = opened(postgres_url), time.time, token_hash(new_token())
    session = store.create_session(token, "local")
    monkeypatch.setattr(time, "time", lambda: wall() + 3600)
    with statements() as sent:
        assert store.session_of_token(token) == session
    assert not [s for s in sent if "UPDATE" in s], "a clock that is ahead makes each request a write"
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE sessions SET seen_at = seen_at - 3600"))
    engine.dispose()
    # By this clock the session was seen just now; it was an hour ago.
    monkeypatch.setattr(time, "time", lambda: wall() - 3600)
    seen = store.session_of_token(token)
    assert seen is not None and seen.seen_at >= session.seen_at


def test_sqlite_files_are_private(sqlite: SqlCaseStore, path: Path) -> None:
    before = os.umask(0)
    try:
        a_session(sqlite)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
        assert len(list(path.parent.iterdir())) == 3
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    "url", ["", "hope.sqlite", "sqlite://", "sqlite:///:memory:", "mysql://u:geheim@h/d", "http://x"]
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(InputError) as caught:
        SqlCaseStore(url)
    assert "geheim" not in str(caught.value)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be opened"):
        SqlCaseStore(f"sqlite:///{tmp_path / 'file' / 'hope.sqlite'}")


def test_a_server_that_is_not_there_is_one_sentence(opened: Callable[[str], SqlCaseStore]) -> None:
    store = opened(f"postgresql+psycopg://user:geheim@127.0.0.1:{free_port()}/none")
    with pytest.raises(ConnectionError, match="does not answer") as caught:
        store.check()
    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_errors_of_the_database_show_no_values(store: SqlCaseStore) -> None:
    """The library would print the parameters of a failed statement, ids among them."""
    token = token_hash(new_token())
    store.create_session(token, "local")
    with pytest.raises(Exception, match=r"UNIQUE|unique") as caught:
        store.create_session(token, "local")
    assert token not in str(caught.value).split("DETAIL")[0]


def test_scrubbing_that_fails_does_not_fail_the_write_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever takes a committed write for refused deletes the files that its rows name."""
    store = SqlCaseStore(f"sqlite:///{tmp_path / 'hope.sqlite'}")

    def broken(*_: object, **__: object) -> bool:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Database, "_scrubbed", broken)
    session = store.create_session("0" * 64, "local")
    assert [one.id for one in store.sessions()] == [session.id]
    assert "trying again" in caplog.text
