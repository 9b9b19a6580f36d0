"""Malformed calls against a running platform: statuses, what is left on disk, peak memory, bytes of log.

python benchmarks/malformed_http.py [--tries 4000] [--seed 1]

The same seed makes the same calls but for ids. A kind is HTTP (broken requests, sent as bytes), address (odd paths,
queries, headers, cookies) or JSON (bodies of every route that takes one).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from machine import machine

from hope.testing.fleet import Fleet, SessionClient, small_scan

KINDS = ("HTTP", "address", "JSON")
READ_SECONDS = 10.0
PATIENCE_SECONDS = 0.3
"""After this long without an answer the client says that it sends no more; half a call would wait for a time limit."""

METHODS = (b"GET", b"PUT", b"POST", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT")
METHODS += (b"get", b"", b"G\x00T")
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9", b"ICY", b"", b"HTTP/1.1\x00")
ODD_HEADERS = (
    b"Content-Length: -1",
    b"Content-Length: 5, 5",
    b"Content-Length: 0x10",
    b"Content-Length: 99999999999999999999999",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity",
    b"Expect: 100-continue",
    b"Expect: nonsense",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
    b"Host: [::1",
    b"Host: a\r\nHost: b",
    b"Host: " + b"a" * 300,
    b"X: a\r\n b\r\n\tc",
    b"X : a",
    b": a",
    b"X: \x00",
    b"X: \xff\xfe",
    b"X",
    b"Cookie: hope_session=\xff; hope_session=; =; ;;;",
    b"Cookie: " + b"a=b; " * 2000,
    b"Authorization: Bearer \x7f",
    b"Authorization: Basic !!!",
    b"Authorization: Bearer " + b"x" * 9000,
    b"X-Hope-Token: hope_\xff",
    b"Last-Event-ID: \xb2",
    b"Last-Event-ID: " + b"9" * 400,
    b"If-None-Match: " + b'"x", ' * 900,
    b"Origin: http://[",
    b"Origin: null",
    b"Sec-Fetch-Site: cross-site",
    b"Content-Type: application/json; charset=\xff",
    b"Content-Type: multipart/form-data; boundary=",
    b"Content-Type: application/x-www-form-urlencoded",
    b"Accept-Encoding: gzip;q=nan, *;q=.",
    b"X-Forwarded-For: \xff, , ,",
    b"Range: bytes=5-1,-0",
)
ODD_CHUNKS = (
    b"zz\r\nabc\r\n",
    b"-5\r\nabc\r\n",
    b"5;" + b"x" * 20000 + b"\r\nabcde\r\n0\r\n\r\n",
    b"5\nabcde\n0\n\n",
    b"5\r\nabcdeX",
    b"fffffffffffffffff\r\n",
    b"0\r\nTrailer: x\r\n\r\n",
    b"5\r\nabcde\r\n0\r\n" + b"A: b\r\n" * 5000,
)
ODD_PARTS = ("..", "%00", "%2e%2e%2f", "%", "%ff", "%ed%a0%80", "\u202e", "a" * 300, "%25%30", "//")
ODD_PARTS += ("{case}", "{case}%0a", "t1c")
ODD_QUERIES = ("after=-1", "after=1e9", "after=" + "9" * 400, "after=%ff", "follow=maybe", "follow=false&follow=true")
ODD_QUERIES += ("inline=%00", "&&&=", "a=b&" * 3000, "after=nan", "after=0x1", "%")
ODD_VALUES = ("NaN", "-Infinity", "1e999", "9" * 5000, "-0.0", "1.5", "0123", "1,", "null", "true", "{}", "[]", "'a'")
ODD_VALUES += ('"\\ud800"', '"\\u0000"', "[" * 2000 + "]" * 2000, "{" * 400, '"' + "x" * 3000 + '"')
ODD_VALUES += ('{"a":1,"a":2}', '"\\', "\x01")
JSON_WORDS = ("true", "false", "null", '"t1c"', '"abc"', "1")
JSON_TYPES = [b"application/json"] * 6 + [b"application/x+json", b"text/plain", b"application/json;charset=x"]


@dataclass
class Kind:
    """What came of one kind of malformed calls."""

    tries: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0

    @property
    def failures(self) -> int:
        """Answers of 5xx."""
        return sum(count for status, count in self.statuses.items() if status.startswith("5"))


@dataclass
class Outcome:
    """What came of a campaign."""

    kinds: dict[str, Kind]
    files_left: list[str]
    alive: bool
    peak_mib: float
    idle_mib: float
    log_kib: float

    @property
    def grown_mib(self) -> float:
        """Peak of this campaign over what the process held before, in MiB."""
        return self.peak_mib - self.idle_mib


def run(fleet: Fleet, tries: int, seed: int) -> Outcome:
    """Make the calls, one after the other, in a session that is deleted at the end.

    Args:
        fleet: a platform that runs; `fleet.processes[0]` answers.
        tries: number of calls.
        seed: of the random choices.
    """
    choose = random.Random(seed)  # noqa: S311 - not for secrets
    process = fleet.processes[0]
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak counts from here
    idle, log_before = _memory_mib(process.pid, "VmRSS"), _log_bytes(fleet)
    others = _files(fleet.folder / "data")
    client = fleet.client()
    case = client.new_case({"t1c": small_scan()})
    kinds = {name: Kind() for name in KINDS}
    for number in range(tries):
        name = KINDS[number % len(KINDS)]
        call = MAKERS[name](choose, client.token, case)
        begun = time.monotonic()
        status = _status_of(fleet.port, call)
        kind = kinds[name]
        kind.tries += 1
        kind.statuses[status] += 1
        kind.slowest_s = max(kind.slowest_s, time.monotonic() - begun)
        if not _is_there(client, case):
            client = fleet.client()  # a call may have deleted the case or the session, rightly
            case = client.new_case({"t1c": small_scan()})
    client.call("DELETE", "/api/session")
    time.sleep(2.0)
    return Outcome(
        kinds,
        sorted(_files(fleet.folder / "data") - others),
        process.poll() is None,
        _memory_mib(process.pid, "VmHWM"),
        idle,
        (_log_bytes(fleet) - log_before) / 1024,
    )


def _request(method: str, path: str, token: str, body: bytes = b"", *extra: bytes) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1".encode(),
        b"Host: 127.0.0.1",
        f"Authorization: Bearer {token}".encode(),
        b"Connection: close",
        *extra,
    ]
    if body or method in ("PUT", "POST", "PATCH"):
        lines.append(f"Content-Length: {len(body)}".encode())
    return b"\r\n".join([*lines, b"", body])


def _broken_http(choose: random.Random, token: str, case: str) -> bytes:
    way = choose.randrange(7)
    if way == 0:
        return choose.randbytes(choose.randrange(1, 400)) + b"\r\n\r\n"
    path = f"/api/cases/{case}/series/t1c".encode()
    bearer = b"Authorization: Bearer " + token.encode()
    if way == 1:
        line = choose.choice([b" ", b"  ", b"\t"]).join([choose.choice(METHODS), path, choose.choice(VERSIONS)])
        return b"\r\n".join([line, b"Host: 127.0.0.1", bearer, b"", b""])
    if way == 2:
        head = [b"PUT " + path + b" HTTP/1.1", b"Host: 127.0.0.1", bearer, b"Transfer-Encoding: chunked", b"", b""]
        return b"\r\n".join(head) + choose.choice(ODD_CHUNKS)
    if way == 3:
        odd = choose.sample(ODD_HEADERS, choose.randrange(1, 4))
        return _request("PUT", path.decode(), token, choose.randbytes(choose.randrange(0, 300)), *odd)
    if way == 4:  # many or long headers
        odd = [b"X-%d: %s" % (i, b"y" * choose.choice([1, 90])) for i in range(choose.choice([150, 900]))]
        return _request("GET", "/api/session", token, b"", *odd)
    whole = _request("PUT", path.decode(), token, small_scan(choose.randrange(99)))
    if way == 5:  # cut off
        return whole[: choose.randrange(len(whole))]
    changed = bytearray(whole)
    for _ in range(choose.randrange(1, 6)):
        changed[choose.randrange(min(len(changed), 500))] = choose.randrange(256)
    return bytes(changed)


def _odd_address(choose: random.Random, token: str, case: str) -> bytes:
    bases = (
        "/",
        "/assets",
        "/api",
        "/api/session",
        "/api/cases",
        "/api/cases/{case}/files",
        "/api/cases/{case}/series",
    )
    bases += ("/api/cases/{case}/events", "/metrics", "/readyz", "/auth/callback", "/api/cases/{case}/dicom")
    parts = [choose.choice(bases), *choose.choices(ODD_PARTS, k=choose.randrange(3))]
    path = "/".join(parts).replace("{case}", case)
    query = choose.choice(ODD_QUERIES) if choose.random() < 0.6 else "follow=false"
    method = choose.choice(["GET", "GET", "GET", "PUT", "POST", "PATCH", "HEAD", "OPTIONS", "DELETE"])
    odd = choose.sample(ODD_HEADERS[12:], choose.randrange(3))
    raw = _request(method, "PATH", token, b"", *odd)
    return raw.replace(b"PATH", f"{path}?{query}".encode("utf-8", "surrogatepass"), 1)


def _odd_json(choose: random.Random, token: str, case: str) -> bytes:
    routes = (
        ("POST", "/api/session", {"terms_accepted": True}),
        (
            "PATCH",
            "/api/session",
            {"close_with_page": False, "notify": {"webhook": "http://127.0.0.1:9/", "email": ""}},
        ),
        ("POST", "/api/session/leave", {"token": "abc"}),
        ("PUT", f"/api/cases/{case}/assignments", {"t1c": "t1c", "t2f": None}),
        ("POST", f"/api/cases/{case}/run", {"model": "starter", "harmonize": False, "stage": [1, 2]}),
    )
    method, path, value = choose.choice(routes)
    text = json.dumps(value)
    for _ in range(choose.randrange(1, 4)):
        way, place = choose.randrange(4), choose.randrange(max(1, len(text)))
        if way == 0:
            text = text[:place] + choose.choice(ODD_VALUES) + text[place:]
        elif way == 1:
            text = text[:place] + text[place + choose.randrange(1, 9) :]
        elif way == 2:
            text = text.replace(choose.choice(JSON_WORDS), choose.choice(ODD_VALUES), 1)
        else:
            text = text[:place] + chr(choose.choice([0, 9, 0x7F, 0xFFFD, 0x1F9E0, 0xD800])) + text[place:]
    body = text.encode("utf-8", "surrogatepass")
    if choose.random() < 0.1:
        body = choose.choice([body.decode("utf-8", "replace").encode("utf-16"), b"\xef\xbb\xbf" + body, body * 40])
    kind = choose.choice(JSON_TYPES)
    return _request(method, path, token, body, b"Content-Type: " + kind)


MAKERS: dict[str, Callable[[random.Random, str, str], bytes]] = {
    "HTTP": _broken_http,
    "address": _odd_address,
    "JSON": _odd_json,
}
"""What makes a call of each kind: random choices, the session's token, the case's id -> bytes."""


def _status_of(port: int, call: bytes) -> str:
    """The status of the first answer.

    ``closed`` if the server closes without one after the client has said that it sends no more; ``late`` if it does
    neither.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        held, waited = b"", False
        with contextlib.suppress(OSError):  # it may have answered and closed already
            connection.sendall(call)
        while b"\r\n" not in held:
            try:
                chunk = connection.recv(4096)
            except TimeoutError:
                if waited:
                    return "late"
                waited = True
                connection.settimeout(READ_SECONDS)
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
                continue
            except OSError:
                break
            if not chunk:
                break
            held += chunk
    words = held.split(b" ", 2)
    return words[1].decode("ascii", "replace") if held.startswith(b"HTTP/1.1 ") else "closed"


