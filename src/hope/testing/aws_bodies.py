"""Stand-ins for what a child process of `hope endpoint` does: a moment each, no network, masks that tell their case.

The environment says how they behave:

    HOPE_STAND_IN_MODELS  ``ID=SHA256`` of each bundle, with commas between: what a prediction is signed with
    HOPE_STAND_IN_DIR     folder in which a file ``begun-PID-NUMBER`` appears for each case; while there is a file
                          ``hold`` there, work waits for its end, burning no time of anybody
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hope.domain.errors import InputError, StageError
from hope.domain.progress import Progress
from hope.domain.volume import Volume
from hope.formats import stage_io
from hope.formats.nifti import read_scan, write_labels
from hope.testing.aws_stages import label_of, predict_for_show

HOLD = "hold"
MODELS, PLACE = "HOPE_STAND_IN_MODELS", "HOPE_STAND_IN_DIR"

_LONGEST_HOLD_SECONDS = 120.0
_numbers = itertools.count()


def run(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Do one job for show; see `hope.jobs.child` for the job and the answer.

    Raises:
        InputError: if the job is unknown, or its files are not there.
        StageError: if it was held for minutes.
    """
    name = str(job["do"])
    progress(f"{name}: begin", 0.0)
    if name == "selftest":
        return {"files": [], "facts": {"dice": 1.0}}
    _wait_if_held()
    if name == "prediction":
        return _prediction(job)
    if name == "case":
        return _case(job)
    raise InputError("there is no such job", got=name)


def _prediction(job: Mapping[str, Any]) -> dict[str, Any]:
    folder, out, model = Path(job["in"]), Path(job["out"]), str(job["model"])
    case = stage_io.load_harmonized(folder, stage_io.load_aligned(folder))
    known = dict(pair.split("=") for pair in os.environ[MODELS].split(","))
    names = stage_io.save_prediction(predict_for_show(case, model, known[model]), out)
    (out / "model.json").write_text(json.dumps({"id": model, "sha256": known[model], "device": "none"}))
    return {"files": [*names, "model.json"], "facts": {"qc": []}}


def _case(job: Mapping[str, Any]) -> dict[str, Any]:
    found = sorted(Path(job["in"]).rglob("*-t1c.nii.gz"))
    if not found:
        raise InputError("the stand-in needs a t1c")
    scan, _ = read_scan(found[0], "t1c")
    name = found[0].name.replace("-t1c.", "-seg.")
    write_labels(Volume(label_of(scan.data), scan.grid), Path(job["out"]) / name)
    return {"files": [name], "facts": {"volumes_ml": {}, "qc": []}}


def _wait_if_held() -> None:
    place = os.environ.get(PLACE)
    if not place:
        return
    folder = Path(place)
    (folder / f"begun-{os.getpid()}-{next(_numbers)}").touch()
    deadline = time.monotonic() + _LONGEST_HOLD_SECONDS
    while (folder / HOLD).exists():
        if time.monotonic() > deadline:
            raise StageError("the stand-in was held too long")
        time.sleep(0.02)
