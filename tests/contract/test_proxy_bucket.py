"""Objects anywhere in S3, on a server that really runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.servers import S3Place, free_port

from hope.adapters import s3_bucket
from hope.adapters.aws import make_client, parse_location
from hope.adapters.proxy_bucket import ObjectInfo, Objects
from hope.contract.job import DamagedError
from hope.domain.errors import InputError, OutputError
from hope.testing.contracts.blob_store import sha256_of


@pytest.fixture(scope="module")
def objects(s3_endpoint: str) -> Objects:
    """One client for all tests: making one takes longer than most of them."""
    return Objects(s3_endpoint)


@pytest.fixture
def server(s3_url: S3Place) -> Any:
    return boto3.client("s3", endpoint_url=s3_url.endpoint)


@pytest.fixture
def bucket(s3_url: S3Place) -> str:
    return s3_url.url.split("/")[2]


def put(objects: Objects, folder: Path, location: str, content: bytes) -> str:
    path = folder / f"put-{os.urandom(6).hex()}"
    path.write_bytes(content)
    objects.upload(path, location, sha256_of(content))
    return sha256_of(content)


def test_what_was_uploaded_comes_back(objects: Objects, s3_url: S3Place, tmp_path: Path) -> None:
    digest = put(objects, tmp_path, f"{s3_url.url}/case/a", b"voxels")
    assert objects.download(f"{s3_url.url}/case/a", tmp_path / "back", digest) == digest
    assert objects.download(f"{s3_url.url}/case/a", tmp_path / "again", None, max_bytes=6) == digest
    assert (tmp_path / "back").read_bytes() == b"voxels"
    assert objects.exists(f"{s3_url.url}/case/a")
    assert not objects.exists(f"{s3_url.url}/case")


def test_large_files_go_in_parts_encrypted_and_with_their_hash_alone(
    s3_url: S3Place, server: Any, bucket: str, tmp_path: Path
) -> None:
    content = os.urandom(s3_bucket.PART_BYTES + 1)
    objects = Objects(s3_url.endpoint, "alias/case-key")
    put(objects, tmp_path, f"{s3_url.url}/large", content)
    objects.put_json(f"{s3_url.url}/small.json", {})
    head = server.head_object(Bucket=bucket, Key="some/prefix/large")
    assert head["Metadata"] == {"sha256": sha256_of(content)}
    assert head["ETag"].endswith('-2"')
    for key in ("large", "small.json"):
        head = server.head_object(Bucket=bucket, Key=f"some/prefix/{key}")
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/case-key")


def test_a_prefix_stands_for_a_folder(objects: Objects, s3_url: S3Place, bucket: str, tmp_path: Path) -> None:
    for name in ("case/b", "case/a/c", "case2/a"):
        put(objects, tmp_path, f"{s3_url.url}/{name}", b"xy")
    expected = [ObjectInfo("a/c", 2), ObjectInfo("b", 2)]
    assert list(objects.list(f"{s3_url.url}/case")) == list(objects.list(f"{s3_url.url}/case/")) == expected
    assert len(list(objects.list(f"s3://{bucket}"))) == 3
    assert list(objects.list(f"{s3_url.url}/nothing")) == []
    assert objects.delete_prefix(f"{s3_url.url}/case") == (2, 4)
    assert [info.key for info in objects.list(s3_url.url)] == ["case2/a"]
    assert objects.delete_prefix(f"{s3_url.url}/case") == (0, 0)


def test_one_object_is_deleted_with_its_versions_and_no_other(
    s3_url: S3Place, server: Any, bucket: str, tmp_path: Path
) -> None:
    server.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    objects = Objects(s3_url.endpoint)
    for name in ("a", "a", "a2"):
        put(objects, tmp_path, f"{s3_url.url}/{name}", b"x")
    objects.delete(f"{s3_url.url}/a")
    objects.delete(f"{s3_url.url}/never-there")
    assert [v["Key"] for v in server.list_object_versions(Bucket=bucket)["Versions"]] == ["some/prefix/a2"]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"sha256": "0" * 64}, DamagedError, "damaged or cut short"),
        ({"max_bytes": 5}, InputError, "too large"),
        ({"location": "absent"}, DamagedError, "missing"),
    ],
)
def test_what_is_not_right_leaves_no_file(
    objects: Objects, s3_url: S3Place, tmp_path: Path, change: dict[str, Any], error: type[Exception], said: str
) -> None:
    digest = put(objects, tmp_path, f"{s3_url.url}/doe-john", b"voxels")
    given = {"location": "doe-john", "sha256": digest, **change}
    with pytest.raises(error, match=said) as caught:
        objects.download(f"{s3_url.url}/{given.pop('location')}", tmp_path / "back", **given)
    assert not (tmp_path / "back").exists()
    assert "john" not in str(caught.value)


def test_json(objects: Objects, s3_url: S3Place, tmp_path: Path) -> None:
    place = f"{s3_url.url}/manifest.json"
    assert objects.get_json(place) is None
    assert objects.put_new_json(place, {"first": 1})
    assert not objects.put_new_json(place, {"second": 2})
    assert objects.get_json(place) == {"first": 1}
    objects.put_json(place, {"third": 3})
    assert objects.get_json(place) == {"third": 3}
    for content in (b"[1]", b"{", b"\xff"):
        put(objects, tmp_path, place, content)
        with pytest.raises(DamagedError):
            objects.get_json(place)
    with pytest.raises(ValueError, match="JSON"):
        objects.put_json(place, {"x": float("nan")})


def test_a_whole_bucket_is_never_deleted(objects: Objects, bucket: str) -> None:
    for location in (f"s3://{bucket}", f"s3://{bucket}/", f"s3://{bucket}//"):
        with pytest.raises(InputError, match="whole bucket"):
            objects.delete_prefix(location)
        with pytest.raises(InputError, match="names no object"):
            objects.delete(location)


def test_a_server_that_is_away_and_a_bucket_that_is_not_there(
    s3_url: S3Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_bucket, "FETCH_TRIES", 1)
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    away = Objects(f"http://127.0.0.1:{free_port()}")
    elsewhere = Objects(s3_url.endpoint)
    for objects, said in ((away, "does not answer"), (elsewhere, "refused: NoSuchBucket")):
        with pytest.raises(ConnectionError, match=said):
            objects.get_json("s3://no-such-bucket-here/doe-john")
        with pytest.raises(ConnectionError, match=said):
            list(objects.list("s3://no-such-bucket-here/doe-john"))
        with pytest.raises(ConnectionError, match=said):
            objects.download("s3://no-such-bucket-here/doe-john", tmp_path / "x", None)
        with pytest.raises((OutputError, ConnectionError)) as caught:
            objects.put_json("s3://no-such-bucket-here/doe-john", {})
        assert "john" not in str(caught.value)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "bucket/key",
        "https://bucket/key",
        "s3://",
        "s3:///key",
        "s3://key:secret@bucket/x",
        "s3://b/\n",
        "s3://b/\ud800",
    ],
)
def test_other_locations_are_refused_without_their_secrets(location: str) -> None:
    with pytest.raises(InputError, match="s3://BUCKET/PREFIX") as caught:
        parse_location(location)
    assert "secret" not in str(caught.value)


def test_a_region_is_needed_where_aws_is_meant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="AWS_DEFAULT_REGION"):
        make_client("sagemaker-runtime")
    assert make_client("sagemaker-runtime", "http://127.0.0.1:1").meta.endpoint_url == "http://127.0.0.1:1"
    with pytest.raises(InputError, match="HOST:PORT"):
        make_client("sqs", "not an address")
