"""What all tests share: the real data beside the project, real servers, and Hypothesis without a clock."""

from __future__ import annotations

import gc
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.once import once, synthetic_patient  # noqa: F401 - fixtures
from tests.servers import PostgresServer, S3Place, postgres_server, s3_server

# Contracts are shipped with the package; a failing one should show values as other tests do.
pytest.register_assert_rewrite("hope.testing.contracts")

REPOSITORY = Path(__file__).resolve().parents[1]

# Slow machines must not turn a property red, and CI has to meet the same examples every time.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test marked `alone` where `make test` does not look for such tests."""
    places = (REPOSITORY / "tests" / "attack", REPOSITORY / "tests" / "e2e")
    lost = [item.nodeid for item in items if item.get_closest_marker("alone") and item.path.parents[0] not in places]
    if lost:
        raise pytest.UsageError(f"tests marked `alone` belong into tests/attack or tests/e2e: {', '.join(lost)}")


def pytest_collection_finish() -> None:
    """What is loaded by now stays: let the collector pass it over, or each full collection takes seconds."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root folder."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real scans that lie beside the repository and never in it; without them the test is skipped, and says so."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real MRI data (../shared/data) is not on this machine")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One Postgres cluster for the whole run."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """A fresh Postgres database, as `SqlCaseStore` wants it."""
    with postgres.database() as url:
        yield url


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """One S3 server for the whole run."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def s3_url(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> S3Place:
    """A fresh bucket; what it wants to know of credentials is in the environment."""
    import boto3

    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"hope-{secrets.token_hex(6)}"
    boto3.client("s3", endpoint_url=s3_endpoint).create_bucket(Bucket=bucket)
    return S3Place(f"s3://{bucket}/some/prefix", s3_endpoint)
