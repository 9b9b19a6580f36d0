"""Which keys a case has given to its scans, so that none is given twice."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of cases that are there the keys in use count."""
    op.add_column("cases", sa.Column("keys_made", sa.JSON, nullable=False, server_default="{}"))
