"""The answer of an asynchronous endpoint: where it appears, how it is waited for, and what it may hold.

The bucket alone tells the truth: a manifest, which is written last, or a failure. A notice only ends a pause sooner.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hope.adapters.aws import make_client, parse_location, worded
from hope.adapters.proxy_bucket import Objects
from hope.domain.errors import InputError, StageError

OUTPUT_FORMAT = "hope-output/1"

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
PAUSE_GROWTH = 1.4

MOST_SILENT_POLLS = 10
"""So many looks in a row that the object store did not answer end the wait: more than two minutes at the least."""

SETTLE_SECONDS = 10.0
"""How long SageMaker's own object may come after the manifest."""

_SETTLE_PAUSE_SECONDS = 0.25

_BUSY = 503
"""The endpoint asked to be called again: SageMaker delivers once more, or says in its own place that it gave up."""

_REFUSED = range(400, 500)
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_MESSAGE = 600
_FOREIGN_PAUSE_SECONDS = 1.0
_LONGEST_POLL_SECONDS = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResultFile:
    """One file of an answer: its name, where it lies, and the hash of its bytes."""

    name: str
    location: str
    sha256: str


@dataclass(frozen=True)
class AsyncResult:
    """Where the answer to one invocation appears.

    Attributes:
        job_id: of the invocation.
        results: ``s3://...`` folder of manifest and failure.
        output, failure: SageMaker's own objects, one of which it writes at the end; empty if it named none.
    """

    job_id: str
    results: str
    output: str = ""
    failure: str = ""

    def files(self, manifest: Mapping[str, Any]) -> list[ResultFile]:
        """The files that a manifest lists.

        Raises:
            StageError: if it is not one of ours, or lists what does not belong to this answer.
        """
        bucket, folder = parse_location(self.results)
        root, files = f"{folder}/", []
        try:
            if (manifest["format"], manifest["job_id"], manifest["kind"]) != (
                OUTPUT_FORMAT,
                self.job_id,
                "prediction",
            ):
                raise ValueError("of another kind")
            for entry in manifest["files"]:
                name, key, sha256 = str(entry["name"]), str(entry["key"]), str(entry["sha256"])
                if not _FILE_NAME.fullmatch(name) or not _SHA256.fullmatch(sha256) or not key.startswith(root):
                    raise ValueError("an entry that is no file of this answer")
                files.append(ResultFile(name, f"s3://{bucket}/{key}", sha256))
        except (KeyError, TypeError, ValueError) as error:
            raise StageError("the endpoint's manifest is not one that this version can read") from error
        return files


