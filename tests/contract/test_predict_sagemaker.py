"""A model at an endpoint answers like one here, and nothing of a case stays in the bucket, whatever happens."""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from tests.contract.async_endpoint import NAME, AsyncEndpoint, Call, serving
from tests.servers import S3Place

from hope.adapters import sagemaker_result
from hope.adapters.predict_sagemaker import Endpoint, SageMakerPredictor, _working_directory
from hope.adapters.proxy_bucket import Objects
from hope.adapters.sagemaker_result import AsyncResult, Notices, ResultWatch
from hope.contract.job import DamagedError
from hope.domain.case import AlignedCase, HarmonizedCase, HeadState, MRSequence
from hope.domain.errors import BundleError, HopeError, InputError, StageError
from hope.domain.grid import Grid
from hope.domain.progress import silent
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats import stage_io
from hope.formats.private_directory import NAME as NAME_OF_PRIVATE
from hope.models.bundle import BUNDLED, DEFAULT_MODEL, read_bundle

CASE_ID = "DOE^JOHN-1999"
GRID = Grid((6, 7, 8), np.diag([1.0, 1.0, 1.0, 1.0]))
BUNDLE = read_bundle(BUNDLED / DEFAULT_MODEL)
MODEL = {"id": BUNDLE.id, "version": BUNDLE.version, "sha256": BUNDLE.sha256}


def a_case() -> HarmonizedCase:
    values = np.random.default_rng(1)
    images = {s: Volume(values.random(GRID.shape, np.float32), GRID) for s in MRSequence}
    brain = Volume(np.ones(GRID.shape, bool), GRID)
    still = {s: Transform(np.eye(4)) for s in images}
    aligned = AlignedCase(CASE_ID, images, brain, HeadState.BRAIN, GRID, MRSequence.T1C, still)
    return HarmonizedCase(aligned, images)


def test_without_a_folder_of_the_platform_the_case_lies_where_a_later_process_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`hope segment` that is killed while it waits for the endpoint has left scans in the temporary directory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with _working_directory(None) as folder:
        assert NAME_OF_PRIVATE.fullmatch(folder.name)
    with _working_directory(tmp_path) as folder:
        assert folder.parent == tmp_path and not NAME_OF_PRIVATE.fullmatch(folder.name)
    assert not list(tmp_path.iterdir())


class Place:
    """A bucket, an endpoint, and a predictor that uses them."""

    def __init__(self, endpoint: AsyncEndpoint, s3: S3Place, scratch: Path) -> None:
        self.endpoint, self.s3, self.scratch = endpoint, s3, scratch
        self.objects = endpoint.objects

    def predictor(self, key: str = "", **changes: Any) -> SageMakerPredictor:
        chosen = {"name": NAME, "bucket": self.s3.url, "timeout_seconds": 60.0, "url": self.endpoint.url, **changes}
        return SageMakerPredictor(BUNDLE, Endpoint(**chosen), self.objects, key, self.scratch)

    def is_clean(self) -> bool:
        for thread in self.endpoint.threads:
            thread.join(timeout=30)
        return not list(self.objects.list(self.s3.url)) and not list(self.scratch.iterdir())


@pytest.fixture(scope="module")
def objects(s3_endpoint: str) -> Objects:
    """One client for all tests: making one takes longer than most of them."""
    return Objects(s3_endpoint)


