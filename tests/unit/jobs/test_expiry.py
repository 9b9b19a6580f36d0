"""The short form of benchmarks/platform_expiry.py: many idle sessions end, and the ones in use stay."""

from __future__ import annotations

from pathlib import Path

from platform_expiry import expire


def test_idle_sessions_end_with_their_files_and_those_in_use_stay(tmp_path: Path) -> None:
    found = expire(tmp_path, f"sqlite:///{tmp_path / 'hope.sqlite'}", sessions=50)
    assert (found["expired"], found["ended for another reason"]) == (49, 0)
    assert (found["in use and lost"], found["idle and left"]) == (0, 0)
    assert (found["files before"], found["files left"]) == (5, 0)
