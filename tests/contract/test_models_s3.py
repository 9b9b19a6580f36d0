"""Releases of models in a bucket: the same bytes everywhere, or none."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save
from tests.servers import S3Place

from hope.adapters.models_s3 import RELEASE, BucketModels
from hope.adapters.proxy_bucket import Objects
from hope.cli import main
from hope.domain.errors import BundleError, InputError
from hope.models.bundle import BUNDLED, DEFAULT_MODEL, MANIFEST, Bundle, read_bundle, write_manifest
from hope.models.registry import ModelRegistry


def bundle(folder: Path, model_id: str = "toy", version: str = "1.0", weights: bytes = b"weights") -> Bundle:
    """A bundle with the starter's facts and a few bytes of weights: nothing here builds a network of them."""
    folder.mkdir()
    manifest = json.loads((BUNDLED / DEFAULT_MODEL / MANIFEST).read_bytes())
    for name in manifest["files"]:
        tensors = save({"weights": np.frombuffer(weights, np.uint8)})
        (folder / name).write_bytes(tensors if name.endswith(".safetensors") else weights)
    return write_manifest(folder, {**manifest, "id": model_id, "version": version})


class Bucket:
    """A bucket of models, and its server."""

    def __init__(self, place: S3Place, server: Any, objects: Objects) -> None:
        self.root, self.name = place.url, place.url.split("/")[2]
        self.server, self.models = server, BucketModels(objects)

    def listed(self) -> list[str]:
        return [entry["Key"] for entry in self.server.list_objects_v2(Bucket=self.name).get("Contents", ())]


@pytest.fixture(scope="module")
def objects(s3_endpoint: str) -> Objects:
    """One client for all tests: making one takes longer than most of them."""
    return Objects(s3_endpoint)


@pytest.fixture
def bucket(s3_url: S3Place, objects: Objects) -> Bucket:
    return Bucket(s3_url, _server(s3_url.endpoint), objects)


@cache
def _server(endpoint: str) -> Any:
    return boto3.client("s3", endpoint_url=endpoint)


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "models")


def test_a_pulled_model_is_the_pushed_one(bucket: Bucket, registry: ModelRegistry, tmp_path: Path) -> None:
    pushed = bundle(tmp_path / "made")
    assert bucket.models.push(pushed, bucket.root)
    release = bucket.models.find(bucket.root)
    assert release.location == f"{bucket.root}/toy/1.0"
    assert bucket.models.pull(release, registry)
    installed = registry.get("toy")
    installed.verify()
    assert (installed.id, installed.version, installed.sha256) == ("toy", "1.0", pushed.sha256)
    assert [path.name for path in registry.user_folder.iterdir()] == ["toy"]
    assert not bucket.models.pull(release, registry)


def test_a_release_never_changes(bucket: Bucket, tmp_path: Path) -> None:
    first = bundle(tmp_path / "first")
    assert bucket.models.push(first, bucket.root)
    before = bucket.listed()
    assert not bucket.models.push(first, bucket.root)
    with pytest.raises(InputError, match="released with other bytes"):
        bucket.models.push(bundle(tmp_path / "second", weights=b"others"), bucket.root)
    assert bucket.listed() == before
    assert bucket.models.push(bundle(tmp_path / "third", version="1.1", weights=b"others"), bucket.root)


