"""Attacks: small inputs that must not cost other users memory, time, disk or an answer; `make attack` repeats them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this directory, so that ``-m attack`` chooses them."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.attack)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer, in processor time of this process, which a busy machine does not change."""
    begun = time.process_time()
    yield
    took = time.process_time() - begun
    assert took <= seconds, f"took {took:.2f} s, at most {seconds} s"
