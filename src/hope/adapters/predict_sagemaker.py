"""Prediction by an asynchronous endpoint of SageMaker: the case goes there and the answer comes back through a bucket.

What lies in the bucket belongs to one call and is deleted when that ends, however it ends. A process that is killed
cannot do so: then whoever knows the key does, which is why the platform chooses it (`hope.jobs`).
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hope.adapters.aws import make_client, parse_location, worded
from hope.adapters.predict_local import LocalPredictor
from hope.adapters.proxy_bucket import Objects
from hope.adapters.sagemaker_result import AsyncResult, Notices, ResultFile, ResultWatch
from hope.domain.case import HarmonizedCase, HeadState, MRSequence, Prediction
from hope.domain.errors import BundleError, HopeError, InputError, OutputError, StageError
from hope.domain.ids import new_id
from hope.domain.progress import Progress
from hope.formats import stage_io
from hope.formats.hashing import sha256_of
from hope.formats.private_directory import private_directory
from hope.models.bundle import Bundle

INPUT_FORMAT = "hope-input/1"
INPUT_LIST = "hope-input.json"

SENT, RECEIVED = 0.2, 0.9
"""Shares of the work that are behind us when the case is in the bucket, and when the answer is."""

_LONGEST_RUN_SECONDS = 3600
_LONGEST_QUEUE_SECONDS = 21600
_SHORTEST_QUEUE_SECONDS = 60

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Endpoint:
    """An asynchronous endpoint and how it is reached.

    Attributes:
        name: of the endpoint.
        bucket: ``s3://bucket/prefix`` of the proxy.
        timeout_seconds: longest wait for one answer.
        queue_url: an SQS queue that hears of ended invocations; none if empty.
        url: a server other than AWS that answers in place of SageMaker and SQS.
    """

    name: str
    bucket: str
    timeout_seconds: float = 3600.0
    queue_url: str = ""
    url: str = ""


class SageMakerPredictor:
    """A ``hope.ports.Predictor`` whose networks run at an endpoint.

    The bundle must be here too: it says what the model needs, and an answer of other bytes is refused.

    Args:
        bundle: the model.
        endpoint: where it runs.
        objects: access to the bucket.
        key: below the bucket's prefix, ends in a slash: where the case is kept meanwhile. Chosen at random if empty.
        scratch: folder for the files meanwhile; the system's own if not given.
    """

    def __init__(
        self, bundle: Bundle, endpoint: Endpoint, objects: Objects, key: str = "", scratch: Path | None = None
    ) -> None:
        self.bundle, self._endpoint, self._objects = bundle, endpoint, objects
        self._key, self._scratch = key, scratch
        # Knows the bundle's facts; it is never asked to load anything.
        self._facts = LocalPredictor(bundle, "sagemaker")
        self._said: Mapping[str, Any] = {}

    @property
    def head_state(self) -> HeadState:
        """What of the head the model wants to see."""
        return self._facts.head_state

    @property
    def device_note(self) -> str:
        """Empty: the endpoint, not this machine, chooses the device."""
        return ""

    def missing_sequences(self, present: Collection[MRSequence]) -> tuple[MRSequence, ...]:
        """Sequences the model would have to do without; InputError if it cannot."""
        return self._facts.missing_sequences(present)

    def describe(self) -> Mapping[str, object]:
        """Facts of the model for result.json, after a prediction also those that the endpoint told."""
        return {**self._facts.describe(), **self._said, "endpoint": self._endpoint.name}

    def prepare(self) -> None:
        """Check the settings, and that the bucket can be reached.

        Raises:
            InputError: if a setting is missing or not usable.
            StageError: if the bucket cannot be reached.
        """
        for name, value in (("ENDPOINT", self._endpoint.name), ("BUCKET", self._endpoint.bucket)):
            if not value:
                raise InputError(
                    f"HOPE_SAGEMAKER_{name} is not set",
                    fix="set it, or let the model run here with HOPE_PREDICTOR=local",
                )
        parse_location(self._endpoint.bucket, "HOPE_SAGEMAKER_BUCKET")
        with _as_stage_error():
            self._objects.check(self._endpoint.bucket)

    def predict(self, case: HarmonizedCase, progress: Progress) -> Prediction:
        """Let the endpoint label the case on its atlas grid; see ``hope.ports.Predictor``.

        Raises:
            InputError: if a sequence is missing that the model cannot do without, or the endpoint refuses the case.
            BundleError: if the endpoint's model of this id is another one.
            StageError: if it fails, does not answer in time, or cannot be reached.
        """
        self.missing_sequences(case.images)
        self.prepare()
        job_id = new_id()
        key = self._key or f"cli/{new_id()}/"
        folder = f"{self._endpoint.bucket.rstrip('/')}/{key}{job_id}"
        watch: ResultWatch | None = None
        try:
            with _as_stage_error(), _working_directory(self._scratch) as scratch:
                out, back = scratch / "sent", scratch / "back"
                out.mkdir(mode=0o700)
                back.mkdir(mode=0o700)
                self._send(case, job_id, folder, out, progress)
                result = self._invoke(job_id, folder, f"{key}{job_id}")
                watch = ResultWatch(self._objects, result, self._endpoint.timeout_seconds, self._notices())
                manifest = self._wait(watch, progress)
                self._check_model(manifest)
                self._fetch(result.files(manifest), back, progress)
                return self._loaded(back)
        finally:
            self._delete(folder, watch)

    def _send(self, case: HarmonizedCase, job_id: str, folder: str, out: Path, progress: Progress) -> None:
        """Put the case into the bucket, under an id of its own: on the command line it is named after a directory."""
        progress("segment: pack the case", 0.0)
        unnamed = replace(case, aligned=replace(case.aligned, case_id=job_id))
        names = stage_io.save_aligned(unnamed.aligned, out) + stage_io.save_harmonized(unnamed, out)
        files = []
        for number, name in enumerate(names):
            progress("segment: send the case to the bucket", SENT * number / len(names))
            digest = sha256_of(out / name)
            self._objects.upload(out / name, f"{folder}/input/{name}", digest)
            files.append({"name": name, "bytes": (out / name).stat().st_size, "sha256": digest})
        self._objects.put_json(f"{folder}/input/{INPUT_LIST}", {"format": INPUT_FORMAT, "case": job_id, "files": files})
        payload = {
            "input_location": f"{folder}/input/",
            "output_location": f"{folder}/results",
            "job_id": job_id,
            "model_id": self.bundle.id,
        }
        self._objects.put_json(f"{folder}/payload.json", payload)

    def _invoke(self, job_id: str, folder: str, extension: str) -> AsyncResult:
        """Ask for the invocation; SageMaker's own answer goes below the same key, as far as its paths are ours."""
        seconds = int(self._endpoint.timeout_seconds)
        client = make_client("sagemaker-runtime", self._endpoint.url)
        with worded(what=f"SageMaker (endpoint {self._endpoint.name})"):
            said = client.invoke_endpoint_async(
                EndpointName=self._endpoint.name,
                InputLocation=f"{folder}/payload.json",
                ContentType="application/json",
                InferenceId=job_id,
                S3OutputPathExtension=extension,
                InvocationTimeoutSeconds=min(max(seconds, 1), _LONGEST_RUN_SECONDS),
                # Nobody waits for it any longer than that.
                RequestTTLSeconds=min(max(seconds, _SHORTEST_QUEUE_SECONDS), _LONGEST_QUEUE_SECONDS),
            )
        results = f"{folder}/results/{job_id}"
        return AsyncResult(job_id, results, str(said.get("OutputLocation", "")), str(said.get("FailureLocation", "")))

    def _notices(self) -> Notices | None:
        return Notices(self._endpoint.queue_url, self._endpoint.url) if self._endpoint.queue_url else None

    @staticmethod
    def _wait(watch: ResultWatch, progress: Progress) -> Mapping[str, Any]:
        start = time.monotonic()

        def report() -> None:
            # Nobody knows how long it takes: half of what is left every two minutes.
            gone = 1 - 0.5 ** ((time.monotonic() - start) / 120)
            progress("segment: wait for the endpoint", SENT + (RECEIVED - SENT) * gone)

        return watch.manifest(report)

    def _check_model(self, manifest: Mapping[str, Any]) -> None:
        """A bundle's id means the same bytes everywhere."""
        model = manifest.get("model")
        said = model if isinstance(model, dict) else {}
        if (said.get("id"), said.get("sha256")) != (self.bundle.id, self.bundle.sha256):
            raise BundleError(
                f"the endpoint ran another model than {self.bundle.id} {self.bundle.version} with sha256 "
                f"{self.bundle.sha256[:12]} (its own: {str(said.get('id'))[:64]}, sha256 "
                f"{str(said.get('sha256'))[:12]}); give both the same with `hope models push` and `hope models pull`"
            )

    def _fetch(self, files: Sequence[ResultFile], into: Path, progress: Progress) -> None:
        for number, file in enumerate(files):
            progress("segment: fetch the answer", RECEIVED + (1 - RECEIVED) * number / len(files))
            self._objects.download(file.location, into / file.name, file.sha256)

    def _loaded(self, folder: Path) -> Prediction:
        try:
            prediction = stage_io.load_prediction(folder)
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise StageError("the endpoint's answer is not one that this version can read") from error
        self._check_model({"model": {"id": prediction.model_id, "sha256": prediction.model_sha256}})
        self._said = _read_facts(folder / "model.json")
        return prediction

    def _delete(self, folder: str, watch: ResultWatch | None) -> None:
        """Delete all that this call put into the bucket or caused there; what fails is left to the platform's sweep."""
        try:
            if watch:
                with _logged():
                    watch.delete_own()
        finally:
            with _logged():
                self._objects.delete_prefix(folder)


