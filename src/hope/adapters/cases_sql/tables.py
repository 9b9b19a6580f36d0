"""The tables, the same for SQLite and Postgres. Times are seconds since 1970; enumerations are stored as their words.

``migrations/`` makes them; a test holds that both agree.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA_VERSION = "0005"
"""The newest migration."""

metadata = MetaData()

# SQLite counts up only in a column of exactly this type.
Number = BigInteger().with_variant(Integer, "sqlite")


def _case_id(*, primary_key: bool = False) -> Column[str]:
    """The case a row belongs to: it cannot outlive the case, whatever order rows are deleted in."""
    owner = ForeignKey("cases.id", ondelete="CASCADE")
    return Column("case_id", String(64), owner, primary_key=primary_key, nullable=False)


sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("token_sha256", String(64), nullable=False, unique=True),
    Column("owner", String(200), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("close_with_page", Boolean, nullable=False),
    Column("notify", JSON, nullable=False),
    Column("left_at", Double),
    # Set together with the tombstone: the session is closed but its rows are still there.
    Column("closed_at", Double),
    # Numbers of deleted cases are not given again.
    Column("cases_made", Integer, nullable=False),
)

cases = Table(
    "cases",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("session_id", String(64), ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("run", Integer, nullable=False),
    Column("queued_at", Double),
    Column("choice", JSON, nullable=False),
    Column("problem", Text, nullable=False),
    Column("problem_is_ours", Boolean, nullable=False),
    Column("result", JSON, nullable=False),
    # Stem -> highest number: what keys of scans were given, since none is given twice.
    Column("keys_made", JSON, nullable=False, server_default="{}"),
    # What the user calls it. It stands nowhere else.
    Column("label", String(80), nullable=False, server_default=""),
    # The correction that is current: its version and what was measured of it; empty while the model's mask is.
    Column("correction", JSON, nullable=False, server_default="{}"),
    Index("cases_by_session", "session_id", "number", unique=True),
    Index("cases_by_state", "state"),
)

series = Table(
    "series",
    metadata,
    _case_id(primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("sequence", String(8)),
    Column("blob_key", String(512), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("facts", JSON, nullable=False),
)

# Stages of the current run only.
stages = Table(
    "stages",
    metadata,
    _case_id(primary_key=True),
    Column("stage", String(16), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("share", Double, nullable=False),
    Column("message", Text, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("attempts", Integer, nullable=False),
    Column("seen_at", Double),
    # The one attempt that may write this stage's outcome; everybody else is fenced.
    Column("token", String(64)),
)

attempts = Table(
    "attempts",
    metadata,
    Column("token", String(64), primary_key=True),
    _case_id(),
    Column("session_id", String(64), nullable=False),
    Column("run", Integer, nullable=False),
    Column("stage", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("executor", String(200), nullable=False),
    Column("number", Integer, nullable=False),
    Column("choice", JSON, nullable=False),
    Column("begun_at", Double, nullable=False),
    # When the process was known to be dead.
    Column("ended_at", Double),
    Index("attempts_by_case", "case_id"),
    Index("attempts_by_session", "session_id"),
    Index("attempts_by_end", "ended_at"),
)

artifacts = Table(
    "artifacts",
    metadata,
    _case_id(primary_key=True),
    # Empty for what the user corrected.
    Column("stage", String(16), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("kind", String(200), nullable=False),
    Column("blob_key", String(512), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("public", Boolean, nullable=False),
    # What was measured of a correction.
    Column("measured", JSON, nullable=False),
    # Role, sequence, label, space; empty in rows of an earlier version.
    Column("output", JSON, nullable=False, server_default="{}"),
)

events = Table(
    "events",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    _case_id(),
    Column("at", Double, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("data", JSON, nullable=False),
    Index("events_by_case", "case_id", "number"),
    # Without it SQLite would give the numbers of deleted events again.
    sqlite_autoincrement=True,
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("reference", String(64), primary_key=True),
    Column("at", Double, nullable=False),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(64), nullable=False),
    Column("outcome", String(200), nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

# References instead of ids, because a row stays until nothing of the upload lies in any scratch directory.
uploads = Table(
    "uploads",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("session", String(64), nullable=False),
    Column("case_ref", String(64), nullable=False),
    Column("executor", String(200), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("begun_at", Double, nullable=False),
    Index("uploads_by_session", "session"),
    Index("uploads_by_case", "case_ref"),
)

leases = Table(
    "leases",
    metadata,
    Column("executor", String(200), primary_key=True),
    Column("deadline", Double, nullable=False),
)
