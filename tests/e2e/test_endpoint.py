"""The endpoint with real models: the same answer as the command line, also after its child was killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tests.servers import S3Place
from tests.unit.endpoint.harness import Endpoint, endpoint, put

from hope.adapters.proxy_bucket import Objects
from hope.contract.options import RunOptions
from hope.formats import stage_io
from hope.formats.hashing import sha256_of
from hope.pipeline import Clock, harmonize_case, prepare_case
from hope.services import Services
from hope.settings import Settings
from hope.stages.intake.intake import find_cases

pytestmark = pytest.mark.slow


@contextmanager
def pinged(running: Endpoint) -> Iterator[list[float]]:
    """Ask for /ping all the time while the block runs; seconds that each answer took."""
    stop, seconds = threading.Event(), []

    def ask() -> None:
        while not stop.wait(0.02):
            start = time.monotonic()
            assert running.client.get(f"{running.url}/ping").status_code == 200
            seconds.append(time.monotonic() - start)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield seconds
    finally:
        stop.set()
        thread.join(10)


def kill_the_child(running: Endpoint) -> None:
    """Kill the one that works, once it has been at it for a while."""
    (child,) = psutil.Process(running.process.pid).children()
    deadline, begun = time.monotonic() + 240, child.cpu_times().user
    while child.cpu_times().user < begun + 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)


def test_real_models_give_what_the_command_line_gives(
    tmp_path: Path,
    s3_url: S3Place,
    models_dir: Path,
    preprocessed_case_dir: Path,
    tiny_result: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    import boto3

    monkeypatch.setenv("HOPE_MODELS_DIR", str(models_dir))

    client, objects = boto3.client("s3", endpoint_url=s3_url.endpoint), Objects(s3_url.endpoint)
    put(client, f"{s3_url.url}/case", {path.name: path.read_bytes() for path in preprocessed_case_dir.iterdir()})
    payload = {
        "input_location": f"{s3_url.url}/case/",
        "output_location": f"{s3_url.url}/case/results",
        "job_id": "whole",
        "model_id": "tiny",  # `test_aws_route.py` has the starter model, and a case that is said to be preprocessed
    }
    real = {"HOPE_ENDPOINT_BODIES": "hope.endpoint.bodies", "HOPE_MODELS_DIR": str(models_dir)}
    with endpoint(tmp_path / "endpoint", s3_url.endpoint, real, wait=False) as running:
        start = time.monotonic()
        running.wait_ready(240)
        record_property("seconds until /ping says 200", round(time.monotonic() - start, 1))
        with pinged(running) as seconds:
            thread, answers = running.in_background(payload)
            kill_the_child(running)
            thread.join(60)
            assert answers[0].status_code == 500
            assert running.left_behind == []
            reported = running.invoke(payload)
            assert reported.status_code == 200, reported.text
        figures = {"median": statistics.median(seconds), "worst": max(seconds), "count": len(seconds)}
        record_property("seconds of /ping", figures)
        assert figures["worst"] < 2  # what SageMaker allows; figures of a quiet machine are in the docs
        same_as_the_command_line(reported.json(), tiny_result)
        same_as_the_predictor(running, objects, s3_url, preprocessed_case_dir, tmp_path)
        assert running.left_behind == []
        assert "Traceback" not in running.log


def same_as_the_command_line(reported: dict[str, Any], here: Path) -> None:
    assert reported["model"]["id"] == "tiny"
    names = {entry["name"] for entry in reported["files"]}
    assert names == {path.name for path in here.iterdir()}
    for entry in reported["files"]:
        if entry["name"].endswith("-seg.nii.gz"):
            assert entry["sha256"] == sha256_of(here / entry["name"])
    assert reported["volumes_ml"] == json.loads((here / "result.json").read_bytes())["volumes_ml"]
    assert reported["qc"] == json.loads((here / "result.json").read_bytes())["qc"]


def same_as_the_predictor(running: Endpoint, objects: Objects, s3_url: S3Place, case: Path, scratch: Path) -> None:
    sent, back = scratch / "sent", scratch / "back"
    sent.mkdir()
    back.mkdir()
    services = Services(Settings.from_environment())
    predictor, options = services.predictor("tiny"), RunOptions(preprocessed=True)
    (source,) = find_cases([case], {})
    clock = Clock(lambda message, share: None)
    prepared = prepare_case(source, predictor, services.brain_extractor(), options, scratch, clock)
    harmonized = harmonize_case(prepared.aligned, options, clock)
    names = stage_io.save_aligned(prepared.aligned, sent) + stage_io.save_harmonized(harmonized, sent)
    listed = [{"name": n, "bytes": (sent / n).stat().st_size, "sha256": sha256_of(sent / n)} for n in names]
    at = f"{s3_url.url}/handed/input"
    for entry in listed:
        objects.upload(sent / entry["name"], f"{at}/{entry['name']}", entry["sha256"])
    objects.put_json(f"{at}/hope-input.json", {"format": "hope-input/1", "case": "c", "files": listed})
    call = {"input_location": at, "output_location": f"{s3_url.url}/handed/results", "job_id": "j", "model_id": "tiny"}
    reported = running.invoke(call).json()
    assert reported["kind"] == "prediction"
    bucket = s3_url.url.split("/")[2]
    for entry in reported["files"]:
        objects.download(f"s3://{bucket}/{entry['key']}", back / entry["name"], entry["sha256"])
    there, here = stage_io.load_prediction(back), predictor.predict(harmonized, lambda message, share: None)
    assert np.array_equal(there.labels.data, here.labels.data)
    assert there.model_sha256 == reported["model"]["sha256"] == here.model_sha256
    assert json.loads((back / "model.json").read_bytes())["id"] == "tiny"