@pytest.fixture
def place(objects: Objects, s3_url: S3Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(sagemaker_result, "FIRST_PAUSE_SECONDS", 0.05)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    endpoint = AsyncEndpoint(objects, s3_url.url, dict(MODEL), lambda call: endpoint.answer(call))
    with serving(endpoint):
        yield Place(endpoint, s3_url, scratch)


def test_it_answers_like_a_model_here(place: Place) -> None:
    reported: list[float] = []
    case, predictor = a_case(), place.predictor()
    prediction = predictor.predict(case, lambda message, share: reported.append(share))
    expected = place.endpoint.predict(case)
    np.testing.assert_array_equal(prediction.labels.data, expected.labels.data)
    assert prediction.labels.grid.same_as(GRID)
    assert (prediction.model_id, prediction.model_sha256) == (BUNDLE.id, BUNDLE.sha256)
    assert reported == sorted(reported)
    assert place.is_clean()
    facts = predictor.describe()
    assert {facts["device"], facts["precision"], facts["endpoint"]} == {"cuda:0", "bf16", NAME}
    assert (facts["sha256"], facts["licence"]) == (BUNDLE.sha256, BUNDLE.licence)


def test_what_is_sent_is_the_case_without_its_name(place: Place) -> None:
    seen: list[str] = []
    server = boto3.client("s3", endpoint_url=place.s3.endpoint)

    def react(call: Call) -> None:
        bucket = place.s3.url.split("/")[2]
        for key in call.sent:
            found = server.get_object(Bucket=bucket, Key=f"some/prefix/{key}")
            seen.append(f"{key} {sorted(found['Metadata'])}")
            seen.append(found["Body"].read().decode("latin-1"))
        place.endpoint.answer(call)

    place.endpoint.react = react
    case = a_case()
    place.predictor().predict(case, silent)
    [call] = place.endpoint.calls
    assert set(call.payload) == {"input_location", "output_location", "job_id", "model_id"}
    assert call.payload["model_id"] == BUNDLE.id
    assert call.headers["X-Amzn-SageMaker-Inference-Id"] == call.payload["job_id"] == call.case.aligned.case_id
    for sequence, image in case.images.items():
        np.testing.assert_array_equal(call.case.images[sequence].data, image.data)
    assert "DOE" not in "".join(seen).upper()
    assert all(words in ("[]", "['sha256']") for words in (text.partition(" ")[2] for text in seen[::2]))


def test_every_call_has_a_place_of_its_own_below_the_given_key(place: Place) -> None:
    predictor = place.predictor("cases/abc/1/segment/tok/")
    for _ in range(2):
        predictor.predict(a_case(), silent)
    folders = [call.payload["input_location"] for call in place.endpoint.calls]
    assert len(set(folders)) == 2
    assert all(folder.startswith(f"{place.s3.url}/cases/abc/1/segment/tok/") for folder in folders)
    place.predictor().predict(a_case(), silent)
    assert place.endpoint.calls[-1].payload["input_location"].startswith(f"{place.s3.url}/cli/")
    assert place.is_clean()


def failing(status: int, detail: str) -> Callable[[AsyncEndpoint, Call], None]:
    return lambda endpoint, call: endpoint.fail(call, status, detail)


def only_sagemakers(endpoint: AsyncEndpoint, call: Call) -> None:
    endpoint.objects.put_json(call.failure, {"message": "ModelError"})


def no_manifest(endpoint: AsyncEndpoint, call: Call) -> None:
    endpoint.objects.put_json(call.output, {"predictions": []})


def other_bytes(endpoint: AsyncEndpoint, call: Call) -> None:
    endpoint.model["sha256"] = "0" * 64
    endpoint.answer(call)


def lying(endpoint: AsyncEndpoint, call: Call) -> None:
    endpoint.answer(call, model={"id": BUNDLE.id, "sha256": "1" * 64})


def cut_short(endpoint: AsyncEndpoint, call: Call) -> None:
    entry = {"name": "prediction.json", "bytes": 2, "sha256": "0" * 64}
    entry["key"] = f"{call.folder}/runs/r1/prediction.json".split("/", 3)[3]
    endpoint.answer(call, files=[entry])


def of_others(endpoint: AsyncEndpoint, call: Call) -> None:
    endpoint.answer(call, files=[{"name": "prediction.json", "key": "some/prefix/cases/x", "sha256": "0" * 64}])


def half_a_prediction(endpoint: AsyncEndpoint, call: Call) -> None:
    content = json.dumps({"format": stage_io.FORMAT, "labels": {}}).encode()
    entry = {"name": "prediction.json", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    location = f"{call.folder}/runs/r2/prediction.json"
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        endpoint.objects.upload(Path(file.name), location, entry["sha256"])
    endpoint.answer(call, files=[{**entry, "key": location.split("/", 3)[3]}])


@pytest.mark.parametrize(
    ("react", "error", "said"),
    [
        (failing(422, "no t1c"), InputError, "refused the case: no t1c"),
        (failing(500, "out of memory"), StageError, "failed: out of memory"),
        (only_sagemakers, StageError, "without saying why"),
        (no_manifest, StageError, "left no manifest"),
        (other_bytes, BundleError, "hope models push"),
        (lying, BundleError, "ran another model"),
        (cut_short, DamagedError, "cut short"),
        (of_others, StageError, "manifest is not one"),
        (half_a_prediction, StageError, "answer is not one"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_leaves_nothing(
    place: Place, react: Callable[[AsyncEndpoint, Call], None], error: type[HopeError], said: str
) -> None:
    place.endpoint.react = lambda call: react(place.endpoint, call)
    with pytest.raises(error, match=said) as caught:
        place.predictor().predict(a_case(), silent)
    assert type(caught.value) is error
    assert "cli/" not in str(caught.value)
    assert place.is_clean()


def test_a_busy_endpoint_is_waited_for(place: Place) -> None:
    def react(call: Call) -> None:
        place.objects.put_json(f"{call.folder}/failure.json", {"status": 503, "detail": "ending"})
        looked.wait(30)
        place.endpoint.answer(call)

    looked = threading.Event()
    place.endpoint.react = react
    waits = lambda message, share: looked.set() if "wait" in message else None  # noqa: E731 - no name needed
    assert place.predictor().predict(a_case(), waits).model_id == BUNDLE.id
    assert place.is_clean()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit(143), StageError("did not answer within")])
def test_who_stops_waiting_leaves_nothing(place: Place, stop: BaseException | type[BaseException]) -> None:
    place.endpoint.react = lambda call: None
    timeout = 0.2 if isinstance(stop, StageError) else 60.0

    def reported(message: str, share: float) -> None:
        if "wait" in message and not isinstance(stop, StageError):
            raise stop

    with pytest.raises(stop if isinstance(stop, type) else type(stop)):
        place.predictor(timeout_seconds=timeout).predict(a_case(), reported)
    assert place.endpoint.calls
    assert place.is_clean()


def test_what_is_not_set_or_not_there_is_said_before(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="HOPE_SAGEMAKER_ENDPOINT is not set"):
        place.predictor(name="").prepare()
    with pytest.raises(InputError, match="HOPE_SAGEMAKER_BUCKET is not usable"):
        place.predictor(bucket="https://x/y").prepare()
    with pytest.raises(StageError, match="refused: 404"):
        place.predictor(bucket="s3://no-such-bucket-here/x").prepare()
    with pytest.raises(StageError, match=r"SageMaker \(endpoint elsewhere\) refused: ValidationError"):
        place.predictor(name="elsewhere").predict(a_case(), silent)
    assert place.is_clean()


class Away:
    """Objects of a store that does not answer for a while."""

    def __init__(self, silent_polls: int, manifest: dict[str, Any]) -> None:
        self.left, self.manifest = silent_polls, manifest

    def get_json(self, location: str) -> dict[str, Any]:
        self.left -= 1
        if self.left >= 0:
            raise ConnectionError("the object store does not answer")
        return self.manifest


@pytest.mark.parametrize(("silent_polls", "found"), [(sagemaker_result.MOST_SILENT_POLLS - 1, True), (99, False)])
def test_a_store_may_be_silent_for_a_while(monkeypatch: pytest.MonkeyPatch, silent_polls: int, found: bool) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(sagemaker_result.time, "sleep", pauses.append)
    watch = ResultWatch(Away(silent_polls, {"x": 1}), AsyncResult("j", "s3://bucket/j"), 3600)  # type: ignore[arg-type]
    if found:
        assert watch.manifest(lambda: None) == {"x": 1}
        assert pauses == sorted(pauses)
        assert pauses[-1] <= sagemaker_result.LONGEST_PAUSE_SECONDS
    else:
        with pytest.raises(ConnectionError):
            watch.manifest(lambda: None)


class TestNotices:
    @pytest.fixture
    def queue(self, s3_url: S3Place) -> tuple[Any, str]:
        client = boto3.client("sqs", endpoint_url=s3_url.endpoint)
        return client, client.create_queue(QueueName=s3_url.url.split("/")[2])["QueueUrl"]

    def test_only_our_own_are_taken(
        self, queue: tuple[Any, str], s3_url: S3Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sagemaker_result, "_FOREIGN_PAUSE_SECONDS", 0.05)
        client, url = queue
        bodies = [
            json.dumps({"Message": json.dumps({"inferenceId": "theirs"})}),
            "no JSON",
            json.dumps({"Message": json.dumps({"inferenceId": "ours", "invocationStatus": "Completed"})}),
            json.dumps({"inferenceId": "ours too"}),
        ]
        for body in bodies:
            client.send_message(QueueUrl=url, MessageBody=body)
        notices = Notices(url, s3_url.endpoint)
        assert notices.wait("ours", 30)
        assert notices.wait("ours too", 30)
        assert not notices.wait("ours", 0.2)
        left = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)["Messages"]
        assert sorted(message["Body"] for message in left) == sorted(bodies[:2])

    def test_a_queue_that_is_not_there_costs_nothing_but_a_warning(
        self, queue: tuple[Any, str], s3_url: S3Place, caplog: pytest.LogCaptureFixture
    ) -> None:
        notices = Notices(f"{queue[1]}-nowhere", s3_url.endpoint)
        assert not notices.wait("ours", 0.2)
        assert not notices.wait("ours", 0.1)
        assert caplog.text.count("answers are found by polling") == 1

    def test_they_end_a_pause(self, queue: tuple[Any, str], place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """The predictor looks again when one comes, long before the pause would have ended."""
        monkeypatch.setattr(sagemaker_result, "FIRST_PAUSE_SECONDS", 600.0)
        client, url = queue
        waits = threading.Event()

        def react(call: Call) -> None:
            waits.wait(30)
            place.endpoint.answer(call)
            client.send_message(QueueUrl=url, MessageBody=json.dumps({"inferenceId": call.payload["job_id"]}))

        place.endpoint.react = react
        # One address for SageMaker and SQS: the queue's is told here by its own client.
        predictor = place.predictor(queue_url=url)
        monkeypatch.setattr(Notices, "_client", client)
        reported = lambda message, share: waits.set() if "wait" in message else None  # noqa: E731 - no name needed
        assert predictor.predict(a_case(), reported).model_id == BUNDLE.id
