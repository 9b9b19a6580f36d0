"""Where a benchmark keeps metadata: SQLite files, a Postgres cluster of its own, or one that is named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def database(name: str) -> Iterator[str]:
    """``sqlite`` and URLs as they are; ``postgres`` starts a private cluster and yields a fresh database's URL."""
    if name != "postgres":
        yield name
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.servers import postgres_server

    with postgres_server() as server, server.database() as url:
        yield url
