"""Malformed inputs through the children that read uploads: none may crash one, be our fault, or leave a file.

python benchmarks/malformed.py [--tries 10000] [--seed 1] [--kinds zip,DICOM,NIfTI,mask,bundle,checkpoint]

An input is given by its kind, the seed and its number; `--only KIND:NUMBER` repeats one. The exit status is 1 if
anything did not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
from malformed_inputs import MAKERS, reference_scan

from hope.domain.errors import InputError, StageError
from hope.domain.limits import ReadingLimits
from hope.jobs.processes import ProcessEndedError, StageProcesses

HERE = Path(__file__).resolve().parent
TASKS = {"zip": "dicom", "DICOM": "dicom", "NIfTI": "scan", "mask": "segmentation"}
FILES = {"zip": "upload.zip", "DICOM": "upload.zip", "mask": "mask.nii"}
SLOW_SECONDS = 20.0
MEMORY_MIB = 1024


def job_for(kind: str, raw: bytes, folder: Path, limits: ReadingLimits) -> dict[str, Any]:
    """Lay an input out as the gateway does, and say what is to be done with it."""
    for name in ("in", "out", "scratch"):
        (folder / name).mkdir(parents=True)
    name = FILES.get(kind, "upload")
    if kind == "mask":
        (folder / "in" / "reference.nii").write_bytes(reference_scan())
        name += ".gz" * (raw[:2] == b"\x1f\x8b")
    (folder / "in" / name).write_bytes(raw)
    job = {"do": TASKS.get(kind, kind), "what": "t1c", "max_bytes": 2**33}
    job |= {name: str(folder / name) for name in ("in", "out", "scratch")}
    return job | {"limits": asdict(limits), "upload_bytes": len(raw)}


@contextmanager
def watched() -> Iterator[list[int]]:
    """Most memory (bytes) of one child with its own children above what it held when it was first seen idle."""
    most, done, first = [0], threading.Event(), {}
    own = psutil.Process()

    def look() -> None:
        while not done.wait(0.02):
            for child in own.children():
                try:
                    used = sum(p.memory_info().rss for p in (child, *child.children(recursive=True)))
                except psutil.NoSuchProcess:
                    continue
                first.setdefault(child.pid, used)
                most[0] = max(most[0], used - first[child.pid])

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()


async def one(children: StageProcesses, kind: str, seed: int, number: int, limits: ReadingLimits) -> tuple[str, float]:
    """What became of an input: accepted, refused, or what did not hold; and the seconds it took."""
    raw = MAKERS[kind](random.Random(f"{kind}-{seed}-{number}"))  # noqa: S311 - repeatable, not secret
    with tempfile.TemporaryDirectory(prefix="malformed-") as place:
        folder = Path(place) / "work"
        begun = time.monotonic()
        try:
            await children.run(job_for(kind, raw, folder, limits))
            outcome = "accepted"
        except InputError as error:
            outcome = "refused" if len(error.message()) > 15 else "refused without words"
        except ProcessEndedError as error:
            outcome = f"crash ({error})"
        except StageError as error:
            outcome = f"our fault ({error})"
        seconds = time.monotonic() - begun
        left = [
            path for path in (folder / "scratch").rglob("*") if outcome == "accepted" and path.name.startswith("dicom-")
        ]
        if outcome in ("accepted", "refused") and (left or [path.name for path in Path(place).iterdir()] != ["work"]):
            outcome = "left files"
        if seconds > SLOW_SECONDS and outcome in ("accepted", "refused"):
            outcome = f"slow ({seconds:.0f} s)"
        shutil.rmtree(folder)
    return outcome, seconds


async def campaign(kinds: list[str], tries: int, seed: int, at_once: int = 2) -> dict[str, Any]:
    """Try inputs of each kind in turn; returns counts, and what did not hold."""
    limits = ReadingLimits(seconds=SLOW_SECONDS)
    children = StageProcesses("malformed_bodies", keep=at_once)
    counts: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    slowest = 0.0
    numbers = iter(range(tries))

    async def work() -> None:
        nonlocal slowest
        for number in numbers:
            kind = kinds[number % len(kinds)]
            outcome, seconds = await one(children, kind, seed, number, limits)
            slowest = max(slowest, seconds)
            counts[kind, outcome if outcome in ("accepted", "refused") else "wrong"] += 1
            if outcome not in ("accepted", "refused"):
                wrong.append(f"{kind}:{number} {outcome}")

    with watched() as most:
        try:
            await asyncio.gather(*(work() for _ in range(at_once)))
        finally:
            await children.close()
    return {"counts": counts, "wrong": wrong, "slowest_seconds": slowest, "most_bytes": most[0]}


def main() -> int:
    """Run the campaign and print what was held."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tries", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(MAKERS))
    parser.add_argument("--only", help="KIND:NUMBER of one input")
    given = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory(prefix="malformed-tmp-") as temporary:
        os.environ["TMPDIR"] = tempfile.tempdir = temporary
        if given.only:
            kind, _, number = given.only.partition(":")
            sys.stdout.write(f"{asyncio.run(_alone(kind, given.seed, int(number)))}\n")
            return 0
        begun = time.monotonic()
        found = asyncio.run(campaign(given.kinds.split(","), given.tries, given.seed))
        left = [path for path in Path(temporary).rglob("*") if path.is_file()]
        kinds = {kind for kind, _ in found["counts"]}
        table = {
            kind: {what: found["counts"][kind, what] for what in ("accepted", "refused", "wrong")}
            for kind in MAKERS
            if kind in kinds
        }
    wrong = found["wrong"] + [f"{len(left)} files left among the temporary ones"] * bool(left)
    report = {
        "tries": given.tries,
        "seed": given.seed,
        "kinds": table,
        "did not hold": wrong[:50],
        "slowest, s": round(found["slowest_seconds"], 1),
        "most memory of a child above idle, MiB": round(found["most_bytes"] / 2**20),
        "all, s": round(time.monotonic() - begun),
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 1 if wrong or found["most_bytes"] > MEMORY_MIB * 2**20 else 0


async def _alone(kind: str, seed: int, number: int) -> tuple[str, float]:
    children = StageProcesses("malformed_bodies")
    try:
        return await one(children, kind, seed, number, ReadingLimits())
    finally:
        await children.close()


if __name__ == "__main__":
    sys.exit(main())