def _read_facts(path: Path) -> dict[str, Any]:
    """What the endpoint's predictor says of itself: how it ran, such as its device and precision.

    Raises:
        StageError: if it left no such file.
    """
    try:
        facts = dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise StageError("the endpoint left no readable model.json") from error
    return {name: value for name, value in facts.items() if name != "format"}


@contextmanager
def _working_directory(folder: Path | None) -> Iterator[Path]:
    """A new directory for a case: in a folder that its owner sweeps, else one that a later process deletes."""
    if folder is None:
        with private_directory() as scratch:
            yield scratch
    else:
        with tempfile.TemporaryDirectory(prefix="hope-", dir=folder) as name:
            yield Path(name)


@contextmanager
def _as_stage_error() -> Iterator[None]:
    """A server that does not answer is no fault of the input, and no file of this machine either."""
    try:
        yield
    except ConnectionError as error:
        raise StageError(f"the case could not be run at the endpoint: {error}") from error
    except OutputError as error:
        raise StageError(f"the case could not be sent to the endpoint: {error}") from error


@contextmanager
def _logged() -> Iterator[None]:
    """What cannot be deleted must not hide the answer, or the error that there is already."""
    try:
        yield
    except (OSError, HopeError) as error:
        log.error("objects of an ended call could not be deleted from the bucket: %s", error)
