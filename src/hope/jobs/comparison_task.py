"""The task that compares a finished case with an earlier one, or with an earlier result that its user uploads."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from hope.contract.outputs import OutputFile, Role, Space
from hope.contract.report import CaseReport, FileFacts
from hope.domain.errors import InputError
from hope.domain.progress import Progress
from hope.domain.wording import counted
from hope.formats.archive import extract_zip
from hope.formats.atomic import atomic_output
from hope.formats.hashing import sha256_of
from hope.jobs.confined import confined

if TYPE_CHECKING:
    from hope.export.stored_result import StoredResult

MADE: Final = "comparison.zip"
"""What the task leaves in ``out``."""

FACTS, MASK, IMAGE, UPLOAD = "result.json", "mask.nii.gz", "{sequence}.nii.gz", "upload.zip"
"""Names of a date's files in ``in/earlier`` and ``in/later``; an uploaded date is one zip of files of any name."""

_LARGEST_FACTS = 20_000_000
_MASK = OutputFile(Role.SEGMENTATION, space=Space.NATIVE)


def comparison(job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Leave ``out/comparison.zip``: the files of `hope compare`, and both dates on one grid for the page.

    It reads ``in/later`` and ``in/earlier``: each the current mask, its result.json and the images on the atlas grid;
    or, of the earlier date, ``upload.zip`` with these files under any names.

    Args:
        job: also ``max_bytes``, the most that a zip may unpack to; ``sequences`` of the images of each date; ``days``
            from the earlier to the later date, or None.
        progress: called for each step.

    Returns:
        an empty ``result``.

    Raises:
        InputError: if a date lacks a file, the upload is no result, or the dates have no sequence in common.
        StageError: if the images cannot be registered.
    """
    from hope.longitudinal.compare import compare_visits
    from hope.longitudinal.report import write_comparison
    from hope.longitudinal.views import write_views
    from hope.longitudinal.visits import visit_of

    folder, scratch, out = Path(job["in"]), Path(job["scratch"]), Path(job["out"])
    with confined(job):
        progress("comparison: read", 0.0)
        sequences: Mapping[str, Sequence[str]] = job.get("sequences") or {}
        later = visit_of(_of_case(folder / "later", sequences.get("later", ())), "this case")
        if (folder / "earlier" / UPLOAD).is_file():
            unpacked = extract_zip(folder / "earlier" / UPLOAD, scratch / "unpacked", int(job["max_bytes"]))
            earlier = visit_of(_of_upload(unpacked), "the earlier result")
        else:
            earlier = visit_of(_of_case(folder / "earlier", sequences.get("earlier", ())), "the earlier case")
        days = job.get("days")
        found, overlay = compare_visits([earlier, later], None if days is None else [0, int(days)], None, progress)
        made = scratch / "made"
        write_comparison(found, overlay, made)
        write_views(overlay, made)
        _pack(made, out / MADE)
    return {"artifacts": [], "result": {}}


def _of_case(folder: Path, sequences: Sequence[str]) -> StoredResult:
    """A case's result as it lies in the directory of the job; its files were verified when they were fetched."""
    report = CaseReport.stored(json.loads((folder / FACTS).read_bytes()))
    images = [OutputFile.of(Role.IMAGE, sequence=sequence) for sequence in sequences]
    names = {MASK: _MASK, **{IMAGE.format(sequence=image.sequence): image for image in images}}
    return _listing(folder, report, {name: (output, sha256_of(folder / name)) for name, output in names.items()})


def _listing(folder: Path, report: CaseReport, files: Mapping[str, tuple[OutputFile, str]]) -> StoredResult:
    from hope.export.stored_result import StoredResult

    listed = [
        FileFacts.model_validate({"name": name, "kind": output.kind, "sha256": sha256, **output.to_json()})
        for name, (output, sha256) in files.items()
    ]
    return StoredResult(folder, report.model_copy(update={"files": listed}))


def _of_upload(folder: Path) -> StoredResult:
    """An uploaded result, whatever its files are called: result.json knows each by its hash.

    Raises:
        InputError: if there is no result.json or several, or its mask or every image is missing.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    reports = [report for path in files if (report := _report(path)) is not None]
    if len(reports) != 1:
        raise InputError(
            "the earlier result is not usable",
            expected="its result.json, its mask and its t1c in atlas space",
            got=counted(len(reports), "files that are a result.json with its list of files"),
            fix="choose these three files of one result",
        )
    by_hash = {sha256_of(path): path for path in files}
    found: dict[str, tuple[OutputFile, str]] = {}
    for facts in reports[0].files:
        output = OutputFile.from_json(facts.model_dump()) or OutputFile.of_name(facts.name)
        path = by_hash.get(facts.sha256 or "")
        if path is not None and output is not None and (output == _MASK or output.role is Role.IMAGE):
            found[str(path.relative_to(folder))] = (output, str(facts.sha256))
    given = [output for output, _ in found.values()]
    missing = [
        word
        for word, is_there in (
            ("mask on the scan's own grid", _MASK in given),
            ("t1c in atlas space", any(one.role is Role.IMAGE for one in given)),
        )
        if not is_there
    ]
    if missing:
        raise InputError(
            f"the earlier result lacks its {' and its '.join(missing)}",
            expected="the very files that its result.json lists",
            fix="choose the unchanged files of one result; a corrected mask is compared by hope compare",
        )
    return _flat(folder, reports[0], found)


def _flat(folder: Path, report: CaseReport, found: Mapping[str, tuple[OutputFile, str]]) -> StoredResult:
    """The listing with each file moved to a directory of its own: names of an upload lead nowhere else."""
    apart = folder.with_name(f"{folder.name}-chosen")
    apart.mkdir()
    moved: dict[str, tuple[OutputFile, str]] = {}
    for number, (name, facts) in enumerate(found.items()):
        (folder / name).rename(apart / f"{number}.nii.gz")
        moved[f"{number}.nii.gz"] = facts
    return _listing(apart, report, moved)


def _report(path: Path) -> CaseReport | None:
    """A result.json that lists its files; None for anything else."""
    with path.open("rb") as stream:
        if stream.read(1) != b"{" or path.stat().st_size > _LARGEST_FACTS:
            return None
    try:
        report = CaseReport.stored(json.loads(path.read_bytes()))
    except (ValueError, ValidationError, RecursionError):
        return None
    return report if report.files else None


def _pack(made: Path, path: Path) -> None:
    """Zip what lies in a directory, fast."""
    with atomic_output(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(made.iterdir()):
            archive.write(file, file.name)
