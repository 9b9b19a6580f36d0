"""What the endpoint needs of an object store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol


class Listed(Protocol):
    """One object below the location that was listed."""

    @property
    def key(self) -> str:
        """Relative to that location."""
        ...

    @property
    def bytes(self) -> int:
        """Its size."""
        ...


class Store(Protocol):
    """Objects under ``s3://bucket/key``; see `hope.adapters.proxy_bucket.Objects`. All calls block."""

    def list(self, location: str) -> Iterator[Listed]:
        """What lies below a location."""
        ...

    def upload(self, path: Path, to: str, sha256: str) -> None:
        """Store a file."""
        ...

    def download(self, location: str, to: Path, sha256: str | None, max_bytes: int | None = None) -> str:
        """Bring an object to a file; returns its hash. DamagedError if it is missing or not what was expected."""
        ...

    def put_json(self, location: str, content: Mapping[str, Any]) -> None:
        """Store JSON."""
        ...

    def put_new_json(self, location: str, content: Mapping[str, Any]) -> bool:
        """Store JSON unless something is there already; returns whether it was stored."""
        ...

    def get_json(self, location: str) -> dict[str, Any] | None:
        """What `put_json` stored; None if it is not there. DamagedError if it is something else."""
        ...

    def delete(self, location: str) -> None:
        """Delete one object; missing is fine."""
        ...

    def delete_prefix(self, location: str) -> tuple[int, int]:
        """Delete all below a location; missing is fine."""
        ...
