"""What a case costs in `hope segment` of several cases, against the network alone; one after another and overlapping.

python benchmarks/batch.py CASE CASE [CASE ...] [--model ID] [--threads N]

Each way runs in a process of its own, from the first case's begin to the last one's end: loading is not counted. The
network is the step `segment` of the cases one after another, with what it does before and after the network itself.
On a busy machine wall time says little. There `--threads 1` helps: CPU seconds of the thread that holds the network are
what a case costs where another core does the rest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from machine import machine

WAYS = ("one after another", "overlapping")


def main() -> None:
    """Run both ways and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="+", type=Path)
    parser.add_argument("--model", default="mixed")
    parser.add_argument("--threads", type=int, help="of the network; torch's own choice if not given")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    call = parser.parse_args()
    if call.way:
        print(json.dumps(run(call.cases, call.model, call.threads, call.way == WAYS[1])))
        return
    print(machine())
    took = {way: _in_a_process(way) for way in WAYS}
    count, first = len(call.cases), took[WAYS[0]]
    wall, cpu = first["network_wall"] / count, first["network_cpu"] / count
    print(f"network: wall {wall:.1f} s, CPU of its thread {cpu:.1f} s a case")
    for way, seen in took.items():
        print(
            f"{way}: wall {seen['wall'] / count:.1f} s a case ({seen['wall'] / count / wall:.2f} networks), "
            f"{(seen['wall'] - seen['queued']) / count:.1f} s without waiting for a core, CPU of the "
            f"network's thread {seen['thread'] / count:.1f} s ({seen['thread'] / count / cpu:.2f} networks), of the "
            f"process {seen['cpu'] / count:.1f} s; peak memory {seen['peak']:.2f} GiB"
        )


def _in_a_process(way: str) -> dict[str, float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    taken: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return taken


def run(cases: list[Path], model: str, threads: int | None, overlapping: bool) -> dict[str, float]:
    """Segment the cases in this process; wall, CPU and thread seconds of all cases together, and GiB at the peak."""
    import resource

    import torch

    from hope import pipeline
    from hope.commands import batch_overlap
    from hope.commands.batch import for_each_case
    from hope.domain.progress import Progress
    from hope.services import Services
    from hope.settings import Settings
    from hope.stages.intake.case_finding import find_all
    from hope.stages.intake.intake import CaseSource

    if threads is not None:
        torch.set_num_threads(threads)
    services = Services(Settings.from_environment())
    predictor, brain = services.predictor(model, "cpu", where="local"), services.brain_extractor()
    predictor.prepare()
    network = [0.0, 0.0]
    measured = pipeline.segment_case

    def segment_case(*given: Any) -> Any:
        before = time.perf_counter(), time.thread_time()
        result = measured(*given)
        network[0] += time.perf_counter() - before[0]
        network[1] += time.thread_time() - before[1]
        return result

    pipeline.segment_case = segment_case
    with tempfile.TemporaryDirectory() as out:

        def steps(source: CaseSource, progress: Progress) -> Generator[None, None, None]:
            yield from pipeline.case_steps(source, predictor, brain, Path(out), progress=progress)

        def work(source: CaseSource, progress: Progress) -> None:
            for _ in steps(source, progress):
                pass

        sources = find_all(cases, {}).sources
        wall, cpu, thread, queued = time.perf_counter(), time.process_time(), time.thread_time(), _queued_seconds()
        if overlapping:
            batch_overlap.has_spare_processor = lambda: True
            batch_overlap.for_each_case_overlapping(sources, steps)
        else:
            for_each_case(sources, work)
        wall, cpu, thread = time.perf_counter() - wall, time.process_time() - cpu, time.thread_time() - thread
        queued = _queued_seconds() - queued
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "queued": queued,
        "wall": wall,
        "cpu": cpu,
        "thread": thread,
        "network_wall": network[0],
        "network_cpu": network[1],
        "peak": peak,
    }


def _queued_seconds() -> float:
    """How long this thread waited for a core that others had; 0 where the system does not say."""
    seen = Path("/proc/thread-self/schedstat")
    return int(seen.read_text().split()[1]) / 1e9 if seen.is_file() else 0.0


if __name__ == "__main__":
    main()
