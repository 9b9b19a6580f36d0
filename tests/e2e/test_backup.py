"""A backup, restored into an empty installation: as docs/how-to/deploy.md and run-on-one-machine.md tell it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import httpx
import pytest
from tests.servers import PostgresServer, S3Place, postgres_programs

from hope.testing.fleet import Fleet, SessionClient, small_scan

pytestmark = pytest.mark.slow

SCANS = {sequence: small_scan(seed) for seed, sequence in enumerate(("t1n", "t1c", "t2w", "t2f"))}
SLOW = {"HOPE_SHORT_SECONDS": "segment:600"}
"""Keeps a case in work until the backup is made."""


@contextmanager
def fleet(folder: Path, environment: dict[str, str], *commands: tuple[str, ...]) -> Iterator[Fleet]:
    started = Fleet(folder, environment)
    try:
        for words in commands:
            started.start(*words)
        started.wait_ready()
        yield started
    finally:
        started.stop()


def files_of(client: SessionClient, case: str) -> dict[str, bytes]:
    """Every file of a case that its user may download."""
    listed = client.call("GET", f"/api/cases/{case}/files")["files"]
    return {one["name"]: client.http.get(f"/api/cases/{case}/files/{one['name']}").content for one in listed}


def moved(client: SessionClient, to: Fleet) -> SessionClient:
    """The same session, asked of another installation."""
    client.http.close()
    client.http = httpx.Client(base_url=to.url, timeout=60, headers={"Authorization": f"Bearer {client.token}"})
    return client


def audit(fleet: Fleet) -> str:
    """What `hope audit verify` prints; it fails if the chain is broken."""
    command = [sys.executable, "-m", "hope.cli", "audit", "verify"]
    done = subprocess.run(command, env=fleet.environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_copied_folder_is_the_installation(tmp_path: Path) -> None:
    """The case that was in work goes on."""
    with fleet(tmp_path / "here", SLOW, ("up",)) as here:
        client = here.client()
        case = client.new_case(SCANS)
        client.run(case)
        client.wait(case, states=("running",))
    shutil.copytree(tmp_path / "here" / "data", tmp_path / "there" / "data")
    with fleet(tmp_path / "there", {}, ("up",)) as there:
        assert moved(client, there).wait(case) == "done"
        assert [one["id"] for one in client.call("GET", "/api/cases")["cases"]] == [case]
        assert files_of(client, case)
        audit(there)
        assert client.call("DELETE", "/api/session")["cases"] == 1


def dumped(url: str, file: Path) -> None:
    """pg_dump of a database, into a file."""
    plain = url.replace("postgresql+psycopg", "postgresql")
    subprocess.run([postgres_programs() / "pg_dump", "--format=custom", f"--file={file}", plain], check=True)


def restored(file: Path, url: str) -> None:
    """pg_restore into an empty database."""
    plain = url.replace("postgresql+psycopg", "postgresql")
    command = [postgres_programs() / "pg_restore", "--no-owner", "--exit-on-error", f"--dbname={plain}", str(file)]
    subprocess.run(command, check=True)


def keys(place: S3Place) -> dict[str, str]:
    """Key -> ETag of every object below a place."""
    bucket, _, prefix = place.url.removeprefix("s3://").partition("/")
    client = boto3.client("s3", endpoint_url=place.endpoint)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {one["Key"]: one["ETag"] for page in pages for one in page.get("Contents", [])}


def copied(place: S3Place, bucket: str) -> S3Place:
    """The same objects in a bucket of their own."""
    client = boto3.client("s3", endpoint_url=place.endpoint)
    client.create_bucket(Bucket=bucket)
    source, _, prefix = place.url.removeprefix("s3://").partition("/")
    for key in keys(place):
        client.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": source, "Key": key})
    return S3Place(f"s3://{bucket}/{prefix}", place.endpoint)


PARTS = (("gateway",), ("worker", "preprocess", "harmonize", "segment", "postprocess"))


def test_a_dump_and_a_copy_of_the_bucket_are_the_installation(
    tmp_path: Path, postgres: PostgresServer, s3_url: S3Place
) -> None:
    """Made while the platform works, database first; restored, nothing is lost, and a deletion leaves nothing."""

    def given(url: str, place: S3Place, **more: str) -> dict[str, str]:
        return {"HOPE_DATABASE_URL": url, "HOPE_BLOBS_URL": place.url, "HOPE_S3_ENDPOINT_URL": place.endpoint, **more}

    with postgres.database() as here_url, postgres.database() as there_url:
        with fleet(tmp_path / "here", given(here_url, s3_url, **SLOW), *PARTS) as here:
            client = here.client()
            case = client.new_case(SCANS)
            client.run(case)
            client.wait(case, states=("running",))
            dumped(here_url, tmp_path / "dump")
            bucket = copied(s3_url, f"{s3_url.url.removeprefix('s3://').partition('/')[0]}-backup")
        restored(tmp_path / "dump", there_url)
        with fleet(tmp_path / "there", given(there_url, bucket), *PARTS) as there:
            assert moved(client, there).wait(case) == "done"
            assert files_of(client, case)
            audit(there)
            client.call("DELETE", "/api/session")
        assert keys(bucket) == {}
        assert keys(s3_url), "the deletion reached the installation that was backed up"
