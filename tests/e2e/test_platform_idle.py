"""A platform that has nothing to do costs next to nothing, and takes work up at once out of that rest."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from platform_idle import idle

pytestmark = [pytest.mark.alone, pytest.mark.slow]

MOST_SHARE = 0.04
"""Of a core. Measured: 1 to 2 % (docs/benchmarks.md); polling every 0.1 s took 6 to 15 %."""

MOST_PICKUP_SECONDS = 1.5
"""A queue at rest is looked at every 5 s, so a ring that is not heard takes 2.5 s on average."""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_rest_is_cheap_and_ends_at_once(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    url = "sqlite" if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))

    found = idle(tmp_path, url, seconds=10.0, tries=3)

    record_property("idle", found)
    assert {name: share for name, share in found.shares.items() if share > MOST_SHARE} == {}
    assert statistics.median(found.pickup_seconds) < MOST_PICKUP_SECONDS
