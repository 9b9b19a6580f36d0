"""How many connections a gateway takes; what they may do is attacked in tests/attack."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from tests.unit.web.settings_for import settings_for

from hope.domain.errors import InputError
from hope.web import connections


@pytest.mark.parametrize(
    ("files", "most", "expected"), [(1024, 1000, 256), (65536, 1000, 1000), (-1, 77, 77), (64, 1000, 16)]
)
def test_connections_leave_files_for_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, most: int, expected: int
) -> None:
    limit = resource.RLIM_INFINITY if files < 0 else files
    monkeypatch.setattr(connections.resource, "getrlimit", lambda kind: (limit, limit))
    settings = settings_for(tmp_path, max_connections=most)
    assert connections.connection_limit(settings.platform) == expected


def test_too_few_files_are_refused_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections.resource, "getrlimit", lambda kind: (63, 63))
    with pytest.raises(InputError, match="limit of open files is too low") as refusal:
        connections.connection_limit(settings_for(tmp_path).platform)
    assert refusal.value.got == "63"
