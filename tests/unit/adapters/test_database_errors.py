"""What a database that has no connection left is called: an operator has to tell it from one that is away."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from tests.servers import PostgresServer

from hope.adapters.cases_sql.database import Database
from hope.adapters.database_errors import NoConnectionLeftError, worded

URL = sa.make_url("postgresql+psycopg://hope@db.test/hope")


@pytest.mark.parametrize(
    "said",
    [
        "connection failed: FATAL:  sorry, too many clients already",
        "connection failed: FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
        'connection failed: FATAL:  too many connections for role "hope"',
    ],
)
def test_no_connection_left_has_a_name_of_its_own(said: str) -> None:
    error = worded(OperationalError("select 1", None, Exception(said)), URL)
    assert type(error) is NoConnectionLeftError and "max_connections" in str(error)


def test_a_database_that_is_away_does_not() -> None:
    error = worded(OperationalError("select 1", None, Exception("connection refused")), URL)
    assert type(error) is ConnectionError
    assert "does not answer" in str(error)


def test_a_role_whose_connections_are_taken(postgres: PostgresServer, postgres_url: str) -> None:
    with postgres.connect() as owner:
        owner.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 1")
    url = sa.make_url(postgres_url).set(username="few")
    place = url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with (
            psycopg.connect(place),
            closing(Database(url.render_as_string(hide_password=False))) as database,
            pytest.raises(NoConnectionLeftError),
            database.read(),
        ):
            raise AssertionError("a second connection was given")
    finally:
        with postgres.connect() as owner:
            owner.execute("DROP ROLE few")