def test_of_two_who_push_at_once_the_first_counts(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one had looked before there was a release."""
    first, second = bundle(tmp_path / "first"), bundle(tmp_path / "second", weights=b"others")
    real, looks = Objects.get_json, [None]

    def get_json(objects: Objects, location: str) -> dict[str, Any] | None:
        return looks.pop() if looks else real(objects, location)

    bucket.models.push(first, bucket.root)
    monkeypatch.setattr(Objects, "get_json", get_json)
    with pytest.raises(InputError, match="released with other bytes"):
        bucket.models.push(second, bucket.root)
    assert bucket.models.find(bucket.root).sha256 == first.sha256


def test_a_push_that_was_interrupted_goes_on(bucket: Bucket, registry: ModelRegistry, tmp_path: Path) -> None:
    made = bundle(tmp_path / "made")
    bucket.models.push(made, bucket.root)
    release = bucket.models.find(bucket.root)
    bucket.server.delete_object(Bucket=bucket.name, Key=release.place_of(MANIFEST).split("/", 3)[3])
    assert bucket.models.push(made, bucket.root)
    assert bucket.models.pull(release, registry)


def test_a_damaged_bundle_is_not_pushed(bucket: Bucket, tmp_path: Path) -> None:
    made = bundle(tmp_path / "made")
    (made.folder / next(iter(made.manifest["files"]))).write_bytes(b"changed")
    with pytest.raises(BundleError, match="damaged"):
        bucket.models.push(made, bucket.root)
    assert bucket.listed() == []


@pytest.mark.parametrize("what", ["weights", MANIFEST, "another bundle"])
def test_a_damaged_release_is_not_installed(bucket: Bucket, registry: ModelRegistry, tmp_path: Path, what: str) -> None:
    bucket.models.push(bundle(tmp_path / "made"), bucket.root)
    for key in bucket.listed():
        if (what == "weights" and not key.endswith((RELEASE, MANIFEST))) or key.endswith(f"/{what}"):
            bucket.server.put_object(Bucket=bucket.name, Key=key, Body=b"{}")
        if what == "another bundle" and key.endswith(RELEASE):
            content = json.loads(bucket.server.get_object(Bucket=bucket.name, Key=key)["Body"].read())
            bucket.server.put_object(Bucket=bucket.name, Key=key, Body=json.dumps({**content, "id": "other"}))
    with pytest.raises(BundleError):
        bucket.models.pull(bucket.models.find(bucket.root), registry)
    assert list(registry.user_folder.iterdir()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "hope-release/9"},
        {"id": "../up"},
        {"version": "1/2"},
        {"sha256": "short"},
        {"files": [{"name": "../../x", "bytes": 1, "sha256": "0" * 64}]},
        {"files": None},
    ],
)
def test_a_release_that_makes_no_sense_is_refused(bucket: Bucket, tmp_path: Path, changes: dict[str, Any]) -> None:
    bucket.models.push(bundle(tmp_path / "made"), bucket.root)
    key = f"some/prefix/toy/1.0/{RELEASE}"
    content = json.loads(bucket.server.get_object(Bucket=bucket.name, Key=key)["Body"].read())
    bucket.server.put_object(Bucket=bucket.name, Key=key, Body=json.dumps({**content, **changes}))
    with pytest.raises(BundleError, match="this version can read"):
        bucket.models.find(bucket.root)


def test_the_one_that_is_meant_is_found_or_asked_for(bucket: Bucket, tmp_path: Path) -> None:
    for name, version in (("toy", "1.0"), ("toy", "1.1"), ("other", "1.0")):
        bucket.models.push(bundle(tmp_path / f"{name}{version}", name, version), bucket.root)
    assert bucket.models.find(f"{bucket.root}/toy/1.1/").version == "1.1"
    assert bucket.models.find(bucket.root, "other").id == "other"
    assert bucket.models.find(bucket.root, "toy", "1.0").version == "1.0"
    for location, model_id, got in ((bucket.root, "toy", "toy 1.0, toy 1.1"), (bucket.root, "no", "other 1.0, toy")):
        with pytest.raises(InputError, match=got):
            bucket.models.find(location, model_id)
    with pytest.raises(InputError, match="hope models push"):
        bucket.models.find(f"{bucket.root}/elsewhere")


def test_another_model_of_the_same_id_stays(bucket: Bucket, registry: ModelRegistry, tmp_path: Path) -> None:
    bucket.models.push(bundle(tmp_path / "made"), bucket.root)
    kept = registry.add(bundle(tmp_path / "kept", version="0.9").folder)
    with pytest.raises(InputError, match="hope models remove toy"):
        bucket.models.pull(bucket.models.find(bucket.root), registry)
    assert registry.get("toy").sha256 == kept.sha256


def test_the_command_line(bucket: Bucket, s3_url: S3Place, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("here", "there")]
    ModelRegistry(folders[0]).add(bundle(tmp_path / "made").folder)

    def hope(folder: Path, *words: str) -> str:
        environment = {"HOPE_MODELS_DIR": str(folder), "HOPE_S3_ENDPOINT_URL": s3_url.endpoint}
        result = CliRunner().invoke(main, ["models", *words], env=environment, catch_exceptions=False)
        assert result.exit_code in (0, 2), result.output
        return result.output

    sha256 = read_bundle(folders[0] / "toy").sha256
    assert f"pushed toy 1.0, sha256 {sha256}" in hope(folders[0], "push", "toy", s3_url.url)
    assert "already there: toy 1.0" in hope(folders[0], "push", "toy", s3_url.url)
    assert f"pulled toy 1.0, sha256 {sha256}" in hope(folders[1], "pull", s3_url.url, "--id", "toy")
    assert "already here: toy 1.0" in hope(folders[1], "pull", f"{s3_url.url}/toy/1.0")
    assert "the models' bucket cannot be used" in hope(folders[1], "pull", "s3://no-such-bucket-here/x")
