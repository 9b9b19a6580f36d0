"""The emulated asynchronous endpoint, with boto3's own client in front and a stub container behind."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, IncompleteReadError, ParamValidationError, ResponseStreamingError
from tests.servers import S3Place

from hope.domain.errors import InputError, OutputError
from hope.localaws.aws_delivery import Invocation
from hope.localaws.aws_local import LocalAws, LocalOptions
from hope.localaws.aws_processes import ServerProcess, free_port
from hope.localaws.aws_proxy import Fault, FaultProxy

Responder = Callable[["Stub", bytes], tuple[int, bytes]]
SECONDS = 30


class Stub:
    """A container: answers what the test says, and remembers what it got."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self.ping = 200
        self.answer: Responder = lambda stub, body: (200, b'{"did": ' + body + b"}")
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.at_once = self.most_at_once = 0

    @contextmanager
    def serving(self) -> Iterator[str]:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.say(stub.ping if self.path == "/ping" else 404, b"")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with stub.lock:
                    stub.got.append((dict(self.headers.items()), body))
                    stub.at_once += 1
                    stub.most_at_once = max(stub.most_at_once, stub.at_once)
                status, content = stub.answer(stub, body)
                with stub.lock:
                    stub.at_once -= 1
                if status:
                    self.say(status, content)
                else:
                    self.close_connection = True  # as a process that dies

            def say(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class Route:
    """The local AWS in front of a stub, and calls of boto3's client."""

    def __init__(self, aws: LocalAws, stub: Stub) -> None:
        self.aws, self.stub = aws, stub
        self.runtime = aws.client("sagemaker-runtime", aws.runtime.url)
        # The runtime's address stands for the other services too.
        self.sqs = aws.client("sqs", aws.runtime.url)
        self.before = 0

    def put(self, content: bytes = b"1") -> str:
        key = f"cases/{secrets.token_hex(4)}.json"
        self.aws.s3.put_object(Bucket=self.aws.options.bucket, Key=key, Body=content)
        return f"s3://{self.aws.options.bucket}/{key}"

    def invoke(self, content: bytes = b"1", **more: Any) -> dict[str, Any]:
        return self.runtime.invoke_endpoint_async(
            **{"EndpointName": "hope", "InputLocation": self.put(content), **more}
        )

    def read(self, location: str) -> bytes | None:
        key = location.removeprefix(f"s3://{self.aws.options.bucket}/")
        try:
            return self.aws.s3.get_object(Bucket=self.aws.options.bucket, Key=key)["Body"].read()
        except self.aws.s3.exceptions.NoSuchKey:
            return None

    def wait(self) -> None:
        self.aws.deliveries.wait_idle(SECONDS)

    def messages(self) -> list[dict[str, Any]]:
        """What the queue heard, unwrapped."""
        answer = self.sqs.receive_message(QueueUrl=self.aws.queue_url, MaxNumberOfMessages=10)
        return [json.loads(json.loads(one["Body"])["Message"]) for one in answer.get("Messages", [])]

    def invocations(self) -> list[Invocation]:
        """Those of this test."""
        return self.aws.deliveries.invocations()[self.before :]


@pytest.fixture(scope="module")
def _route(s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Route]:
    stub = Stub()
    with stub.serving() as container:
        bucket = f"hope-{secrets.token_hex(6)}"
        options = LocalOptions(bucket=bucket, aws_url=s3_endpoint, container=container)
        with LocalAws(tmp_path_factory.mktemp("aws"), options) as aws:
            yield Route(aws, stub)


@pytest.fixture
def route(_route: Route) -> Route:
    """As new: nothing invoked, a stub that answers, an empty queue."""
    _route.stub.reset()
    _route.before = len(_route.aws.deliveries.invocations())
    while _route.messages():
        pass
    return _route


def test_s3_listens_on_the_port_that_was_asked_for(tmp_path: Path) -> None:
    """Who starts a container first has to know where it will find S3."""
    stub, port = Stub(), free_port()
    with stub.serving() as container, LocalAws(tmp_path, LocalOptions(container=container, s3_port=port)) as aws:
        assert aws.environment()["HOPE_S3_ENDPOINT_URL"] == f"http://127.0.0.1:{port}"
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
        with pytest.raises(InputError, match=f"port {port}: another program") as refusal:
            LocalAws(tmp_path, LocalOptions(container=container, s3_port=port)).start()
        assert "--s3-port" in refusal.value.fix


def test_an_invocation_reaches_the_container_and_its_answer_the_bucket(route: Route) -> None:
    answer = route.invoke(
        b'{"a": 1}',
        InferenceId="case-7",
        ContentType="application/json",
        Accept="application/json",
        CustomAttributes="trace=1",
        InvocationTimeoutSeconds=60,
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["InferenceId"] == "case-7"
    route.wait()
    assert json.loads(route.read(answer["OutputLocation"]) or b"") == {"did": {"a": 1}}
    assert route.read(answer["FailureLocation"]) is None
    ((headers, body),) = route.stub.got
    assert body == b'{"a": 1}'
    assert headers["Content-Type"] == headers["Accept"] == "application/json"
    assert headers["X-Amzn-SageMaker-Inference-Id"] == "case-7"
    assert headers["X-Amzn-SageMaker-Custom-Attributes"] == "trace=1"
    assert not any("InputLocation" in name or "Authorization" in name for name in headers)


def test_both_ends_are_told_to_the_topics_in_the_documented_form(route: Route) -> None:
    good = route.invoke(ContentType="application/json", InferenceId="good")
    route.wait()
    route.stub.answer = lambda stub, body: (400, b'{"detail": "no t1c"}')
    bad = route.invoke(InferenceId="bad")
    route.wait()
    reported = {one["inferenceId"]: one for one in route.messages()}
    assert set(reported) == {"good", "bad"}
    assert reported["good"]["invocationStatus"] == "Completed"
    assert reported["good"]["responseParameters"]["outputLocation"] == good["OutputLocation"]
    assert reported["good"]["requestParameters"]["endpointName"] == "hope"
    assert reported["good"]["eventName"] == "InferenceResult"
    assert reported["bad"]["invocationStatus"] == "Failed"
    assert "(400)" in reported["bad"]["failureReason"]
    assert "no t1c" in reported["bad"]["failureReason"]
    assert "responseParameters" not in reported["bad"]
    assert route.read(bad["FailureLocation"]) == b'{"detail": "no t1c"}'
    assert route.read(bad["OutputLocation"]) is None


def test_one_at_a_time_in_order(route: Route) -> None:
    def slowly(stub: Stub, body: bytes) -> tuple[int, bytes]:
        time.sleep(0.02)
        return 200, body

    route.stub.answer = slowly
    for number in range(6):
        route.invoke(str(number).encode())
    route.wait()
    assert [body for _, body in route.stub.got] == [str(number).encode() for number in range(6)]
    assert route.stub.most_at_once == 1


def test_nothing_is_delivered_before_ping_says_200(route: Route) -> None:
    route.stub.ping = 503
    answer = route.invoke()
    time.sleep(0.3)
    assert route.stub.got == []
    route.stub.ping = 200
    route.wait()
    assert route.read(answer["OutputLocation"])


@pytest.mark.parametrize("status", [0, 503], ids=["dies", "503"])
def test_an_invocation_is_delivered_again_but_not_for_ever(route: Route, status: int) -> None:
    def twice(stub: Stub, body: bytes) -> tuple[int, bytes]:
        return (status, b"") if len(stub.got) < 3 else (200, b"{}")

    route.stub.answer = twice
    answer = route.invoke(InferenceId="again")
    route.wait()
    assert route.read(answer["OutputLocation"]) == b"{}"
    assert len(route.stub.got) == 3
    route.stub.answer = lambda stub, body: (status, b"")
    answer = route.invoke(InferenceId="never")
    route.wait()
    assert route.read(answer["OutputLocation"]) is None
    assert b"3 deliveries" in (route.read(answer["FailureLocation"]) or b"")
    assert [one.state for one in route.invocations()] == ["done", "failed"]


def test_a_container_that_takes_too_long_is_a_failure(route: Route) -> None:
    release = threading.Event()

    def hang(stub: Stub, body: bytes) -> tuple[int, bytes]:
        release.wait(SECONDS)
        return 200, b"{}"

    route.stub.answer = hang
    answer = route.invoke(InvocationTimeoutSeconds=1)
    route.wait()
    release.set()
    assert b"no answer within 1 s" in (route.read(answer["FailureLocation"]) or b"")
    assert len(route.stub.got) == 1


def test_an_input_that_is_not_there_is_a_failure_and_not_a_delivery(route: Route) -> None:
    answer = route.invoke(InputLocation=f"s3://{route.aws.options.bucket}/nothing.json")
    route.wait()
    assert b"input cannot be read" in (route.read(answer["FailureLocation"]) or b"")
    assert route.stub.got == []


def test_a_duplicate_delivery_on_demand(route: Route) -> None:
    route.invoke(InferenceId="one")
    route.wait()
    url = f"{route.aws.runtime.url}/local/invocations"
    assert httpx.post(f"{url}/one/redeliver").status_code == 202
    assert httpx.post(f"{url}/other/redeliver").status_code == 404
    route.wait()
    assert len(route.stub.got) == 2
    shown = httpx.get(url).json()["invocations"][route.before :]
    assert shown == [{"inference_id": "one", "state": "done", "deliveries": 2, "reason": ""}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"EndpointName": "other"}, "not found"),
        ({"InputLocation": "s3://bucket-alone"}, "S3 URI"),
        ({"Body": b"{}"}, "exactly one"),
        ({"InferenceId": "x" * 65}, "InferenceId"),
        ({"InvocationTimeoutSeconds": 3601}, "3600"),
        ({"RequestTTLSeconds": 59}, "60"),
    ],
)
def test_calls_that_aws_refuses_are_refused(route: Route, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises((ClientError, ParamValidationError)) as caught:
        route.invoke(**arguments)
    if isinstance(caught.value, ClientError):
        assert caught.value.response["Error"]["Code"] == "ValidationError"
        assert words in str(caught.value)
    assert route.invocations() == []


def test_an_inline_body_is_delivered(route: Route) -> None:
    answer = route.runtime.invoke_endpoint_async(EndpointName="hope", Body=b"[1]")
    route.wait()
    assert route.read(answer["OutputLocation"]) == b'{"did": [1]}'


def test_unsigned_calls_are_refused(route: Route) -> None:
    answer = httpx.post(f"{route.aws.runtime.url}/endpoints/hope/async-invocations", content=b"{}")
    assert answer.status_code == 403


class TestFaultProxy:
    @pytest.fixture
    def proxy(self, s3_endpoint: str) -> Iterator[FaultProxy]:
        with FaultProxy(s3_endpoint).serving() as proxy:
            yield proxy

    @pytest.fixture
    def bucket(self, s3_url: S3Place) -> str:
        return s3_url.url.split("/")[2]

    @pytest.fixture
    def s3(self, proxy: FaultProxy, bucket: str) -> Any:
        return boto3.client("s3", endpoint_url=proxy.url, config=Config(response_checksum_validation="when_required"))

    def test_passes_on_what_it_is_not_told_to_spoil(self, s3: Any, bucket: str) -> None:
        content = os.urandom(300_000)
        s3.put_object(Bucket=bucket, Key="a b/ü.bin", Body=content)
        assert s3.get_object(Bucket=bucket, Key="a b/ü.bin")["Body"].read() == content
        assert s3.head_object(Bucket=bucket, Key="a b/ü.bin")["ContentLength"] == len(content)
        s3.delete_object(Bucket=bucket, Key="a b/ü.bin")
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0

    def test_slow_down_so_many_times(self, s3: Any, bucket: str, proxy: FaultProxy) -> None:
        fault = proxy.add(Fault("slowdown", times=2, method="PUT", contains="busy"))
        s3.put_object(Bucket=bucket, Key="busy", Body=b"1")  # boto3's own tries
        assert fault.struck == 2
        assert s3.get_object(Bucket=bucket, Key="busy")["Body"].read() == b"1"

    @pytest.mark.parametrize("kind", ["cut", "shorten"])
    def test_truncates(self, kind: str, s3: Any, bucket: str, proxy: FaultProxy) -> None:
        s3.put_object(Bucket=bucket, Key="whole", Body=bytes(1000))
        proxy.add(Fault(kind, method="GET", contains="whole"))
        body = s3.get_object(Bucket=bucket, Key="whole")["Body"]
        if kind == "cut":
            with pytest.raises((IncompleteReadError, ResponseStreamingError)):
                body.read()
        else:
            assert len(body.read()) == 500
        assert len(s3.get_object(Bucket=bucket, Key="whole")["Body"].read()) == 1000

    def test_delays(self, s3: Any, proxy: FaultProxy) -> None:
        proxy.add(Fault("delay", seconds=0.3))
        begin = time.monotonic()
        s3.list_buckets()
        assert time.monotonic() - begin >= 0.3

    def test_unknown_faults_are_refused(self) -> None:
        with pytest.raises(ValueError, match="slowdown"):
            Fault("earthquake")


SERVER = (
    "from http.server import HTTPServer, SimpleHTTPRequestHandler; import sys\n"
    "HTTPServer(('127.0.0.1', int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()"
)


def listens(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def make_server(folder: Path, **more: Any) -> ServerProcess:
    port = free_port()
    command = [sys.executable, "-c", SERVER, str(port)]
    return ServerProcess(command, dict(os.environ), folder / "server.log", lambda: listens(port), **more)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_server_is_started_again_when_killed_and_ends_when_told(tmp_path: Path) -> None:
    server = make_server(tmp_path, restart=True)
    server.start()
    server.wait_ready(SECONDS)
    first = server.pid
    server.kill()
    deadline = time.monotonic() + SECONDS
    while server.starts < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    server.wait_ready(SECONDS)
    assert server.pid != first
    server.stop()
    assert not server.alive
    assert not alive(server.pid)


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such thing')"]
    server = ServerProcess(command, dict(os.environ), tmp_path / "server.log", lambda: False)
    server.start()
    with pytest.raises(OutputError, match="no such thing"):
        server.wait_ready(SECONDS)
    server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal to orphans is Linux's")
def test_servers_die_with_whoever_started_them(tmp_path: Path) -> None:
    program = (
        "import sys, time, os; from pathlib import Path; from hope.localaws.aws_processes import ServerProcess\n"
        f"server = ServerProcess([sys.executable, '-c', 'import time; time.sleep(600)'], dict(os.environ),"
        f" Path({str(tmp_path / 'server.log')!r}), lambda: False)\n"
        "server.start(); print(server.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)
