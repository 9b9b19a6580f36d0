"""The short form of the campaign of malformed inputs; `make attack` runs ten thousand."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import malformed
import pytest

TRIES = int(os.environ.get("ATTACK_TRIES", "36"))
"""`make attack` sets more."""


def test_malformed_inputs_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path(malformed.__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")]))
    found = asyncio.run(malformed.campaign(list(malformed.MAKERS), TRIES, seed=7))
    assert not found["wrong"], found["wrong"]
    assert sum(found["counts"].values()) == TRIES
    assert found["most_bytes"] < malformed.MEMORY_MIB * 2**20


def test_the_campaign_sees_what_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path(malformed.__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setitem(malformed.TASKS, "NIfTI", "no such task")
    monkeypatch.setitem(malformed.MAKERS, "NIfTI", lambda _: b"x")
    found = asyncio.run(malformed.campaign(["NIfTI"], 1, seed=7))
    assert found["counts"]["NIfTI", "refused"] == 1  # a task that is not there is refused in words
    monkeypatch.setitem(malformed.TASKS, "NIfTI", "preprocess")
    found = asyncio.run(malformed.campaign(["NIfTI"], 1, seed=7))
    assert found["wrong"], "a stage without a case fails by our fault, and that should be counted"
