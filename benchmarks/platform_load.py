"""Many sessions at once against one embedded platform with short stages: errors, gateway memory, latency of a poll.

python benchmarks/platform_load.py [--sessions 50] [--megabytes 10]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from machine import machine

from hope.testing.fleet import Fleet, SessionClient

SEQUENCES = ("t1n", "t1c", "t2w", "t2f")


def noise_scan(megabytes: float) -> bytes:
    """An uncompressed int16 NIfTI file of about this size, which no compression makes smaller."""
    import nibabel as nib

    slices = max(4, round(megabytes * 2**20 / (256 * 256 * 2)))
    data = np.random.default_rng(0).integers(0, 4000, (256, 256, slices), dtype=np.int16)
    image: Any = nib.Nifti1Image(data, np.diag([1.0, 1.0, 1.2, 1.0]))
    return bytes(image.to_bytes())


class Meter:
    """Collects what happened, from many threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.errors: list[str] = []
        self.polls: list[float] = []
        self.uploaded = 0

    def error(self, text: str) -> None:
        """Note one."""
        with self.lock:
            self.errors.append(text)


def one_session(url: str, scan: bytes, meter: Meter) -> None:
    """Upload four scans, run, poll until done, delete."""
    try:
        client = SessionClient(url, timeout=120)
        case = client.new_case({})
        for sequence in SEQUENCES:
            # Each scan differs in one voxel: equal ones would be refused by the real intake.
            body = scan[:-2] + struct.pack("<h", SEQUENCES.index(sequence))
            client.call("PUT", f"/api/cases/{case}/series/{sequence}", content=_chunks(body))
            with meter.lock:
                meter.uploaded += len(body)
        client.run(case)
        deadline = time.monotonic() + 600
        while True:
            start = time.perf_counter()
            state = client.state(case)
            with meter.lock:
                meter.polls.append(time.perf_counter() - start)
            if state in ("done", "failed"):
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"still {state} after 600 s")
            time.sleep(0.5)
        if state != "done":
            meter.error(f"a case is {state}")
        client.call("DELETE", "/api/session")
    except (httpx.HTTPError, TimeoutError) as error:
        meter.error(f"{type(error).__name__}: {error}")


def probe(url: str, stop: Any, responses: Any) -> None:
    """Poll one case from a process of its own, so that the load's own processor time is not taken for the gateway's."""
    client = SessionClient(url, timeout=60)
    case, seconds = client.new_case({}), []
    while not stop.is_set():
        start = time.perf_counter()
        client.state(case)
        seconds.append(time.perf_counter() - start)
        time.sleep(0.05)
    client.call("DELETE", "/api/session")
    responses.put(seconds)


def _chunks(body: bytes) -> Any:
    for start in range(0, len(body), 2**18):
        yield body[start : start + 2**18]


def memory_mib(pid: int, field: str = "VmRSS") -> float:
    """Resident memory of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    return next(float(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith(field))


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, its children aside."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(folder: Path, sessions: int, megabytes: float) -> dict[str, Any]:
    """Run all sessions at once and report."""
    fleet = Fleet(folder, {"HOPE_SHORT_SECONDS": "0.05"})
    try:
        gateway = fleet.start("up")
        fleet.wait_ready()
        scan, meter = noise_scan(megabytes), Meter()
        one_session(fleet.url, scan, meter)  # warm: what a first request imports is not growth
        meter.polls.clear()
        meter.uploaded = 0
        before = memory_mib(gateway.pid)
        highest = [before]
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.1):
                highest.append(memory_mib(gateway.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        context = multiprocessing.get_context("spawn")
        ended, responses = context.Event(), context.Queue()
        prober = context.Process(target=probe, args=(fleet.url, ended, responses))
        prober.start()
        begin, gateway_cpu, own_cpu = time.monotonic(), cpu_seconds(gateway.pid), time.process_time()
        threads = [threading.Thread(target=one_session, args=(fleet.url, scan, meter)) for _ in range(sessions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - begin
        stop.set()
        watcher.join()
        ended.set()
        probes = sorted(responses.get(timeout=60))
        prober.join()
        polls = sorted(meter.polls)
        return {
            "sessions": sessions,
            "errors": len(meter.errors),
            "first errors": meter.errors[:3],
            "uploaded MiB": round(meter.uploaded / 2**20),
            "seconds": round(seconds, 1),
            "gateway CPU s": round(cpu_seconds(gateway.pid) - gateway_cpu, 1),
            "loaders' CPU s": round(time.process_time() - own_cpu, 1),
            "gateway MiB before": round(before),
            "gateway MiB highest": round(max(highest)),
            "GET /api/cases/{id}, by the loaders": _times(polls),
            "GET /api/cases/{id}, by a prober": _times(probes),
        }
    finally:
        fleet.stop()


def _times(ordered: list[float]) -> str:
    median, high = statistics.median(ordered), ordered[int(0.95 * len(ordered))]
    return f"median {1000 * median:.0f} ms, p95 {1000 * high:.0f} ms of {len(ordered)}"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--megabytes", type=float, default=10.0)
    chosen = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="hope-load-") as folder:
        result = load(Path(folder), chosen.sessions, chosen.megabytes)
    for name, value in result.items():
        print(f"{name:<40}{value}")
    sys.exit(1 if result["errors"] else 0)


if __name__ == "__main__":
    main()
