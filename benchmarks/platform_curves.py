"""How the platform grows with workers and with sessions: curves, each with its exponent and where it bends.

python benchmarks/platform_curves.py workers [--most 4] [--seconds 25]
python benchmarks/platform_curves.py sessions [--seconds 15]

Everything is on Postgres and on this machine. `workers`: each has two slots and stages that sleep for half a second; as
many pipelines are in work as there are slots, each new one begun when one has ended. `sessions`: each has a case, its
event stream open, and asks for the case twice a second, or as soon as it is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from database import database
from machine import machine
from platform_idle import processor_seconds, wait_for_words
from scaling import Curve

from hope.testing.fleet import Fleet, SessionClient, small_scan

SLOTS = 2
STAGE_SECONDS = 0.5
THINK_SECONDS = 0.5
SESSIONS = (1, 5, 20, 50, 100, 200)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which so large a share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def workers(folder: Path, url: str, count: int, seconds: float) -> dict[str, float]:
    """Pipelines of so many workers."""
    settings = {"HOPE_DATABASE_URL": url, "HOPE_SHORT_SECONDS": str(STAGE_SECONDS), "HOPE_WORKERS": str(SLOTS)}
    fleet = Fleet(folder, settings)
    try:
        processes = [fleet.start("gateway"), *(fleet.start("worker") for _ in range(count))]
        fleet.wait_ready(120)
        wait_for_words(fleet, "worker ready", count)
        ended: list[tuple[float, float]] = []
        deadline = time.monotonic() + 4 + seconds  # children start in the first seconds, which are not counted
        pool = [
            threading.Thread(target=_pipelines, args=(fleet.client(60), deadline, ended)) for _ in range(SLOTS * count)
        ]
        for thread in pool:
            thread.start()
        time.sleep(4)
        begun, used = time.time(), [processor_seconds(process.pid) for process in processes]
        time.sleep(deadline - time.monotonic())
        passed = time.time() - begun
        spent = [processor_seconds(process.pid) - was for process, was in zip(processes, used, strict=True)]
        for thread in pool:
            thread.join()
        lasted = [until - since for since, until in ended if begun <= until <= begun + passed]
        return {
            "pipelines a minute": 60 * len(lasted) / passed,
            "a pipeline, median (s)": statistics.median(lasted),
            "a pipeline, p95 (s)": percentile(lasted, 0.95),
            "gateway, share of a core": spent[0] / passed,
            "workers together, share of a core": sum(spent[1:]) / passed,
        }
    finally:
        fleet.stop()


def _pipelines(client: SessionClient, deadline: float, ended: list[tuple[float, float]]) -> None:
    """One pipeline after the other; notes when each was queued and done, by the platform's own clock."""
    while time.monotonic() < deadline:
        case = client.new_case({"t1c": small_scan()})
        client.run(case)
        if "done" not in (at := client.states(case)):
            raise RuntimeError(f"a case ended otherwise: {at}")
        ended.append((at["queued"], at["done"]))
        client.call("DELETE", f"/api/cases/{case}")


def sessions(fleet: Fleet, gateway: int, counts: Sequence[int], seconds: float) -> list[dict[str, float]]:
    """What so many sessions at once see, and what they cost the gateway."""
    context, found = multiprocessing.get_context("spawn"), []
    for count in counts:
        results = context.Queue()
        used, begun = processor_seconds(gateway), time.monotonic()
        started = context.Event()
        asking = context.Process(target=_ask, args=(fleet.host, fleet.port, count, seconds, started, results))
        asking.start()
        started.wait(120)
        used, begun = processor_seconds(gateway), time.monotonic()
        times, errors, own = results.get(timeout=seconds + 120)
        passed = time.monotonic() - begun
        spent = processor_seconds(gateway) - used
        memory = _memory_mib(gateway)
        asking.join()
        if errors:
            raise RuntimeError(f"{errors} calls of {count} sessions were not answered with 200\n{fleet.logs()}")
        found.append(
            {
                "calls a second": len(times) / passed,
                "a call, median (ms)": 1000 * statistics.median(times),
                "a call, p95 (ms)": 1000 * percentile(times, 0.95),
                "gateway, share of a core": spent / passed,
                "gateway, memory (MiB)": memory,
                "gateway, ms of processor a call": 1000 * spent / len(times),
                "who asks, share of a core": own / passed,
            }
        )
    return found


