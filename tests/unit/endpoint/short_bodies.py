"""Stand-ins for the endpoint's bodies: a moment each, no libraries. What a case's t1c scan holds says how they behave.

``sleep S`` takes so many seconds, ``hold NAME`` waits until the test lets NAME go, ``crash N`` ends the process in the
first N tries, ``input`` and ``stage`` fail.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hope.domain.errors import InputError, StageError
from hope.domain.progress import Progress


def run(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    state = Path(os.environ["SHORT_STATE"])
    if job["do"] == "selftest":
        if (state / "broken").exists():
            raise StageError("the self-test was told to fail")
        if seconds := os.environ.get("SHORT_LOADING"):
            time.sleep(float(seconds))
        return {"files": [], "facts": {}}
    given = {path.name: path.read_bytes() for path in sorted(Path(job["in"]).rglob("*")) if path.is_file()}
    with (state / "log").open("ab", buffering=0) as log:
        log.write(f"{os.getpid()} {job['do']} {' '.join(given)}\n".encode())
    (Path(job["scratch"]) / "left behind").write_bytes(b"x" * 1000)
    for content in given.values():
        _behave(content.decode(errors="replace").split("\n")[0], state)
    out = Path(job["out"])
    names = {"short-seg.nii.gz": b"|".join(given.values()), "result.json": json.dumps(job["model"]).encode()}
    if job["outputs"] == "all":
        names["report.html"] = b"<p>report</p>"
    for name, content in names.items():
        (out / name).write_bytes(content)
    return {"files": sorted(names), "facts": {"volumes_ml": {"WT": {"ml": 1.0}}, "qc": []}}


def _behave(words: str, state: Path) -> None:
    what, _, much = words.partition(" ")
    if what == "sleep":
        time.sleep(float(much))
    elif what == "hold":
        while not (state / f"go-{much}").exists():
            time.sleep(0.02)
    elif what == "input":
        raise InputError("t1c is an empty image", got="every voxel is 0", fix="export the scan again")
    elif what == "stage":
        raise StageError("registration diverged")
    elif what == "crash":
        for number in range(int(much)):
            try:
                (state / f"crash-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
