"""Short forms of the fault campaigns in benchmarks/: processes are killed, work goes on, nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fault_waits import Death, Wait, waits
from platform_fairness import fairness, kill_seconds
from platform_faults import campaign, one_recovery, recoveries, summary, takeovers

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


@pytest.mark.parametrize("role", ["worker", "gateway", "up"])
def test_work_goes_on_long_before_a_lease_expires(role: str, tmp_path: Path) -> None:
    assert one_recovery(tmp_path, role, lease_seconds=600.0) < 60


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


def test_waits_are_counted_from_the_death_that_caused_them() -> None:
    """The first worker's death after a stage was begun; for a gateway a stage that nobody had queued before it died."""

    def event(at: float, stage: str, state: str) -> dict[str, object]:
        return {"kind": "stage", "run": 1, "stage": stage, "state": state, "at": at}

    case = [
        event(1.0, "preprocess", "running"),
        event(2.0, "preprocess", "done"),
        event(8.0, "harmonize", "running"),
        event(15.0, "harmonize", "running"),
        event(16.0, "harmonize", "done"),
    ]
    kills = [Death(1.5, "gateway"), *(Death(at, "worker") for at in (7.0, 9.0, 12.0)), Death(17.0, "gateway")]
    assert recoveries(case, kills) == [6.0]
    assert takeovers([case], kills) == [6.5]
    assert summary([3.0, 1.0, 2.0, 10.0]) == "4: median 2.5, p95 10.0, longest 10.0 s"


def test_the_parts_of_a_wait_belong_to_the_worker_that_did_the_stage() -> None:
    begun = [("c", "segment", "first-one", 1.0), ("c", "segment", "other", 9.0), ("c", "segment", "third", 10.0)]
    deaths = [Death(2.0, "worker", "unconcerned"), Death(3.0, "worker", "first-one"), Death(4.0, "gateway", "g")]
    found, undead = waits(begun, deaths, {"first-on": 8.0})
    assert found == [Wait(total=6.0, notice=5.0, deaths=1)]
    assert undead == 1  # "other" had not died when "third" began
