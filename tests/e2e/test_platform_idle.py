"""A platform that has nothing to do costs next to nothing, and takes work up at once out of that rest."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from platform_idle import idle

pytestmark = [pytest.mark.alone, pytest.mark.slow]

MOST_SHARE = 0.03
"""Of a core. Measured: below 1 % (docs/benchmarks.md); polling every 0.1 s took 6 to 15 %."""

MOST_PICKUP_SECONDS = 1.5
"""A queue at rest is looked at every 5 s, so a ring that is not heard takes 2.5 s on average."""


def test_rest_is_cheap_and_ends_at_once(
    postgres_url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Two platforms rest side by side, on SQLite and on Postgres: what counts is the processor's time of each."""
    places = {"sqlite": "sqlite", "postgres": postgres_url}
    with ThreadPoolExecutor(len(places)) as pool:
        resting = {name: pool.submit(idle, tmp_path / name, url, 10.0, 3) for name, url in places.items()}
    for name, result in resting.items():
        found = result.result()
        record_property(f"idle on {name}", found)
        assert {process: share for process, share in found.shares.items() if share > MOST_SHARE} == {}, name
        assert statistics.median(found.pickup_seconds) < MOST_PICKUP_SECONDS, name
