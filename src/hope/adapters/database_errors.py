"""Errors of the database's libraries -> the two that everybody knows: it does not answer, or the disk is full."""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy.engine import URL

from hope.domain.errors import FullError

_LITTLE = 2**20
"""With fewer bytes free than this, an error of SQLite that names no reason comes from the full disk."""

_VAGUE = ("disk I/O error", "unable to open database file")


def says_full(error: Exception) -> bool:
    """Whether a statement failed because the disk is full, by its own words."""
    reason = str(getattr(error, "orig", None) or error)
    return "disk is full" in reason or "No space left" in reason


class NoConnectionLeftError(ConnectionError):
    """Postgres runs and has given all the connections that it may: other processes hold them."""


_NONE_LEFT = ("too many clients", "remaining connection slots", "too many connections")
"""What Postgres says of itself, of those kept for its administrator, and of a role or database with a limit."""


def worded(error: Exception, url: URL) -> FullError | ConnectionError:
    """Say in words of our own why a statement failed.

    Args:
        error: of SQLAlchemy.
        url: of the database.
    """
    reason = str(getattr(error, "orig", None) or "no free connection").strip().partition("\n")[0]
    if says_full(error) or (reason in _VAGUE and _is_full(url)):
        return FullError("the database cannot be written: the disk is full; free some space")
    if any(words in reason for words in _NONE_LEFT):
        return NoConnectionLeftError("Postgres gives no more connections: raise max_connections or run fewer processes")
    return ConnectionError(f"the database does not answer: {reason}")


def _is_full(url: URL) -> bool:
    if url.get_backend_name() != "sqlite" or not url.database:
        return False
    return shutil.disk_usage(Path(url.database).parent).free < _LITTLE
