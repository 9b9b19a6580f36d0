"""What the gateway lets a child process do besides the stages: read an archive, make the sample, check a mask.

Every scan that a task leaves has gone through `hope.formats.nifti_clean`: voxels and position, not a word of text. What
is said of a DICOM series comes from its geometry and timing; its description may hold a name and is never repeated.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hope.contract.outputs import CORRECTION_FILES, OutputFile, Role
from hope.domain.case import SEQUENCES, HeadState, MRSequence
from hope.domain.errors import InputError
from hope.domain.progress import Progress
from hope.domain.qc import worst_first
from hope.formats.atomic import atomic_output
from hope.formats.nifti import read_scan
from hope.jobs import archive_task, comparison_task, dicom_task, scan_task
from hope.jobs.bodies import for_the_page
from hope.jobs.confined import confined
from hope.stages.intake.archive_series import series_in_archive
from hope.stages.intake.intake import CaseSource, load_case
from hope.stages.postprocess.corrected_mask import keep_mask
from hope.stages.report.correction import write_correction
from hope.stages.report.thumbnail import thumbnail
from hope.synthesis.sample import SAMPLE_KIND, SAMPLE_SEED, make_sample

Done = dict[str, Any]

_SAMPLE = f"sample-{SAMPLE_SEED}-{SAMPLE_KIND}-1"
_ANY_SIZE = 2**40


def dicom(job: Mapping[str, Any], progress: Progress) -> Done:
    """Find the scans in ``in/upload.zip`` (DICOM or NIfTI), and leave each as a clean NIfTI file.

    Args:
        job: also ``max_bytes``, the most that the zip may unpack to, and ``key`` of the marks that say whose scans are.
        progress: called for each scan.

    Returns:
        ``{"series": [...], "problem": sentence or ""}``; a series whose sequence is not certain has None.

    Raises:
        InputError: if the archive is unusable or holds no scan.
    """
    archive, scratch, out = Path(job["in"]) / "upload.zip", Path(job["scratch"]), Path(job["out"])
    limit = int(job.get("max_bytes") or _ANY_SIZE)
    with confined(job):
        series, problem = series_in_archive(archive, scratch, out, limit, progress, str(job.get("key") or ""))
    return _series_done(series, problem)


def sample(job: Mapping[str, Any], progress: Progress) -> Done:
    """Leave the four scans of the synthetic sample case, made once if ``cache`` names a directory.

    Returns:
        as `dicom`.
    """
    out = Path(job["out"])
    if not job.get("cache"):
        return _series_done(make_sample(out, progress))
    kept = Path(job["cache"]) / _SAMPLE
    if not (kept / "sample.json").is_file():
        _fill_cache(kept, progress)
    series = json.loads((kept / "sample.json").read_bytes())
    for entry in series:
        shutil.copyfile(kept / entry["file"], out / entry["file"])
    return _series_done(series)


def checks(job: Mapping[str, Any], progress: Progress) -> Done:
    """Look at the stored scans of a case (``in/t1c.nii`` and so on) as a run would, and keep nothing.

    Args:
        job: also ``sources``, how each sequence was told and whose it is, and ``preprocessed``, as the run's option.
        progress: called for each scan.

    Returns:
        ``{"problem": why a run would refuse them, or "", "remarks": [flag], "thumbnails": {sequence: WebP, base64}}``
    """
    folder = Path(job["in"])
    files = {s: folder / f"{s}.nii" for s in SEQUENCES if (folder / f"{s}.nii").is_file()}
    known = dict(job.get("sources") or {})
    source = CaseSource(str(job["case"]), files, sources={s: dict(known[s]) for s in files if s in known})
    asked = job.get("preprocessed")
    problem, remarks = "", []
    try:
        case = load_case(source, preprocessed=asked, scratch=Path(job["scratch"]), progress=progress)
    except InputError as error:
        # The refusal is the answer that was asked for.
        problem = str(for_the_page(error) if "--" in error.fix else error)
        pictures = _thumbnails(files)
    else:
        remarks = [flag.to_json() for flag in worst_first(case.flags)]
        face = case.head_state is HeadState.FULL
        pictures = {str(s): thumbnail(scan, has_face=face) for s, scan in case.scans.items()}
    shown = {sequence: base64.b64encode(picture).decode() for sequence, picture in pictures.items()}
    return {"artifacts": [], "result": {"problem": problem, "remarks": remarks, "thumbnails": shown}}


def _thumbnails(files: Mapping[MRSequence, Path]) -> dict[str, bytes]:
    """Of scans that a run would refuse; a file that cannot even be read has none: the refusal says so."""
    made = {}
    for sequence, path in files.items():
        with contextlib.suppress(InputError):
            scan, _ = read_scan(path, str(sequence))
            made[str(sequence)] = thumbnail(scan)
    return made


def segmentation(job: Mapping[str, Any], progress: Progress) -> Done:
    """Check a corrected mask (``in/mask.nii`` or ``.nii.gz``) and leave it on the reference scan's grid, measured.

    The grid is that of ``in/reference.json`` (``shape``, ``affine_ras_mm``) or else of ``in/reference.nii[.gz]``.
    The mask may list the same voxels along other axes.

    With ``in/result.json`` and ``in/reference.nii.gz`` it also leaves report, picture, table and facts of the mask.

    Returns:
        ``{"volumes_ml": {key: {"ml"}}, "warnings": [sentence]}``

    Raises:
        InputError: if the mask lies on another grid, or holds anything but the labels 0 to 4.
    """
    folder, out = Path(job["in"]), Path(job["out"])
    mask, facts = out / "mask.nii.gz", folder / "result.json"
    left = {Role.CORRECTED_SEGMENTATION: mask.name}
    with confined(job):
        result = keep_mask(folder, mask, progress)
        if facts.is_file():
            progress("segmentation: report", 0.8)
            write_correction(facts, folder / "reference.nii.gz", mask, result["volumes_ml"], out)
            left |= CORRECTION_FILES
    return {
        "artifacts": [OutputFile.of(role).entry(name) for role, name in left.items()],
        "result": result,
    }


def _series_done(series: list[dict[str, Any]], problem: str = "") -> Done:
    artifacts = [{"name": entry["file"], "kind": "", "public": False} for entry in series]
    return {"artifacts": artifacts, "result": {"series": series, "problem": problem}}


def _fill_cache(kept: Path, progress: Progress) -> None:
    """Make the sample beside its place and move it there; whoever comes second at the same time uses the first's."""
    made = kept.with_name(f".{kept.name}-{secrets.token_hex(4)}")
    made.mkdir(parents=True)
    try:
        series = make_sample(made, progress)
        with atomic_output(made / "sample.json") as stream:
            stream.write(json.dumps(series).encode())
        try:
            made.rename(kept)
        except OSError:
            if not (kept / "sample.json").is_file():
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


TASKS: Mapping[str, Callable[[Mapping[str, Any], Progress], Done]] = {
    "scan": lambda job, _progress: scan_task.scan(job),
    "dicom": dicom,
    "sample": sample,
    "checks": checks,
    "segmentation": segmentation,
    "dicom-objects": dicom_task.objects,
    "comparison": comparison_task.comparison,
    "archive-find": archive_task.find,
    "archive-pull": archive_task.pull,
}
