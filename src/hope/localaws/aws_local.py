"""The AWS route without AWS: S3, SNS and SQS (moto), an asynchronous SageMaker endpoint, and its container.

One object starts and ends all of it. The container is `hope endpoint` in a process of its own, or one that is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hope.domain.errors import InputError
from hope.localaws.aws_delivery import Clients, Deliveries, Topics
from hope.localaws.aws_processes import STOP_SECONDS, ServerProcess, endpoint_server, free_port, is_free, moto_server
from hope.localaws.aws_runtime import RuntimeServer

REGION = "us-east-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Made up: moto takes any."""

MOTO_SECONDS = 60.0


@dataclass(frozen=True)
class LocalOptions:
    """What `LocalAws` starts.

    Attributes:
        endpoint: the endpoint's name.
        bucket: the proxy bucket.
        port: of the runtime API, which also stands for all other services; 0 takes a free one.
        aws_url: a moto server that runs already; empty starts one.
        container: address of a container that runs already; empty starts `hope endpoint`.
        s3_port: loopback port of S3, SNS and SQS; 0 takes any that is free.
        s3_url: where the container finds S3, if not at the server itself (a proxy, say).
        environment: variables for `hope endpoint` besides those of this process.
        concurrent: invocations that the container gets at once.
        tries: deliveries of one invocation.
        ready_seconds: how long the container may take until /ping answers 200.
        stop_seconds: how long it may take to end.
    """

    endpoint: str = "hope"
    bucket: str = "hope-proxy"
    port: int = 0
    aws_url: str = ""
    container: str = ""
    s3_port: int = 0
    s3_url: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    concurrent: int = 1
    tries: int = 3
    ready_seconds: float = 240.0
    stop_seconds: float = STOP_SECONDS


class LocalAws:
    """Everything between the backend and the endpoint's container, on this machine.

    Args:
        folder: logs.
        options: what to start.
    """

    def __init__(self, folder: Path, options: LocalOptions = LocalOptions()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self.options = folder, options
        self._stack = ExitStack()
        self.aws_url = options.aws_url
        self.container: ServerProcess | None = None
        self.queue_url = ""

    def start(self) -> None:
        """Start all; the container may still be loading when this returns.

        Raises:
            InputError: if moto is missing, or a port is in use.
            OutputError: if a server does not start.
        """
        try:
            self._start_servers()
            self._start_endpoint()
        except BaseException:
            self.stop()
            raise

    def _start_servers(self) -> None:
        if self.aws_url:
            return
        port = self.options.s3_port or free_port()
        if self.options.s3_port and not is_free(port):
            raise InputError(
                f"cannot serve S3 on port {port}: another program listens there",
                fix="stop that program, or choose another port with --s3-port",
            )
        self.aws_url = f"http://127.0.0.1:{port}"
        moto = moto_server(port, self._folder)
        self._stack.callback(moto.stop)
        moto.start()
        moto.wait_ready(MOTO_SECONDS)

    def _start_endpoint(self) -> None:
        options = self.options
        self.s3 = self.client("s3")
        clients = Clients(self.s3, self.client("sns"))
        topics = self._make_places(clients)
        port = free_port()
        self.container_url = options.container or f"http://127.0.0.1:{port}"
        self.deliveries = Deliveries(
            self.container_url,
            clients,
            topics,
            region=REGION,
            tries=options.tries,
            ready_seconds=options.ready_seconds,
            concurrent=options.concurrent,
        )
        try:
            self.runtime = RuntimeServer(
                options.endpoint,
                self.aws_url,
                self.deliveries,
                f"s3://{options.bucket}/async/answers",
                f"s3://{options.bucket}/async/failures",
                options.port,
            )
        except OSError as error:
            raise InputError(
                f"cannot listen on port {options.port}: {error.strerror or error}",
                fix="stop the program that uses it, or choose another with --port",
            ) from error
        # In reverse order: no new calls, no new deliveries, the container ends, then whoever waits for its answer.
        self._stack.callback(self.deliveries.stop)
        if not options.container:
            environment = {**CREDENTIALS, "HOPE_S3_ENDPOINT_URL": options.s3_url or self.aws_url, **options.environment}
            self.container = endpoint_server(port, self._folder, environment)
            self._stack.callback(self.container.stop, options.stop_seconds)
            self.container.start()
        self._stack.callback(self.deliveries.give_up)
        self.deliveries.start()
        self._stack.callback(self.runtime.stop)
        self.runtime.start()

    def _make_places(self, clients: Clients) -> Topics:
        """The proxy bucket, and a queue that hears of both topics; returns the topics."""
        self.s3.create_bucket(Bucket=self.options.bucket)
        sqs = self.client("sqs")
        name = self.options.bucket
        self.queue_url = sqs.create_queue(QueueName=f"{name}-notifications")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topics = [clients.sns.create_topic(Name=f"{name}-{kind}")["TopicArn"] for kind in ("success", "error")]
        for topic in topics:
            clients.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return Topics(*topics)

    def client(self, service: str, url: str = "") -> Any:
        """A boto3 client of the local AWS, with the made-up credentials."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=url or self.aws_url,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(
                s3={"addressing_style": "path"},
                max_pool_connections=20,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def environment(self) -> dict[str, str]:
        """Variables under which the platform and the command line use this endpoint."""
        return {
            **CREDENTIALS,
            "HOPE_PREDICTOR": "sagemaker",
            "HOPE_S3_ENDPOINT_URL": self.aws_url,
            "HOPE_SAGEMAKER_BUCKET": f"s3://{self.options.bucket}/cases",
            "HOPE_SAGEMAKER_ENDPOINT": self.options.endpoint,
            "HOPE_SAGEMAKER_ENDPOINT_URL": self.runtime.url,
            "HOPE_SAGEMAKER_SNS_QUEUE_URL": self.queue_url,
        }

    def wait_ready(self) -> None:
        """Return when the container's /ping answers 200.

        Raises:
            OutputError: if it does not in time.
        """
        if self.container:
            self.container.wait_ready(self.options.ready_seconds)

    def stored(self) -> list[str]:
        """All keys in the proxy bucket."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.options.bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

    def stop(self) -> None:
        """End all processes and threads; nothing is left."""
        self._stack.close()

    def __enter__(self) -> LocalAws:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
