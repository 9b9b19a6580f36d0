"""Alembic's scripts: how the schema came to be, one step a file. Run on first use, see ``cases_sql.schema``."""
