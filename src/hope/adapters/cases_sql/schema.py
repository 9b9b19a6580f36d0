"""The schema on first use: nothing to do if it is there, else Alembic, one process at a time."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from hope.adapters.cases_sql.tables import SCHEMA_VERSION
from hope.domain.errors import InputError


def bring_up_to_date(connection: Connection, advisory_lock: int | None) -> None:
    """Make or migrate the tables within the connection's transaction, which on SQLite keeps other writers out.

    Args:
        connection: in a transaction that may write.
        advisory_lock: on Postgres, what keeps other processes out.

    Raises:
        InputError: if the database was made by a newer version of the software.
    """
    if _version(connection) == SCHEMA_VERSION:
        return
    if advisory_lock is not None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": advisory_lock})
    # Alembic takes a moment to load, and most starts find the schema there.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise InputError(
            "the database cannot be used by this version of hope",
            expected=f"schema {SCHEMA_VERSION} or older",
            got=f"schema {_version(connection)}",
            fix="install the newer version that made it",
        ) from error


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return str(version) if version is not None else None
