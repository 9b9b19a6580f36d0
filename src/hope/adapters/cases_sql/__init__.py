"""Metadata in SQL: SQLite in one file, or Postgres for many machines. The same statements for both."""

from __future__ import annotations

from hope.adapters.cases_sql.attempts import AttemptRows
from hope.adapters.cases_sql.cases import CaseRows
from hope.adapters.cases_sql.database import Database
from hope.adapters.cases_sql.files import FileRows
from hope.adapters.cases_sql.logbook import Logbook
from hope.adapters.cases_sql.scans import ScanRows
from hope.adapters.cases_sql.sessions import SessionRows
from hope.adapters.cases_sql.uploads import UploadRows

__all__ = ["SqlCaseStore"]


class SqlCaseStore(SessionRows, CaseRows, ScanRows, UploadRows, AttemptRows, FileRows, Logbook):
    """`hope.ports.CaseStore` on SQL. Connects, and makes or migrates its tables, when first used.

    Args:
        database_url: ``sqlite:///PATH`` or ``postgresql+psycopg://user:password@host/name``.

    Raises:
        InputError: if the URL is neither.
    """

    def __init__(self, database_url: str) -> None:
        self._db = Database(database_url)

    def close(self) -> None:
        """Give all connections back. A later call opens new ones."""
        self._db.close()
