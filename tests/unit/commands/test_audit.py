"""hope audit and hope token, as a person calls them, on a real database."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hope.adapters.cases_sql import SqlCaseStore
from hope.cli import main
from hope.domain.ids import new_id, reference_of, token_hash
from hope.jobs.audit_log import AuditLog
from hope.web.auth.api_tokens import ApiTokens


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with five entries."""
    path = tmp_path / "hope.sqlite"
    store = SqlCaseStore(f"sqlite:///{path}")
    log = AuditLog(store)
    log.record("local", "session.create", "session-one")
    for number in range(3):
        log.record("token:robot", "case.run", f"case-{number}")
    log.record("system", "session.kill", "session-one", "expired")
    store.close()
    return path


def hope(database: Path, *arguments: str) -> Result:
    environment = {"HOPE_DATA_DIR": str(database.parent), "HOPE_DATABASE_URL": f"sqlite:///{database}"}
    return CliRunner().invoke(main, ["audit", *arguments], env=environment)


def change(database: Path, statement: str) -> None:
    """Go past the store, as somebody with the file would; guards inside the database are taken away first."""
    connection = sqlite3.connect(database)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f'DROP TRIGGER "{name}"')
    table = next(
        name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if "audit" in name
    )
    changed = connection.execute(statement.format(table=table)).rowcount
    connection.commit()
    connection.close()
    assert changed


def head_of(result: Result) -> str:
    return next(line.split()[1] for line in result.output.splitlines() if line.startswith("head "))


def test_a_whole_log_is_said_with_count_and_head(database: Path) -> None:
    result = hope(database, "verify")
    assert result.exit_code == 0, result.output
    assert "ok: 5 entries" in result.output
    digest, _, number = head_of(result).partition(":")
    assert (len(digest), number) == (64, "5")
    assert "--head" in result.output
    again = hope(database, "verify", "--head", f"{digest}:{number}")
    assert again.exit_code == 0
    assert "noted entry 5 is in it" in again.output


@pytest.mark.parametrize(
    ("statement", "bad"),
    [
        ("UPDATE {table} SET action = 'case.view' WHERE number = 3", 3),
        ("UPDATE {table} SET at = at + 1 WHERE number = 1", 1),
        ("DELETE FROM {table} WHERE number = 2", 2),
        ("DELETE FROM {table} WHERE number = 1", 1),
    ],
)
def test_a_broken_log_names_the_first_bad_entry(database: Path, statement: str, bad: int) -> None:
    change(database, statement)
    result = hope(database, "verify")
    assert result.exit_code == 1
    assert f"BROKEN at entry {bad}:" in result.output
    assert result.stdout == ""


def test_a_log_that_was_cut_off_shows_against_a_noted_head(database: Path) -> None:
    head = head_of(hope(database, "verify"))
    change(database, "DELETE FROM {table} WHERE number >= 4")
    assert hope(database, "verify").exit_code == 0
    result = hope(database, "verify", "--head", head)
    assert result.exit_code == 1
    assert "cut off" in result.output


@pytest.mark.parametrize("head", ["x", "5", f"{'a' * 64}:0", f"{'a' * 63}:5", f"5:{'a' * 64}"])
def test_a_head_that_is_none_is_a_wrong_call(database: Path, head: str) -> None:
    result = hope(database, "verify", "--head", head)
    assert result.exit_code == 2
    assert "64 hex digits" in result.output


def test_a_missing_database_is_not_an_empty_log(tmp_path: Path) -> None:
    result = hope(tmp_path / "nowhere.sqlite", "verify")
    assert result.exit_code == 2
    assert "no database" in result.output
    assert not (tmp_path / "nowhere.sqlite").exists()


def test_show_lists_entries_without_ids(database: Path) -> None:
    result = hope(database, "show")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "4", "5"]
    assert "token:robot" in lines[1] and "case.run" in lines[1] and reference_of("case-0") in lines[1]
    assert "expired" in lines[4]
    assert "case-0" not in result.output
    assert len(hope(database, "show", "--after", "3").output.splitlines()) == 2
    entries = [json.loads(line) for line in hope(database, "show", "--json", "--after", "1").output.splitlines()]
    assert [entry["number"] for entry in entries] == [2, 3, 4, 5]
    assert entries[1]["previous"] == entries[0]["hash"]


# --- hope token


def test_a_token_is_printed_once_and_its_line_goes_to_stderr() -> None:
    result = CliRunner().invoke(main, ["token", "robot"])
    assert result.exit_code == 0
    secret = result.stdout.strip()
    assert secret.startswith("hope_")
    assert f"robot {token_hash(secret)}" in result.stderr
    assert secret not in result.stderr


def test_a_tokens_file_is_made_private_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    first = CliRunner().invoke(main, ["token", "robot", "--file", str(path)]).stdout.strip()
    second = CliRunner().invoke(main, ["token", "reader", "--file", str(path)]).stdout.strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    tokens = ApiTokens(path)
    assert (tokens.name_of(first), tokens.name_of(second)) == ("robot", "reader")
    assert first not in path.read_text()


def test_an_open_tokens_file_or_an_odd_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.touch(mode=0o600)
    path.chmod(0o644)
    result = CliRunner().invoke(main, ["token", "robot", "--file", str(path)])
    assert result.exit_code == 2
    assert "0644" in result.output
    assert path.read_text() == ""
    assert CliRunner().invoke(main, ["token", "two words"]).exit_code == 2
    assert CliRunner().invoke(main, ["token", "robot", "--file", str(tmp_path / "no" / "where")]).exit_code == 2


def test_both_commands_start_without_heavy_libraries() -> None:
    program = (
        "import sys\nfrom hope.cli import main\n"
        "try:\n    main(['token', 'robot'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "sys.exit(str([name for name in ('torch', 'fastapi', 'dbos', 'scipy') if name in sys.modules] or '') or 0)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert new_id() not in run.stdout
