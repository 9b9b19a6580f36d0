"""What the gateway lets a child process do besides the stages: read an archive, make the sample, check a mask.

Every scan that a task leaves has gone through `hope.formats.nifti_clean`: voxels and position, not a word of text. What
is said of a DICOM series comes from its geometry and timing; its description may hold a name and is never repeated.
"""

from __future__ import annotations

import gzip
import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from hope.domain.errors import InputError, StageError
from hope.domain.grid import Grid
from hope.domain.labels import PEDS
from hope.domain.progress import Progress
from hope.domain.volume import Volume
from hope.formats.atomic import atomic_output
from hope.formats.nifti import read_labels, write_compact, write_labels
from hope.formats.nifti_clean import clean_nifti
from hope.formats.nifti_header import read_layout
from hope.jobs.archive_series import series_in_archive

Done = dict[str, Any]

GRID_TOLERANCE_MM = 0.1
"""Programs round the matrices that they write; a mask that lies further off belongs to another scan."""

SAMPLE_SEED, SAMPLE_KIND = 11, "rim_enhancing"
"""The sample case: a tumour with all that the viewer can show."""

_SAMPLE = f"sample-{SAMPLE_SEED}-{SAMPLE_KIND}-1"
_ANY_SIZE = 2**40
_MASK = "the segmentation"


def dicom(job: Mapping[str, Any], told: Progress) -> Done:
    """Find the scans in ``in/upload.zip`` (DICOM or NIfTI), and leave each as a clean NIfTI file.

    Args:
        job: also ``max_bytes``, the most that the zip may unpack to.
        told: told of each scan.

    Returns:
        ``{"series": [...], "problem": sentence or ""}``; a series whose sequence is not certain has None.

    Raises:
        InputError: if the archive is unusable or holds no scan.
    """
    archive, scratch, out = Path(job["in"]) / "upload.zip", Path(job["scratch"]), Path(job["out"])
    limit = int(job.get("max_bytes") or _ANY_SIZE)
    series, problem = series_in_archive(archive, scratch, out, limit, told)
    return _series_done(series, problem)


def sample(job: Mapping[str, Any], told: Progress) -> Done:
    """Leave the four scans of the synthetic sample case, made once if ``cache`` names a directory.

    Returns:
        as `dicom`.
    """
    out = Path(job["out"])
    if not job.get("cache"):
        return _series_done(_make_sample(out, told))
    kept = Path(job["cache"]) / _SAMPLE
    if not (kept / "sample.json").is_file():
        _fill_cache(kept, told)
    series = json.loads((kept / "sample.json").read_bytes())
    for entry in series:
        shutil.copyfile(kept / entry["file"], out / entry["file"])
    return _series_done(series)


def segmentation(job: Mapping[str, Any], told: Progress) -> Done:
    """Check a corrected mask (``in/mask.nii`` or ``.nii.gz``) and leave it on the reference scan's grid, measured.

    The grid is that of ``in/reference.json`` (``shape``, ``affine_ras_mm``) or else of ``in/reference.nii[.gz]``.
    The mask may list the same voxels along other axes.

    Returns:
        ``{"volumes_ml": {key: {"ml"}}, "warnings": [sentence]}``

    Raises:
        InputError: if the mask lies on another grid, or holds anything but the labels 0 to 4.
    """
    folder, out = Path(job["in"]), Path(job["out"])
    reference = _reference_grid(folder)
    path = next((folder / name for name in ("mask.nii", "mask.nii.gz") if (folder / name).is_file()), None)
    if path is None:
        raise StageError("no mask was handed over")
    told("segmentation: check", 0.1)
    _refuse_other_grid(path, reference)
    mask = read_labels(path, _MASK).reoriented(reference.orientation)
    highest = int(mask.data.max())
    if highest > max(PEDS.values):
        known = ", ".join(f"{label.value} {label.key}" for label in PEDS.labels)
        raise InputError(f"{_MASK} holds unknown labels", expected=f"0 background, {known}", got=str(highest))
    told("segmentation: measure", 0.6)
    write_labels(Volume(np.asarray(mask.data), reference), out / "mask.nii.gz")
    warnings = [] if highest else ["The mask is empty: it marks no tumour."]
    return {
        "artifacts": [{"name": "mask.nii.gz", "kind": "corrected segmentation", "public": True}],
        "result": {"volumes_ml": _volumes(mask, reference), "warnings": warnings},
    }


