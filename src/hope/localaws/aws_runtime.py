"""A small emulation of SageMaker's runtime: `InvokeEndpointAsync` in front of one container on this machine.

It follows what AWS documents of the call (API reference, "InvokeEndpointAsync") and of asynchronous inference: the
request names one S3 object, whose content is POSTed to the container's /invocations; the answer becomes an object of
its own, or an error object; success and error topics are told. Signatures are not verified, only asked for.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from hope.localaws.aws_delivery import Deliveries, Invocation
from hope.localaws.aws_proxy import ForwardingHandler

PREFIX = "X-Amzn-SageMaker-"
MOST_INLINE_BYTES = 128_000

_LOCATION = re.compile(r"s3://[^/]+/.+")
_CALL = re.compile(r"/endpoints/([^/]+)/async-invocations")
_AGAIN = re.compile(r"/local/invocations/([^/]+)/redeliver")
_SERVICE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^,]+/sagemaker/aws4_request")


class BadCallError(Exception):
    """A request that AWS would answer with ValidationError; the sentence says why."""


class RuntimeServer:
    """The runtime API on the loopback address, for one endpoint. Whatever else is asked goes to another server.

    Args:
        name: the endpoint's name.
        others: address of the server for all other services, so that one address stands for all of AWS.
        deliveries: what does the work.
        output: ``s3://bucket/prefix`` of the answers, as S3OutputPath of an endpoint configuration.
        failures: the same of the errors, S3FailurePath.
        port: TCP port; 0 takes a free one.

    Raises:
        OSError: if the port is in use.
    """

    def __init__(
        self, name: str, others: str, deliveries: Deliveries, output: str, failures: str, port: int = 0
    ) -> None:
        self.name, self.others, self.deliveries = name, others, deliveries
        self.output, self.failures = output.rstrip("/"), failures.rstrip("/")
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.runtime = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="sagemaker-runtime", daemon=True
        )

    @property
    def url(self) -> str:
        """What a client takes as ``endpoint_url``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def accept(self, endpoint: str, headers: Mapping[str, str], body: bytes) -> Invocation:
        """Queue one call.

        Raises:
            BadCallError: if AWS would not take it.
        """
        if endpoint != self.name:
            raise BadCallError(f"Endpoint {endpoint} of account 123456789012 not found.")

        lowered = {name.lower(): value for name, value in headers.items()}

        def header(name: str, default: str = "") -> str:
            return lowered.get((PREFIX + name).lower()) or default

        location = header("InputLocation")
        if bool(location) == bool(body):
            raise BadCallError("provide exactly one of InputLocation and Body")
        if location and not _LOCATION.fullmatch(location):
            raise BadCallError("InputLocation must be the S3 URI of an object")
        if len(body) > MOST_INLINE_BYTES:
            raise BadCallError(f"Body must have at most {MOST_INLINE_BYTES} bytes")
        inference_id = header("Inference-Id", str(uuid.uuid4()))
        if len(inference_id) > 64 or not inference_id.isprintable() or inference_id[0].isspace():
            raise BadCallError("InferenceId must have 1 to 64 printable characters")
        # AWS names the objects itself: callers may reuse an inference id.
        unique = str(uuid.uuid4())
        extension = header("S3OutputPathExtension").strip("/")
        folder = f"{self.output}/{extension}" if extension else self.output
        invocation = Invocation(
            inference_id=inference_id,
            endpoint=endpoint,
            input_location=location,
            body=body,
            content_type=header("Content-Type", "application/octet-stream"),
            accept=header("Accept"),
            custom_attributes=header("Custom-Attributes"),
            timeout_seconds=_whole_number(header("InvocationTimeoutSeconds", "900"), 1, 3600),
            ttl_seconds=_whole_number(header("RequestTTLSeconds", "21600"), 60, 21600),
            output_location=f"{folder}/{header('Filename', f'{unique}.out')}",
            failure_location=f"{self.failures}/{unique}-error.out",
        )
        self.deliveries.add(invocation)
        return invocation


def _whole_number(text: str, low: int, high: int) -> int:
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise BadCallError(f"a number of seconds from {low} to {high} was expected, not {text!r}")
    return int(text)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    runtime: RuntimeServer


class _Handler(ForwardingHandler):
    server: _Server

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        """InvokeEndpointAsync; and a call of our own that delivers once more."""
        path = unquote(urlsplit(self.path).path)
        call, again = _CALL.fullmatch(path), _AGAIN.fullmatch(path)
        if not call and not again:
            self._pass_on()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if again:
            found = self.server.runtime.deliveries.redeliver(again[1])
            self._respond(HTTPStatus.ACCEPTED if found else HTTPStatus.NOT_FOUND, {"redelivered": found})
        elif call and _SERVICE.match(self.headers.get("Authorization") or ""):
            self._invoke(call[1], body)
        else:
            self._refuse(HTTPStatus.FORBIDDEN, "MissingAuthenticationTokenException", "the request is not signed")

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """A call of our own: what became of the invocations, and nothing that they carry."""
        if urlsplit(self.path).path != "/local/invocations":
            self._pass_on()
            return
        shown = [
            {"inference_id": one.inference_id, "state": one.state, "deliveries": one.deliveries, "reason": one.reason}
            for one in self.server.runtime.deliveries.invocations()
        ]
        self._respond(HTTPStatus.OK, {"invocations": shown})

    def _pass_on(self) -> None:
        self.upstream = self.server.runtime.others
        self.forward()

    do_HEAD = do_PUT = do_DELETE = _pass_on  # noqa: N815 - http.server's names

    def _invoke(self, endpoint: str, body: bytes) -> None:
        try:
            invocation = self.server.runtime.accept(endpoint, dict(self.headers.items()), body)
        except BadCallError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, "ValidationError", str(error))
            return
        self._respond(
            HTTPStatus.ACCEPTED,
            {"InferenceId": invocation.inference_id},
            {
                f"{PREFIX}OutputLocation": invocation.output_location,
                f"{PREFIX}FailureLocation": invocation.failure_location,
            },
        )

    def _refuse(self, status: HTTPStatus, kind: str, message: str) -> None:
        self._respond(status, {"Message": message}, {"x-amzn-ErrorType": kind})

    def _respond(self, status: HTTPStatus, content: object, headers: Mapping[str, str] | None = None) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
