"""Short forms of the fault campaigns in benchmarks/: processes are killed, work goes on, nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from platform_fairness import fairness, kill_seconds
from platform_faults import campaign, one_recovery

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    """Where metadata and engine lie: SQLite files, or a fresh Postgres database."""
    return "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def test_kill_minus_nine_at_random_moments_loses_and_doubles_nothing(database: str, tmp_path: Path) -> None:
    result = campaign(tmp_path, pipelines=12, kills=4, database_url=database, seed=3)
    assert sum(result["kills"].values()) >= 2
    assert result["states"] == {"done": 12}
    assert result["finished twice"] == 0
    assert result["orphan processes"] == 0


@pytest.mark.alone
@pytest.mark.parametrize("role", ["worker", "up"])
def test_work_goes_on_within_ten_seconds(role: str, tmp_path: Path) -> None:
    assert one_recovery(tmp_path, role) < 10


@pytest.mark.alone
def test_a_killed_session_has_no_live_process_after_two_seconds(tmp_path: Path) -> None:
    assert max(kill_seconds(tmp_path, tries=2)) < 2


@pytest.mark.alone
def test_workers_share_a_stage_and_sessions_take_turns(
    postgres_url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    result = fairness(tmp_path, postgres_url, cases=6)
    record_property("fairness", result)
    # The first session's second case is already one turn behind; in order of arrival its worker's fourth case.
    assert result["queued last, begun by its worker as number"] <= 2
    shares = result["stages per process"]
    assert len(shares) == 2
    assert min(shares.values()) >= 0.2 * sum(shares.values())
