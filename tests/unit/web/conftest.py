"""A gateway for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.unit.web.fakes import Gateway, make_gateway


class MakeGateway(Protocol):
    """Makes gateways that are closed when the test ends."""

    def __call__(self, **changes: Any) -> Gateway: ...


@pytest.fixture
def new_gateway(tmp_path: Path) -> Iterator[MakeGateway]:
    """Make gateways with other settings."""
    made: list[Gateway] = []

    def make(**changes: Any) -> Gateway:
        folder = tmp_path / f"gateway-{len(made)}"
        folder.mkdir()
        made.append(make_gateway(folder, **changes))
        return made[-1]

    yield make
    for gateway in made:
        gateway.store.close()


@pytest.fixture
def gateway(new_gateway: MakeGateway) -> Gateway:
    """A gateway on loopback with usual settings."""
    return new_gateway()


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"