def _is_there(client: SessionClient, case: str) -> bool:
    return client.http.get(f"/api/cases/{case}").status_code == 200


def _files(data: Path) -> set[str]:
    """Stored scans and results, and uploads in flight."""
    blobs = [path for path in (data / "blobs").rglob("*") if path.is_file()]
    return {str(path.relative_to(data)) for path in [*blobs, *data.rglob("upload-*")]}


def _memory_mib(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(name)


def _log_bytes(fleet: Fleet) -> int:
    return sum(path.stat().st_size for path in fleet.folder.glob("*.log"))


def main() -> None:
    """Print a table; the exit status is 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder))
        fleet.start("up")
        try:
            fleet.wait_ready()
            outcome = run(fleet, chosen.tries, chosen.seed)
        finally:
            fleet.stop()
    print(machine())
    print("| kind | tries | 5xx | late | slowest s | answers |\n|---|---|---|---|---|---|")
    for name, kind in outcome.kinds.items():
        seen = ", ".join(f"{status}: {count}" for status, count in sorted(kind.statuses.items()))
        print(f"| {name} | {kind.tries} | {kind.failures} | {kind.statuses['late']} | {kind.slowest_s:.2f} | {seen} |")
    print(f"files left: {len(outcome.files_left)} {outcome.files_left[:5]}; alive: {outcome.alive}")
    print(f"memory: {outcome.idle_mib:.0f} MiB idle, {outcome.peak_mib:.0f} MiB peak; log: {outcome.log_kib:.0f} KiB")
    failed = sum(kind.failures + kind.statuses["late"] for kind in outcome.kinds.values())
    sys.exit(bool(failed or outcome.files_left or not outcome.alive))


if __name__ == "__main__":
    main()
