"""What the user calls a case, and which correction of its mask is current."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_CASES = sa.table("cases", sa.column("id", sa.String), sa.column("correction", sa.JSON))
_ARTIFACTS = sa.table(
    "artifacts",
    sa.column("case_id", sa.String),
    sa.column("stage", sa.String),
    sa.column("version", sa.Integer),
    sa.column("measured", sa.JSON),
)


def upgrade() -> None:
    """Add both columns; the newest correction of a case that is there is its current one."""
    op.add_column("cases", sa.Column("label", sa.String(80), nullable=False, server_default=""))
    op.add_column("cases", sa.Column("correction", sa.JSON, nullable=False, server_default="{}"))
    connection = op.get_bind()
    corrections = sa.select(_ARTIFACTS).where(_ARTIFACTS.c.stage == "").order_by(_ARTIFACTS.c.version)
    newest = {row["case_id"]: row for row in connection.execute(corrections).mappings()}
    for case_id, row in newest.items():
        current = {"version": row["version"], "volumes_ml": (row["measured"] or {}).get("volumes_ml") or {}}
        connection.execute(sa.update(_CASES).where(_CASES.c.id == case_id).values(correction=current))
