"""The short form of `benchmarks/platform_flat.py`: event streams that are dropped leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from platform_flat import grown_by_streams, streams

pytestmark = pytest.mark.slow


@pytest.mark.alone
def test_a_hundred_dropped_event_streams_leave_nothing(postgres_url: str, tmp_path: Path) -> None:
    found = streams(tmp_path, postgres_url, connections=100, steps=2)
    assert len(found) == 4
    assert grown_by_streams(found) == []