def _memory_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def _ask(host: str, port: int, count: int, seconds: float, started: Any, results: Any) -> None:
    """Be so many sessions, in a process of its own and with as little work for each call as possible."""
    asyncio.run(_ask_all(host, port, count, seconds, started, results))


async def _ask_all(host: str, port: int, count: int, seconds: float, started: Any, results: Any) -> None:
    everyone = []
    for _ in range(count):
        lines = await asyncio.open_connection(host, port)
        _, body = await _call(lines, "POST", "/api/session", "", b'{"terms_accepted": true}')
        token = json.loads(body)["token"]
        _, body = await _call(lines, "POST", "/api/cases", token)
        case = json.loads(body)["id"]
        stream = await asyncio.open_connection(host, port)
        stream[1].write(_head("GET", f"/api/cases/{case}/events", token, 0))
        await stream[0].readuntil(b"\r\n\r\n")
        lines[1].close()  # while the others come, the server would
        everyone.append((token, case, stream))
    started.set()
    begun, own = time.monotonic(), time.process_time()
    polled = await asyncio.gather(
        *(_poll((host, port), *one[:2], begun + seconds, n / count) for n, one in enumerate(everyone))
    )
    results.put(
        (
            [took for times, _ in polled for took in times],
            sum(errors for _, errors in polled),
            time.process_time() - own,
        )
    )
    for token, _, stream in everyone:
        lines = await asyncio.open_connection(host, port)
        await _call(lines, "DELETE", "/api/session", token)
        lines[1].close()
        stream[1].close()


async def _poll(server: tuple[str, int], token: str, case: str, until: float, phase: float) -> tuple[list[float], int]:
    times, errors = [], 0
    await asyncio.sleep(THINK_SECONDS * phase)
    lines = await asyncio.open_connection(*server)
    while time.monotonic() < until:
        begun = time.monotonic()
        status, _ = await _call(lines, "GET", f"/api/cases/{case}", token)
        times.append(time.monotonic() - begun)
        errors += status != 200
        await asyncio.sleep(max(0.0, THINK_SECONDS - times[-1]))
    lines[1].close()
    return times, errors


async def _call(lines: Any, method: str, path: str, token: str, body: bytes = b"") -> tuple[int, bytes]:
    reader, writer = lines
    writer.write(_head(method, path, token, len(body)) + body)
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    return int(head[9:12]), await reader.readexactly(int(fields.get(b"content-length", 0)))


def _head(method: str, path: str, token: str, length: int) -> bytes:
    known = f"Authorization: Bearer {token}\r\n" if token else ""
    said = f"Content-Type: application/json\r\nContent-Length: {length}\r\n" if method != "GET" else ""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{known}{said}\r\n".encode()


def curves(counts: Sequence[int], rows: Sequence[dict[str, float]]) -> list[Curve]:
    """One curve of each figure."""
    places = tuple(float(count) for count in counts)
    return [Curve(name, places, tuple(row[name] for row in rows)) for name in rows[0]]


def main() -> None:
    """Print the curves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("workers", "sessions"))
    parser.add_argument("--most", type=int, default=4, help="workers")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each point")
    parser.add_argument("--sessions", type=int, nargs="+", default=SESSIONS)
    chosen = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="hope-curves-") as name, database("postgres") as url:
        if chosen.what == "workers":
            counts: Sequence[int] = range(1, chosen.most + 1)
            rows = [workers(Path(name, str(count)), url, count, chosen.seconds) for count in counts]
        else:
            counts = chosen.sessions
            fleet = Fleet(Path(name), {"HOPE_DATABASE_URL": url})
            try:
                gateway = fleet.start("gateway")
                fleet.wait_ready(120)
                sessions(fleet, gateway.pid, (20,), 3.0)  # what first calls import is no growth
                rows = sessions(fleet, gateway.pid, counts, chosen.seconds)
            finally:
                fleet.stop()
    print("\n".join(curve.line() for curve in curves(counts, rows)))


if __name__ == "__main__":
    main()
