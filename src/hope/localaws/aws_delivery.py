"""The queue of an emulated asynchronous endpoint: each invocation goes to the container, its answer to the bucket."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from botocore.exceptions import BotoCoreError, ClientError

MOST_INPUT_BYTES = 2**30
"""A request payload of an asynchronous endpoint has at most 1 GB."""

PING_SECONDS = 2.0
PAUSE_SECONDS = 0.1

log = logging.getLogger(__name__)


@dataclass
class Invocation:
    """One accepted call and what became of it.

    Attributes:
        inference_id: chosen by the caller, or for it.
        endpoint: the endpoint's name.
        input_location: S3 object whose content goes to the container; empty if ``body`` is it.
        body: content that came with the call.
        content_type, accept, custom_attributes: passed on to the container as they are.
        timeout_seconds: longest time that the container may take.
        ttl_seconds: longest time in the queue.
        output_location, failure_location: where the answer, or the error, goes.
        state: queued, running, done or failed.
        deliveries: how often it was handed to the container.
        reason: why it failed.
    """

    inference_id: str
    endpoint: str
    input_location: str
    body: bytes
    content_type: str
    accept: str
    custom_attributes: str
    timeout_seconds: int
    ttl_seconds: int
    output_location: str
    failure_location: str
    state: str = "queued"
    deliveries: int = 0
    reason: str = ""
    received: float = field(default_factory=time.time)
    queued: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Topics:
    """SNS topics (ARNs) of success and error."""

    success: str = ""
    error: str = ""


@dataclass(frozen=True)
class Clients:
    """boto3 clients; shared by all threads."""

    s3: Any
    sns: Any


class FailedError(Exception):
    """The invocation is over without an answer; the sentence goes into the notification."""

    def __init__(self, reason: str, body: bytes = b"") -> None:
        super().__init__(reason)
        self.body = body or json.dumps({"error": reason}).encode()


class _DeliverAgainError(Exception):
    """The container died, or says that it cannot take more now."""


class Deliveries:
    """First in, first out, ``concurrent`` at a time.

    Args:
        container: its address, ``http://host:port``.
        clients: S3 and SNS.
        topics: whom to tell.
        region: shown in notifications.
        tries: how often an invocation is delivered if the container dies or answers 503 meanwhile.
        ready_seconds: how long to wait for /ping, each time.
        concurrent: invocations that the container gets at once (MaxConcurrentInvocationsPerInstance).
    """

    def __init__(
        self,
        container: str,
        clients: Clients,
        topics: Topics = Topics(),
        *,
        region: str = "us-east-1",
        tries: int = 3,
        ready_seconds: float = 240.0,
        concurrent: int = 1,
    ) -> None:
        self._container, self._clients, self._topics, self._region = container.rstrip("/"), clients, topics, region
        self._tries, self._ready_seconds = tries, ready_seconds
        # One for all threads; a proxy of the user's environment is no way to a server on this machine.
        self._http = httpx.Client(trust_env=False)
        self._queue: deque[Invocation] = deque()
        self._all: list[Invocation] = []
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work, name="delivery", daemon=True) for _ in range(concurrent)]

    def start(self) -> None:
        """Deliver from now on."""
        for thread in self._threads:
            thread.start()

    def give_up(self) -> None:
        """Deliver no more; an answer that is waited for now still comes, or fails for good."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def stop(self) -> None:
        """End the threads. Stop the container first: what it is doing now would else be waited for."""
        self.give_up()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(10)
        self._http.close()

    def add(self, invocation: Invocation) -> None:
        """Queue one."""
        with self._changed:
            self._all.append(invocation)
            self._queue.append(invocation)
            self._changed.notify_all()

    def redeliver(self, inference_id: str) -> bool:
        """Deliver one once more, whatever became of it: what a queue with at-least-once delivery may do.

        Returns:
            Whether there is one of that id.
        """
        with self._changed:
            found = next((one for one in reversed(self._all) if one.inference_id == inference_id), None)
            if found:
                found.queued = time.monotonic()
                self._queue.append(found)
                self._changed.notify_all()
        return found is not None

    def invocations(self) -> list[Invocation]:
        """All there were, oldest first."""
        with self._changed:
            return list(self._all)

    def wait_idle(self, seconds: float) -> None:
        """Return when nothing waits and nothing runs.

        Raises:
            TimeoutError: if that does not come.
        """
        with self._changed:
            if not self._changed.wait_for(self._idle, seconds):
                raise TimeoutError(f"invocations are still {[one.state for one in self._all]} after {seconds:g} s")

    def _idle(self) -> bool:
        return not self._queue and all(one.state in ("done", "failed") for one in self._all)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping.is_set())
                if self._stopping.is_set():
                    return
                invocation = self._queue.popleft()
                invocation.state = "running"
            try:
                state, reason = self._finish(invocation)
            except Exception as error:  # the thread must live on; nobody else would deliver
                log.exception("an invocation could not be brought to an end")
                state, reason = "failed", f"internal failure: {type(error).__name__}"
            with self._changed:
                invocation.state, invocation.reason = state, reason
                self._changed.notify_all()

    def _finish(self, invocation: Invocation) -> tuple[str, str]:
        try:
            response = self._deliver(invocation)
        except FailedError as error:
            if not self._stopping.is_set():
                self._put(invocation.failure_location, error.body, "application/json")
                self._tell(invocation, "", str(error))
            return "failed", str(error)
        kind = response.headers.get("Content-Type", "application/octet-stream")
        self._put(invocation.output_location, response.content, kind)
        self._tell(invocation, kind, "")
        return "done", ""

    def _deliver(self, invocation: Invocation) -> httpx.Response:
        content = self._content(invocation)
        for _ in range(self._tries):
            self._wait_ready(invocation)
            with contextlib.suppress(_DeliverAgainError):
                return self._post(invocation, content)
            if self._stopping.wait(PAUSE_SECONDS):
                break
        raise FailedError(f"InternalServerError: the model did not answer in {self._tries} deliveries")

    def _content(self, invocation: Invocation) -> bytes:
        if not invocation.input_location:
            return invocation.body
        bucket, key = _parts(invocation.input_location)
        try:
            response = self._clients.s3.get_object(Bucket=bucket, Key=key)
            if response["ContentLength"] > MOST_INPUT_BYTES:
                raise FailedError(f"ClientError: the input has more than {MOST_INPUT_BYTES} bytes")
            content: bytes = response["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise FailedError(f"ClientError: the input cannot be read ({type(error).__name__})") from error
        return content

    def _wait_ready(self, invocation: Invocation) -> None:
        deadline = time.monotonic() + self._ready_seconds
        while not self._stopping.is_set():
            if time.monotonic() - invocation.queued > invocation.ttl_seconds:
                raise FailedError("ClientError: the request expired in the queue")
            if time.monotonic() > deadline:
                raise FailedError(f"InternalServerError: no instance was healthy within {self._ready_seconds:g} s")
            with contextlib.suppress(httpx.TransportError):
                if self._http.get(f"{self._container}/ping", timeout=PING_SECONDS).status_code == 200:
                    return
            self._stopping.wait(PAUSE_SECONDS)
        raise FailedError("InternalServerError: the endpoint is being deleted")

    def _post(self, invocation: Invocation, content: bytes) -> httpx.Response:
        headers = {
            "Content-Type": invocation.content_type,
            "Accept": invocation.accept,
            "X-Amzn-SageMaker-Inference-Id": invocation.inference_id,
            "X-Amzn-SageMaker-Custom-Attributes": invocation.custom_attributes,
        }
        with self._changed:
            invocation.deliveries += 1
        try:
            response = self._http.post(
                f"{self._container}/invocations",
                content=content,
                headers={name: value for name, value in headers.items() if value},
                timeout=httpx.Timeout(invocation.timeout_seconds, connect=5),
            )
        except httpx.ReadTimeout:
            raise FailedError(f"ModelError: no answer within {invocation.timeout_seconds} s") from None
        except httpx.TransportError:
            raise _DeliverAgainError from None
        if response.status_code == 503:
            raise _DeliverAgainError
        if not response.is_success:
            start = response.text[:1000]
            raise FailedError(
                f"{'ClientError' if response.status_code < 500 else 'ServerError'}: Received server error "
                f"({response.status_code}) from model with message {json.dumps(start)}",
                response.content,
            )
        return response

    def _put(self, location: str, content: bytes, kind: str) -> None:
        bucket, key = _parts(location)
        self._clients.s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType=kind)

    def _tell(self, invocation: Invocation, kind: str, reason: str) -> None:
        """Publish the notification in the documented form."""
        topic = self._topics.error if reason else self._topics.success
        if not topic:
            return
        request = {
            "accept": invocation.accept,
            "contentType": invocation.content_type,
            "customAttributes": invocation.custom_attributes,
            "endpointName": invocation.endpoint,
            "inputLocation": invocation.input_location,
        }
        outcome: Mapping[str, object] = (
            {"failureReason": reason}
            if reason
            else {"responseParameters": {"contentType": kind, "outputLocation": invocation.output_location}}
        )
        message = {
            "awsRegion": self._region,
            "eventTime": _moment(time.time()),
            "receivedTime": _moment(invocation.received),
            "invocationStatus": "Failed" if reason else "Completed",
            **outcome,
            "requestParameters": {name: value for name, value in request.items() if value},
            "inferenceId": invocation.inference_id,
            "eventVersion": "1.0",
            "eventSource": "aws:sagemaker",
            "eventName": "InferenceResult",
        }
        self._clients.sns.publish(TopicArn=topic, Message=json.dumps(message))


def _parts(location: str) -> tuple[str, str]:
    parts = urlsplit(location)
    return parts.netloc, parts.path.lstrip("/")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
