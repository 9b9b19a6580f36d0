"""Which file of a case an artifact is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; rows that are there hold nothing in it, and so do those of workers of the earlier version."""
    op.add_column("artifacts", sa.Column("output", sa.JSON, nullable=False, server_default="{}"))
