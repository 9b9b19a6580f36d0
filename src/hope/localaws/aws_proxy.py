"""A proxy in front of an S3 server that misbehaves as asked: 503 SlowDown, slow answers, bodies cut short."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

CHUNK = 2**18
KINDS = ("slowdown", "delay", "cut", "shorten")

_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
_HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "expect", "te", "trailer", "upgrade")


@dataclass
class Fault:
    """What goes wrong with the next requests that fit.

    Attributes:
        kind: ``slowdown`` answers 503; ``delay`` waits before it forwards; ``cut`` closes the connection in the middle
            of the body; ``shorten`` answers half of the body as if it were all.
        times: how many requests it strikes.
        method: GET, PUT and so on; empty for all.
        contains: part of the path, of the object's key for instance.
        seconds: of a delay.
        struck: how many it has struck.
    """

    kind: str
    times: int = 1
    method: str = ""
    contains: str = ""
    seconds: float = 0.0
    struck: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"a fault is one of {', '.join(KINDS)}, not {self.kind}")

    def fits(self, method: str, path: str) -> bool:
        """Whether it strikes this request."""
        return self.struck < self.times and self.method in ("", method) and self.contains in path


class ForwardingHandler(BaseHTTPRequestHandler):
    """Passes requests on as they come, signatures and all."""

    protocol_version = "HTTP/1.1"
    upstream: str

    def forward(self, fault: str = "") -> None:
        """Send this request upstream and its answer back."""
        left = int(self.headers.get("Content-Length") or 0)
        parts = urlsplit(self.upstream)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.endheaders()
            while left and (chunk := self.rfile.read(min(CHUNK, left))):
                connection.send(chunk)
                left -= len(chunk)
            self._send_back(connection.getresponse(), fault)
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # the client sees a broken connection, as it would without us
        finally:
            connection.close()

    def _send_back(self, response: http.client.HTTPResponse, fault: str) -> None:
        body = response.read()
        sent = body[: len(body) // 2] if fault in ("cut", "shorten") else body
        length = len(sent) if fault == "shorten" else len(body)
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in (*_HOP_BY_HOP, "content-length"):
                self.send_header(name, value)
        # A HEAD names a length and has no body.
        self.send_header("Content-Length", response.getheader("Content-Length", "0") if self._bare else str(length))
        self.end_headers()
        if not self._bare:
            self.wfile.write(sent)
        if fault == "cut":
            self.close_connection = True

    @property
    def _bare(self) -> bool:
        return self.command == "HEAD"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: paths hold keys."""


class FaultProxy:
    """Listens on a free loopback port and forwards to an S3 server.

    Args:
        upstream: the server's address.
    """

    def __init__(self, upstream: str) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self._server = _Server(("127.0.0.1", 0), _FaultHandler)
        self._server.proxy, self._server.upstream = self, upstream
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="fault proxy", daemon=True
        )

    @property
    def url(self) -> str:
        """What a client takes as ``endpoint_url``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def serving(self) -> Iterator[FaultProxy]:
        """Forward until the block ends."""
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def add(self, fault: Fault) -> Fault:
        """Let something go wrong from now on; the fault counts what it strikes."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self._faults.clear()

    def strike(self, method: str, path: str) -> Fault | None:
        """Note a request; the fault that strikes it, if one does."""
        with self._lock:
            self.requests.append((method, path))
            found = next((fault for fault in self._faults if fault.fits(method, path)), None)
            if found:
                found.struck += 1
            return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: FaultProxy
    upstream: str


class _FaultHandler(ForwardingHandler):
    server: _Server

    def _any(self) -> None:
        self.upstream = self.server.upstream
        fault = self.server.proxy.strike(self.command, unquote(self.path))
        if fault and fault.kind == "slowdown":
            self._slow_down()
            return
        if fault and fault.kind == "delay":
            time.sleep(fault.seconds)
        self.forward(fault.kind if fault else "")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any  # noqa: N815 - http.server's names

    def _slow_down(self) -> None:
        left = int(self.headers.get("Content-Length") or 0)
        while left and (chunk := self.rfile.read(min(CHUNK, left))):
            left -= len(chunk)
        body = b"" if self.command == "HEAD" else _SLOW_DOWN
        self.send_response(503, "Slow Down")
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
