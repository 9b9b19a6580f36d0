"""Uploads that have not ended, under hashes of their session and case."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("case_ref", sa.String(64), nullable=False),
        sa.Column("executor", sa.String(200), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("begun_at", sa.Double, nullable=False),
    )
    op.create_index("uploads_by_session", "uploads", ["session"])
    op.create_index("uploads_by_case", "uploads", ["case_ref"])
