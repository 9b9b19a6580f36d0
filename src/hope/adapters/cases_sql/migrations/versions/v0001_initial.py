"""Sessions, cases, stages, attempts, files, events, tombstones, audit log, leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    _sessions_and_cases()
    _what_belongs_to_a_case()
    _what_outlives_a_case()


def _case_id() -> sa.Column[str]:
    return sa.Column("case_id", sa.String(64), sa.ForeignKey("cases.id", ondelete="CASCADE"), nullable=False)


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _sessions_and_cases() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("token_sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("close_with_page", sa.Boolean, nullable=False),
        sa.Column("notify", sa.JSON, nullable=False),
        sa.Column("left_at", sa.Double),
        sa.Column("closed_at", sa.Double),
        sa.Column("cases_made", sa.Integer, nullable=False),
    )
    op.create_table(
        "cases",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("session_id", sa.String(64), sa.ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("queued_at", sa.Double),
        sa.Column("choice", sa.JSON, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("problem_is_ours", sa.Boolean, nullable=False),
        sa.Column("result", sa.JSON, nullable=False),
    )
    op.create_index("cases_by_session", "cases", ["session_id", "number"], unique=True)
    op.create_index("cases_by_state", "cases", ["state"])


def _what_belongs_to_a_case() -> None:
    op.create_table(
        "series",
        _case_id(),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("sequence", sa.String(8)),
        sa.Column("blob_key", sa.String(512), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("case_id", "key"),
    )
    op.create_table(
        "stages",
        _case_id(),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("seen_at", sa.Double),
        sa.Column("token", sa.String(64)),
        sa.PrimaryKeyConstraint("case_id", "stage"),
    )
    op.create_table(
        "attempts",
        sa.Column("token", sa.String(64), primary_key=True),
        _case_id(),
        sa.Column("session_id", sa.String(64), nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("executor", sa.String(200), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("choice", sa.JSON, nullable=False),
        sa.Column("begun_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
    )
    op.create_index("attempts_by_case", "attempts", ["case_id"])
    op.create_index("attempts_by_session", "attempts", ["session_id"])
    op.create_index("attempts_by_end", "attempts", ["ended_at"])
    op.create_table(
        "artifacts",
        _case_id(),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(200), nullable=False),
        sa.Column("blob_key", sa.String(512), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("public", sa.Boolean, nullable=False),
        sa.Column("measured", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("case_id", "stage", "name", "version"),
    )
    op.create_table(
        "events",
        sa.Column("number", _number(), primary_key=True, autoincrement=True),
        _case_id(),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_case", "events", ["case_id", "number"])


def _what_outlives_a_case() -> None:
    op.create_table(
        "tombstones",
        sa.Column("reference", sa.String(64), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_table(
        "audit_log",
        sa.Column("number", _number(), primary_key=True, autoincrement=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(200), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("executor", sa.String(200), primary_key=True),
        sa.Column("deadline", sa.Double, nullable=False),
    )
