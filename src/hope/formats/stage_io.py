"""What one stage leaves for the next: plain files in a directory, arrays as .npy and the rest as JSON.

Nothing is pickled, and nothing is compressed: images are cut to the box that is not zero, which costs no time and makes
stripped heads four times smaller. What is loaded equals what was saved, bit for bit and in the same memory order, so
that a stage gives the same answer in another process. The scans themselves are not handed over: every stage is given
them as they were uploaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hope.domain.box import used_slices
from hope.domain.case import AlignedCase, CleanUp, HarmonizedCase, HeadState, MRSequence, Prediction, UploadedCase
from hope.domain.errors import StageError
from hope.domain.expected_quality import ExpectedQuality
from hope.domain.grid import CORNER_TOLERANCE_MM, Grid
from hope.domain.intervals import IntervalRule
from hope.domain.qc import QCFlag, Severity
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.atomic import atomic_output, output_error

FORMAT = "hope-handover/1"

_UINT = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def save_facts(facts: Mapping[str, Any], folder: Path, name: str) -> list[str]:
    """Write ``name.json``; returns the names of the files.

    Raises:
        OutputError: if it cannot be written.
        ValueError: for a value that JSON does not know, such as NaN.
    """
    text = json.dumps({"format": FORMAT, **facts}, allow_nan=False, indent=1)
    with atomic_output(folder / f"{name}.json") as stream:
        stream.write(text.encode())
    return [f"{name}.json"]


def load_facts(folder: Path, name: str) -> dict[str, Any]:
    """What `save_facts` wrote.

    Raises:
        StageError: if it is missing, damaged, or of another version.
    """
    try:
        facts = json.loads((folder / f"{name}.json").read_bytes())
    except (OSError, ValueError) as error:
        raise StageError(f"the stage before left no readable {name}.json") from error
    if not isinstance(facts, dict) or facts.pop("format", None) != FORMAT:
        raise StageError(f"{name}.json was left by another version of the software; run the case again")
    return facts


def save_uploaded(case: UploadedCase, folder: Path) -> list[str]:
    """Write all but the voxels of an uploaded case; returns the names of the files."""
    facts = {
        "case_id": case.case_id,
        "preprocessed": case.preprocessed,
        "head_state": str(case.head_state),
        "flags": [flag.to_json() for flag in case.flags],
        "selection": [dict(row) for row in case.selection],
        "scans": {
            str(s): {
                "grid": _grid_facts(scan.grid),
                "sha256": case.input_sha256[s],
                **({"source": dict(case.sources[s])} if s in case.sources else {}),
            }
            for s, scan in case.scans.items()
        },
    }
    return save_facts(facts, folder, "uploaded")


def load_uploaded(folder: Path, scans: Mapping[MRSequence, Volume]) -> UploadedCase:
    """An uploaded case, put together with its scans.

    Args:
        folder: where `save_uploaded` wrote.
        scans: the same scans, read once more.

    Raises:
        StageError: if they are not those that were uploaded.
    """
    facts = load_facts(folder, "uploaded")
    entries = {MRSequence(name): entry for name, entry in facts["scans"].items()}
    if set(entries) != set(scans):
        raise StageError("the scans are not those that were uploaded: a sequence is missing or was added")
    for sequence, entry in entries.items():
        if not scans[sequence].grid.same_as(_grid(entry["grid"]), CORNER_TOLERANCE_MM):
            raise StageError(f"the scan {sequence} is not the one that was uploaded: its grid differs")
    return UploadedCase(
        case_id=facts["case_id"],
        scans={sequence: scans[sequence] for sequence in entries},
        preprocessed=facts["preprocessed"],
        head_state=HeadState(facts["head_state"]),
        input_sha256={s: entry["sha256"] for s, entry in entries.items()},
        flags=_flags(facts["flags"]),
        sources={s: entry["source"] for s, entry in entries.items() if "source" in entry},
        selection=tuple(facts.get("selection", ())),
    )


def save_aligned(case: AlignedCase, folder: Path) -> list[str]:
    """Write an aligned case; returns the names of the files."""
    names: list[str] = []
    facts = {
        "case_id": case.case_id,
        "head_state": str(case.head_state),
        "native_grid": _grid_facts(case.native_grid),
        "reference": str(case.reference),
        "atlas_to_native": {str(s): t.fixed_to_moving_ras_mm.tolist() for s, t in case.atlas_to_native.items()},
        "flags": [flag.to_json() for flag in case.flags],
        "brain_mask": _save_volume(case.brain_mask, folder, "aligned-brain", names),
        "images": {str(s): _save_volume(v, folder, f"aligned-{s}", names) for s, v in case.images.items()},
    }
    return save_facts(facts, folder, "aligned") + names


def load_aligned(folder: Path) -> AlignedCase:
    """What `save_aligned` wrote; raises StageError if it is missing or damaged."""
    facts = load_facts(folder, "aligned")
    return AlignedCase(
        case_id=facts["case_id"],
        images={MRSequence(s): _load_volume(entry, folder) for s, entry in facts["images"].items()},
        brain_mask=_load_volume(facts["brain_mask"], folder),
        head_state=HeadState(facts["head_state"]),
        native_grid=_grid(facts["native_grid"]),
        reference=MRSequence(facts["reference"]),
        atlas_to_native={MRSequence(s): Transform(np.array(m)) for s, m in facts["atlas_to_native"].items()},
        flags=_flags(facts["flags"]),
    )


def save_harmonized(case: HarmonizedCase, folder: Path) -> list[str]:
    """Write what harmonisation changed: images that were passed on unchanged are named, not copied."""
    names: list[str] = []
    images = {
        str(s): None if v is case.aligned.images.get(s) else _save_volume(v, folder, f"harmonized-{s}", names)
        for s, v in case.images.items()
    }
    facts = {
        "method": case.method,
        "flags": [flag.to_json() for flag in case.flags],
        "details": dict(case.details),
        "images": images,
    }
    return save_facts(facts, folder, "harmonized") + names


def load_harmonized(folder: Path, aligned: AlignedCase) -> HarmonizedCase:
    """What `save_harmonized` wrote, on top of the aligned case; raises StageError if it is missing or damaged."""
    facts = load_facts(folder, "harmonized")
    images = {
        MRSequence(s): aligned.images[MRSequence(s)] if entry is None else _load_volume(entry, folder)
        for s, entry in facts["images"].items()
    }
    return HarmonizedCase(aligned, images, facts["method"], _flags(facts["flags"]), facts["details"])


def save_prediction(prediction: Prediction, folder: Path) -> list[str]:
    """Write labels and probabilities; returns the names of the files."""
    names: list[str] = []
    facts = {
        "labels": _save_volume(prediction.labels, folder, "prediction-labels", names),
        "region_probability": {
            region: _save_array(values, folder, f"prediction-{region}", names)
            for region, values in prediction.region_probability.items()
        },
        "agreement": {
            region: _save_array(values, folder, f"agreement-{region}", names)
            for region, values in prediction.agreement.items()
        },
        "postprocess": prediction.postprocess,
        "cleanup": prediction.cleanup and str(prediction.cleanup),
        "intervals": None if prediction.intervals is None else prediction.intervals.to_json(),
        "expected_quality": None if prediction.expected_quality is None else prediction.expected_quality.to_json(),
        "model_id": prediction.model_id,
        "model_sha256": prediction.model_sha256,
        "missing": [str(s) for s in prediction.missing],
        "flags": [flag.to_json() for flag in prediction.flags],
    }
    return save_facts(facts, folder, "prediction") + names


def load_prediction(folder: Path) -> Prediction:
    """What `save_prediction` wrote; raises StageError if it is missing or damaged."""
    facts = load_facts(folder, "prediction")
    return Prediction(
        labels=_load_volume(facts["labels"], folder),
        region_probability={r: _load_array(entry, folder) for r, entry in facts["region_probability"].items()},
        model_id=facts["model_id"],
        model_sha256=facts["model_sha256"],
        missing=tuple(MRSequence(s) for s in facts["missing"]),
        flags=_flags(facts["flags"]),
        agreement={r: _load_array(entry, folder) for r, entry in facts["agreement"].items()},
        postprocess=facts["postprocess"],
        # An older worker wrote none of these.
        intervals=_intervals(facts.get("intervals")),
        cleanup=_cleanup(facts.get("cleanup")),
        expected_quality=_expected_quality(facts.get("expected_quality")),
    )


def _cleanup(value: str | None) -> CleanUp | None:
    try:
        return None if value is None else CleanUp(value)
    except ValueError as error:
        raise StageError(f"the clean-up that a stage left is not known to this version: {value!r}") from error


def _expected_quality(values: dict[str, Any] | None) -> ExpectedQuality | None:
    try:
        return None if values is None else ExpectedQuality.from_json(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StageError(f"the expected quality that a stage left is damaged: {error}") from error


def _intervals(values: dict[str, Any] | None) -> IntervalRule | None:
    try:
        return None if values is None else IntervalRule.from_json(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StageError(f"the intervals that a stage left are damaged: {error}") from error


def _grid_facts(grid: Grid) -> dict[str, Any]:
    # Shortest decimal of a float64 is exact: the grid comes back bit for bit.
    return {"shape": list(grid.shape), "affine_ras_mm": np.asarray(grid.affine_ras_mm).tolist()}


def _grid(facts: Mapping[str, Any]) -> Grid:
    return Grid(tuple(facts["shape"]), np.array(facts["affine_ras_mm"], dtype=np.float64))


def _flags(entries: Iterable[Mapping[str, str]]) -> tuple[QCFlag, ...]:
    return tuple(QCFlag(e["code"], Severity(e["severity"]), e["reason"], e["sequence"]) for e in entries)


def _save_volume(volume: Volume, folder: Path, name: str, names: list[str]) -> dict[str, Any]:
    return {"grid": _grid_facts(volume.grid), **_save_array(volume.data, folder, name, names)}


def _load_volume(entry: Mapping[str, Any], folder: Path) -> Volume:
    return Volume(_load_array(entry, folder), _grid(entry["grid"]))


def _save_array(data: npt.NDArray[Any], folder: Path, name: str, names: list[str]) -> dict[str, Any]:
    """Write the part of an array that is not zero; bools as bits."""
    box = _used_box(data)
    part = data[tuple(slice(low, high) for low, high in box)]
    stored = np.packbits(part) if part.dtype == np.bool_ else part
    try:
        # The folder is private to this attempt and counts only once all of it is stored: no need to wait for the disk.
        np.save(folder / f"{name}.npy", stored, allow_pickle=False)
    except OSError as error:
        raise output_error(f"{name}.npy", error) from error
    names.append(f"{name}.npy")
    return {
        "file": f"{name}.npy",
        "shape": list(data.shape),
        "dtype": data.dtype.str,
        "order": "F" if data.flags.f_contiguous and not data.flags.c_contiguous else "C",
        "box": [list(side) for side in box],
    }


def _load_array(entry: Mapping[str, Any], folder: Path) -> npt.NDArray[Any]:
    dtype = np.dtype(entry["dtype"])
    box = tuple(slice(low, high) for low, high in entry["box"])
    whole = np.zeros(tuple(entry["shape"]), dtype=dtype, order=entry["order"])
    inside = whole[box]
    try:
        part = np.load(folder / entry["file"], allow_pickle=False)
        if dtype == np.bool_:
            part = np.unpackbits(part, count=inside.size).astype(bool).reshape(inside.shape)
        if part.dtype != dtype:
            raise ValueError(f"{part.dtype} in place of {dtype}")
        inside[...] = part
    except (OSError, ValueError, EOFError) as error:
        raise StageError(f"the stage before left no readable {entry['file']}") from error
    return whole


def _used_box(data: npt.NDArray[Any]) -> list[tuple[int, int]]:
    """First and last index of each axis outside which every bit is 0 (so that -0.0 counts as used)."""
    found = used_slices(data.view(_UINT[data.dtype.itemsize]))
    return [(span.start, span.stop) for span in found] if found else [(0, 0)] * data.ndim
