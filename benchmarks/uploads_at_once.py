"""Two sessions send eight ordinary DICOM studies each at once: seconds until all are answered.

python benchmarks/uploads_at_once.py [--repeats 3]
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.testing.dicom_series import SeriesRecipe, write_series
from hope.testing.fleet import Fleet, SessionClient

SESSIONS, STUDIES = 2, 8


def study(folder: Path) -> bytes:
    """A zip of two series of 192 x 192 x 40 voxels of noise."""
    grid = Grid((192, 192, 40), np.diag([1.1, 1.1, 3.5, 1.0]))
    dice = np.random.default_rng(1)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, kind in ((3, "t2"), (4, "flair")):
            volume = Volume(dice.integers(0, 900, grid.shape).astype(np.float32), grid)
            for path in write_series(volume, folder / kind, SeriesRecipe(number, kind)):
                archive.write(path, f"{kind}/{path.name}")
    return stream.getvalue()


def seconds_of(fleet: Fleet, raw: bytes) -> float:
    """Seconds until every upload of every session is answered."""
    clients = [fleet.client(600) for _ in range(SESSIONS)]
    jobs = [(client, str(client.call("POST", "/api/cases")["id"])) for client in clients for _ in range(STUDIES)]

    def send(job: tuple[SessionClient, str]) -> int:
        client, case_id = job
        return client.http.put(f"/api/cases/{case_id}/dicom", content=raw).status_code

    begun = time.monotonic()
    with ThreadPoolExecutor(len(jobs)) as pool:
        statuses = list(pool.map(send, jobs))
    seconds = time.monotonic() - begun
    if set(statuses) != {200}:
        raise SystemExit(f"not every upload was taken: {statuses}")
    for client in clients:
        client.http.delete("/api/session")
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as place:
        raw = study(Path(place) / "study")
        fleet = Fleet(Path(place) / "fleet", bodies="hope.jobs.bodies")
        try:
            fleet.start("gateway")
            fleet.wait_ready()
            seconds_of(fleet, raw)  # what a process needs once is not what uploads need
            taken = [round(seconds_of(fleet, raw), 2) for _ in range(repeats)]
        finally:
            fleet.stop()
    facts = {"uploads": SESSIONS * STUDIES, "MiB each": round(len(raw) / 2**20, 1), "seconds": taken}
    sys.stdout.write(json.dumps(facts | {"median, s": statistics.median(taken)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
