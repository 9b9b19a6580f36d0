"""Stage bodies for tests of the AWS route: a moment's work, but `segment` and the reading of uploads are the real ones.

The scans go through as they are, so that every mask can be told from every other: where the endpoint is a stand-in too,
the label of a voxel is `label_of` its value in t1c.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hope.contract.outputs import OutputFile, Role, Space
from hope.contract.report import FORMAT, CaseReport
from hope.domain.case import SEQUENCES, AlignedCase, HarmonizedCase, HeadState, MRSequence, Prediction
from hope.domain.errors import InputError
from hope.domain.progress import Progress
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats import stage_io
from hope.formats.nifti import read_scan, write_labels

LABELS = ("ET", "NET", "CC", "ED")


def run(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Do one stage; see `hope.jobs.child` for the job and the answer.

    Raises:
        InputError, StageError: as the real `segment` does.
    """
    name = str(job["do"])
    progress(f"{name}: begin", 0.0)
    if name in ("segment", "scan"):  # an upload is read as it always is
        from hope.jobs import bodies

        return bodies.run(job, progress)
    if name not in _BODIES:
        raise InputError("there is no such stage", expected=", ".join(_BODIES), got=name)
    done = _BODIES[name](str(job["case"]), Path(job["in"]), Path(job["out"]))
    progress(f"{name}: done", 1.0)
    return done


def label_of(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A label from 0 to 4 for each value."""
    return np.asarray(np.rint(values).astype(np.int64) % 5, dtype=np.uint8)


def predict_for_show(case: HarmonizedCase, model_id: str, model_sha256: str) -> Prediction:
    """What a stand-in for the endpoint's network answers."""
    shown = case.images[case.aligned.reference]
    labels = label_of(shown.data)
    sure = {key: (labels == value).astype(np.float16) for value, key in enumerate(LABELS, 1)}
    return Prediction(Volume(labels, shown.grid), sure, model_id, model_sha256)


def _preprocess(case: str, folder: Path, out: Path) -> dict[str, Any]:
    scans = {s: read_scan(folder / f"{s}.nii", s)[0] for s in SEQUENCES if (folder / f"{s}.nii").is_file()}
    reference = MRSequence.T1C if MRSequence.T1C in scans else next(iter(scans))
    grid = scans[reference].grid
    aligned = AlignedCase(
        case_id=case,
        images=scans,
        brain_mask=Volume(np.ones(grid.shape, dtype=bool), grid),
        head_state=HeadState.FULL,
        native_grid=grid,
        reference=reference,
        atlas_to_native={s: Transform(np.eye(4)) for s in scans},
    )
    return _left(Role.ALIGNED, stage_io.save_aligned(aligned, out))


def _harmonize(case: str, folder: Path, out: Path) -> dict[str, Any]:
    aligned = stage_io.load_aligned(folder)
    return _left(Role.HARMONIZED, stage_io.save_harmonized(HarmonizedCase(aligned, aligned.images), out))


def _postprocess(case: str, folder: Path, out: Path) -> dict[str, Any]:
    prediction = stage_io.load_prediction(folder)
    mask = OutputFile(Role.SEGMENTATION, space=Space.NATIVE)
    write_labels(prediction.labels, out / mask.name(case))
    counts = np.bincount(prediction.labels.data.ravel(), minlength=5)
    voxel_ml = prediction.labels.grid.voxel_volume_ml
    volumes = {key: {"ml": float(counts[value] * voxel_ml)} for value, key in enumerate(LABELS, 1)}
    facts = {"format": FORMAT, "case_id": case, "volumes_ml": volumes, "model": {"id": prediction.model_id}}
    return {"artifacts": [mask.entry(mask.name(case))], "result": CaseReport.stored(facts).for_page()}


def _left(role: Role, names: list[str]) -> dict[str, Any]:
    return {"artifacts": [OutputFile(role).entry(name) for name in names], "result": None}


_BODIES = {"preprocess": _preprocess, "harmonize": _harmonize, "postprocess": _postprocess}
