"""The endpoint's image for its two callers: `serve` as SageMaker starts it, `hope infer` as MedPerf does."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from tests.container_engine import CONFINED, Container, image, network, note, run, running
from tools import stand_ins

from hope.formats.nifti import read_labels, read_scan
from hope.localaws.aws_local import LocalAws, LocalOptions

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]

PLACE = "s3://cases"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def readable(models_dir: Path, preprocessed_case_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with models/ and cases/ that any user may read."""
    folder = tmp_path_factory.mktemp("readable")
    shutil.copytree(models_dir, folder / "models")
    shutil.copytree(preprocessed_case_dir, folder / "cases" / preprocessed_case_dir.name)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture(scope="module")
def served(readable: Path) -> Iterator[tuple[Container, Container]]:
    """The endpoint and the S3 server beside it."""
    with network() as net:
        stand_in = ["-H", "0.0.0.0", "-p", "8080"]
        with running(stand_ins.S3, *stand_in, options=["--network", net]) as s3:
            options = ["--network", net, "--volume", f"{readable / 'models'}:/models:ro", "--shm-size", "256m"]
            given = {**KEYS, "HOPE_MODELS_DIR": "/models", "HOPE_S3_ENDPOINT_URL": f"http://{s3.name}:8080"}
            for name, value in given.items():
                options += ["--env", f"{name}={value}"]
            with running(image("endpoint"), "serve", options=options) as endpoint:
                endpoint.wait(lambda: endpoint.answers("/ping"), 500)
                note("endpoint", {"seconds until /ping": round(time.monotonic() - endpoint.begun, 1)})
                yield endpoint, s3


def sent(s3: Container, case: Path, job: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Any]]:
    """A client of the S3 server, and the payload of one case, whose files lie there."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=s3.url)
    if not client.list_buckets()["Buckets"]:
        client.create_bucket(Bucket="cases")
    for path in case.iterdir():
        client.put_object(Bucket="cases", Key=f"{job}/{path.name}", Body=path.read_bytes())
    places = {"input_location": f"{PLACE}/{job}/", "output_location": f"{PLACE}/results-{job}"}
    return client, {**places, "job_id": job, "model_id": "tiny", "preprocessed": True}


def names_below(client: Any, prefix: str) -> set[str]:
    """Names of the objects of the bucket below a prefix."""
    found = client.list_objects_v2(Bucket="cases", Prefix=prefix).get("Contents", [])
    return {str(entry["Key"]).rpartition("/")[2] for entry in found}


def test_serve_answers_a_ping_and_does_an_invocation(
    served: tuple[Container, Container], preprocessed_case_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, s3 = served
    client, payload = sent(s3, preprocessed_case_dir, "one", monkeypatch)
    begun = time.monotonic()
    answer = httpx.post(f"{endpoint.url}/invocations", json=payload, timeout=500)
    assert answer.status_code == 200, answer.text + endpoint.log()
    note("endpoint invocation", {"seconds": round(time.monotonic() - begun, 1)})
    names = {entry["name"] for entry in answer.json()["files"]}
    assert any(name.endswith("-seg.nii.gz") for name in names)
    assert names <= names_below(client, "results-one/")


def test_serve_is_called_by_the_asynchronous_form(
    served: tuple[Container, Container], preprocessed_case_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As InvokeEndpointAsync does it: the payload is an object, and so is the answer, of whose end a queue tells."""
    endpoint, s3 = served
    client, payload = sent(s3, preprocessed_case_dir, "two", monkeypatch)
    client.put_object(Bucket="cases", Key="payload.json", Body=json.dumps(payload).encode())
    begun = time.monotonic()
    with LocalAws(tmp_path, LocalOptions(aws_url=s3.url, container=endpoint.url)) as aws:
        taken = aws.client("sagemaker-runtime", aws.runtime.url).invoke_endpoint_async(
            EndpointName="hope", InputLocation=f"{PLACE}/payload.json", ContentType="application/json"
        )
        bucket, _, key = taken["OutputLocation"].removeprefix("s3://").partition("/")
        aws.deliveries.wait_idle(500)
        answer = json.loads(aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
        told = aws.client("sqs").receive_message(QueueUrl=aws.queue_url, WaitTimeSeconds=20).get("Messages", [])
    note("endpoint asynchronous", {"seconds": round(time.monotonic() - begun, 1)})
    assert len(told) == 1
    assert {entry["name"] for entry in answer["files"]} <= names_below(client, "results-two/")


def test_sigterm_ends_the_endpoint(served: tuple[Container, Container]) -> None:
    """Last of those that use it."""
    status, seconds = served[0].stop()
    note("endpoint stopped", {"seconds": round(seconds, 1)})
    assert status in (0, 128 + 15), served[0].log()
    assert seconds < 30


@pytest.mark.parametrize("user", ["4242:4242", "0:0"])
def test_infer_needs_no_network_no_user_and_no_right(user: str, readable: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    shutil.chown(out, *map(int, user.split(":")))
    options = ["--network", "none", "--user", user, *CONFINED, "--tmpfs", "/tmp:mode=1777"]
    options += ["--env", "HOPE_MODELS_DIR=/models"]
    for source, place in ((readable / "models", "/models:ro"), (readable / "cases", "/in:ro"), (out, "/out")):
        options += ["--volume", f"{source}:{place}"]
    words = ["hope", "infer", "--data_path", "/in", "--output_path", "/out", "--model", "tiny"]
    begun = time.monotonic()
    done = run(image("endpoint"), *words, options=options)
    assert done.returncode == 0, done.stderr
    note(f"infer as {user}", {"seconds": round(time.monotonic() - begun, 1)})
    (case,) = (readable / "cases").iterdir()
    assert [path.name for path in out.iterdir()] == [f"{case.name}.nii.gz"]
    native, _ = read_scan(case / f"{case.name}-t1c.nii.gz", "t1c")
    assert read_labels(out / f"{case.name}.nii.gz").grid.same_as(native.grid)