def _series_done(series: list[dict[str, Any]], problem: str = "") -> Done:
    artifacts = [{"name": entry["file"], "kind": "", "public": False} for entry in series]
    return {"artifacts": artifacts, "result": {"series": series, "problem": problem}}


def _make_sample(out: Path, told: Progress) -> list[dict[str, Any]]:
    from hope.synthesis.raw import RawOptions, raw_case

    told("sample: make a synthetic case", 0.05)
    case = raw_case(SAMPLE_SEED, 0, RawOptions(kind=SAMPLE_KIND))
    series = []
    for number, (sequence, scan) in enumerate(case.scans.items()):
        told(f"sample: write {sequence}", 0.8 + 0.05 * number)
        raw, clean = out / f".{sequence}.nii", out / f"{sequence}.nii"
        # Whole numbers, as a scanner stores them.
        write_compact(scan.with_data(np.rint(scan.data)), raw)
        facts = clean_nifti(raw, clean, sequence, _ANY_SIZE).facts()
        raw.unlink()
        known = {"key": str(sequence), "sequence": str(sequence), "file": clean.name}
        series.append({**known, **facts, "confidence": 1.0, "reason": "made by this program: it shows nobody"})
    return series


def _fill_cache(kept: Path, told: Progress) -> None:
    """Make the sample beside its place and move it there; whoever comes second at the same time uses the first's."""
    made = kept.with_name(f".{kept.name}-{secrets.token_hex(4)}")
    made.mkdir(parents=True)
    try:
        series = _make_sample(made, told)
        with atomic_output(made / "sample.json") as stream:
            stream.write(json.dumps(series).encode())
        try:
            made.rename(kept)
        except OSError:
            if not (kept / "sample.json").is_file():
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _reference_grid(folder: Path) -> Grid:
    facts = folder / "reference.json"
    if facts.is_file():
        known = json.loads(facts.read_bytes())
        return Grid(tuple(known["shape"]), np.array(known["affine_ras_mm"]))
    for name in ("reference.nii", "reference.nii.gz"):
        if (folder / name).is_file():
            return _grid_of(folder / name, "the reference scan")
    raise StageError("no reference scan was handed over")


def _grid_of(path: Path, what: str) -> Grid:
    """The grid that a NIfTI file's header tells; no voxel is read."""
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            return read_layout(cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if zipped else raw, what).grid
        except (EOFError, OSError) as error:
            raise InputError(f"{what} is truncated or damaged", fix="save or export it again") from error


def _refuse_other_grid(path: Path, reference: Grid) -> None:
    """Before a voxel is read: a header may promise far more voxels than the scan has."""
    grid = _grid_of(path, _MASK).reoriented(reference.orientation)
    fix = "save the mask on the grid of the scan that carries the result, without cropping or resampling"
    if grid.shape != reference.shape:
        expected, got = ("x".join(map(str, g.shape)) + " voxels" for g in (reference, grid))
        raise InputError(f"{_MASK} is on another grid than the scan", expected=expected, got=got, fix=fix)
    distance = grid.largest_corner_distance_mm(reference)
    if distance > GRID_TOLERANCE_MM:
        expected, got = f"corners within {GRID_TOLERANCE_MM} mm", f"{distance:.1f} mm"
        raise InputError(f"{_MASK} lies elsewhere than the scan", expected=expected, got=got, fix=fix)


def _volumes(mask: Volume, reference: Grid) -> dict[str, dict[str, float]]:
    from hope.stages.postprocess.postprocess import count_voxels

    counts = count_voxels(np.asarray(mask.data))
    return {key: {"ml": round(count * reference.voxel_volume_ml, 3)} for key, count in counts.items()}


TASKS: Mapping[str, Callable[[Mapping[str, Any], Progress], Done]] = {
    "dicom": dicom,
    "sample": sample,
    "segmentation": segmentation,
}