class ResultWatch:
    """Waits for an answer.

    Args:
        objects: access to the bucket.
        result: what is waited for.
        timeout_seconds: how long.
        notices: what may end a pause sooner.
    """

    def __init__(
        self, objects: Objects, result: AsyncResult, timeout_seconds: float, notices: Notices | None = None
    ) -> None:
        self._objects, self._result, self._timeout, self._notices = objects, result, timeout_seconds, notices
        self._finished = False

    def manifest(self, progress: Callable[[], None]) -> dict[str, Any]:
        """The manifest, as soon as it is there; ``progress`` is called before every pause.

        Raises:
            InputError: if the endpoint refuses the case.
            StageError: if it fails, or does not answer in time.
            ConnectionError: if the object store does not answer for long.
        """
        start, pause, silent_polls = time.monotonic(), FIRST_PAUSE_SECONDS, 0
        while True:
            try:
                if found := self._poll():
                    return found
                silent_polls = 0
            except ConnectionError:
                silent_polls += 1
                if silent_polls >= MOST_SILENT_POLLS:
                    raise
            left = self._timeout - (time.monotonic() - start)
            if left <= 0:
                raise StageError(f"the endpoint did not answer within {self._timeout / 60:g} minutes")
            progress()
            self._pause(min(pause, left))
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)

    def _pause(self, seconds: float) -> None:
        if self._notices is None:
            time.sleep(seconds)
        else:
            self._notices.wait(self._result.job_id, seconds)

    def _poll(self) -> dict[str, Any] | None:
        """The manifest if it is there, else what failed, as an error; None while there is neither."""
        manifest = f"{self._result.results}/manifest.json"
        if found := self._objects.get_json(manifest):
            self._finished = True
            return found
        failure = self._objects.get_json(f"{self._result.results}/failure.json")
        gave_up, finished = self._there(self._result.failure), self._there(self._result.output)
        if not (gave_up or finished or (failure and failure.get("status") != _BUSY)):
            return None
        self._finished = True
        # It may have been written between the two looks; a later attempt may have mended what failed in an earlier one.
        if found := self._objects.get_json(manifest):
            return found
        if failure := failure or self._objects.get_json(f"{self._result.results}/failure.json"):
            raise _worded_failure(failure)
        if gave_up:
            raise StageError("the endpoint failed without saying why; its log in CloudWatch knows")
        raise StageError("the endpoint answered but left no manifest; it is not an endpoint of this program")

    def delete_own(self) -> None:
        """Delete SageMaker's own objects, of which one appears a moment after the endpoint's answer.

        Raises:
            ConnectionError, OutputError: if they cannot be deleted.
        """
        own = [location for location in (self._result.output, self._result.failure) if location]
        deadline = time.monotonic() + (SETTLE_SECONDS if self._finished else 0)
        while own and time.monotonic() < deadline and not any(map(self._objects.exists, own)):
            time.sleep(_SETTLE_PAUSE_SECONDS)
        for location in own:
            self._objects.delete(location)

    def _there(self, location: str) -> bool:
        """Whether SageMaker's own object is there: also no, if we may not look into its bucket."""
        with suppress(ConnectionError, InputError):
            return bool(location) and self._objects.exists(location)
        return False


def _worded_failure(failure: Mapping[str, Any]) -> InputError | StageError:
    detail = " ".join(str(failure.get("detail") or "it did not say why").split())[:_LONGEST_MESSAGE]
    if failure.get("status") in _REFUSED:
        return InputError(f"the endpoint refused the case: {detail}")
    return StageError(f"the endpoint failed: {detail}")


class Notices:
    """Notifications of ended invocations, from an SQS queue subscribed to the endpoint's success and error topics.

    Only our own are taken from the queue; other callers' stay where they are and visible.

    Args:
        queue_url: of the queue.
        endpoint_url: a server other than AWS.
    """

    def __init__(self, queue_url: str, endpoint_url: str = "") -> None:
        self._queue_url, self._endpoint = queue_url, endpoint_url
        self._works = True

    @cached_property
    def _client(self) -> Any:
        return make_client("sqs", self._endpoint)

    def wait(self, job_id: str, seconds: float) -> bool:
        """Wait until a notice of a job comes, but no longer than this; returns whether it came."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            notice = self._receive(job_id, left) if self._works else None
            if notice:
                return True
            # After messages of others: they would come again at once.
            left = deadline - time.monotonic()
            time.sleep(max(0.0, min(left, _FOREIGN_PAUSE_SECONDS) if notice is False else left))
        return False

    def _receive(self, job_id: str, seconds: float) -> bool | None:
        """Whether a notice of the job was among those received; None if none was received or the queue is away."""
        try:
            with worded(what="the queue of notifications"):
                messages = self._client.receive_message(
                    QueueUrl=self._queue_url,
                    MaxNumberOfMessages=10,
                    WaitTimeSeconds=min(int(seconds), _LONGEST_POLL_SECONDS),
                    # They stay visible: what is not ours is somebody else's.
                    VisibilityTimeout=0,
                ).get("Messages", [])
                ours = [message for message in messages if _inference_id(message) == job_id]
                for message in ours:
                    self._client.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
        except ConnectionError as error:
            log.warning("%s; answers are found by polling", error)
            self._works = False
            return None
        return bool(ours) if messages else None


def _inference_id(message: Mapping[str, Any]) -> str:
    """What a notification says of itself, whether SNS wraps it or delivers it raw."""
    with suppress(ValueError, TypeError, AttributeError):
        body = json.loads(message["Body"])
        notice = json.loads(body["Message"]) if "Message" in body else body
        return str(notice.get("inferenceId", ""))
    return ""
