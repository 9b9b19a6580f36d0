"""A job that is tried on this machine: what is refused before NVIDIA FLARE starts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from hope.domain.errors import InputError
from hope.federated import trying


def test_a_path_too_long_for_the_simulators_sockets_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr(trying, "kind_of_job", lambda job: "evaluate")
    with pytest.raises(InputError, match="too long for the simulator's sockets"):
        trying.try_job(tmp_path, [tmp_path], tmp_path / "out")
    assert not list(long.iterdir())
