"""The steps. One that was released is never changed: write the next by hand and raise ``tables.SCHEMA_VERSION``."""
