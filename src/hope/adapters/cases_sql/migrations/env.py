"""Alembic's entry: run the steps inside the transaction of the connection that was handed over."""

from __future__ import annotations

from alembic import context

from hope.adapters.cases_sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
