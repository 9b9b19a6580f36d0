"""Delivery: the files of one result, all of them or none."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hope.domain.case import AlignedCase, CaseResult, HarmonizedCase
from hope.domain.errors import OutputError
from hope.domain.volume import Volume
from hope.formats.atomic import atomic_output, output_error
from hope.formats.nifti import write_labels, write_scan
from hope.stages.report.preview import render_preview
from hope.stages.report.report import write_report

RESULT = "result.json"


@contextmanager
def result_folder(out: Path, case_id: str, facts: str = RESULT) -> Iterator[Path]:
    """A private folder that becomes ``out/case_id`` only when the block ends well; else nothing stays behind.

    An earlier result of the same case, known by its file ``facts``, is replaced as a whole, never mixed. One that holds
    files that were added or changed since, such as a mask corrected by hand, is not replaced.

    Raises:
        OutputError: if ``out`` cannot be written, or something that must not be replaced lies at ``out/case_id``.
    """
    target, partial = out / case_id, out / f".{case_id}.{secrets.token_hex(4)}.part"
    made: list[Path] = []
    finished = False
    try:
        with _as_output_error():
            _refuse_to_replace(target, facts)
            made = [p for p in (out, *out.parents) if not p.exists()]
            partial.mkdir(parents=True)
        yield partial
        with _as_output_error():
            _swap(partial, target)
        finished = True
    finally:
        if not finished:
            shutil.rmtree(partial, ignore_errors=True)
            for folder in made:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()


@contextmanager
def _as_output_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error("the output directory", error) from error


def _swap(partial: Path, target: Path) -> None:
    """Put the new folder in the old one's place; if that fails, the old one is back where it was."""
    old = target.with_name(f"{partial.name}.old")
    if target.exists():
        target.rename(old)
    try:
        partial.rename(target)
    except BaseException:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _refuse_to_replace(target: Path, facts: str) -> None:
    if not target.exists():
        return
    if not (target / facts).is_file():
        raise OutputError(
            f"{target.name} exists in the output directory and is not a result of hope; choose another -o"
        )
    try:
        listed = {entry["name"]: entry["sha256"] for entry in json.loads((target / facts).read_text())["files"]}
    except (ValueError, KeyError, TypeError):
        listed = {}  # truth.json and preprocess.json list no files: their names are all there is to go by
    for path in sorted(target.iterdir()):
        ours = path.name == facts or (path.name.startswith(target.name) if not listed else path.name in listed)
        if ours and path.name in listed:
            ours = hashlib.sha256(path.read_bytes()).hexdigest() == listed[path.name]
        if not ours:
            raise OutputError(
                f"the earlier result of {target.name} holds a file that was added or changed since ({path.name}); "
                "move it to a safe place, or choose another -o"
            )


def deliver(
    folder: Path,
    result: CaseResult,
    harmonized: HarmonizedCase,
    reference_scan: Volume,
    stages: list[dict[str, Any]],
    doubt: tuple[Volume, str] | None = None,
) -> dict[str, Any]:
    """Write masks, atlas images, picture, report and result.json; returns what result.json says.

    Args:
        folder: private folder of this attempt.
        result: labels and facts.
        harmonized: the images that the model saw.
        reference_scan: the scan whose grid the native labels share, for the picture.
        stages: ``{"name", "seconds"}`` of the stages before this one.
        doubt: the map of doubt on the atlas grid and what its values mean, if it is wanted.

    Raises:
        OutputError: if a file cannot be written.
    """
    case_id = result.case_id
    aligned: AlignedCase = harmonized.aligned
    kinds: dict[str, str] = {}

    def name(suffix: str, kind: str) -> Path:
        kinds[f"{case_id}-{suffix}" if suffix.endswith(".nii.gz") else suffix] = kind
        return folder / (f"{case_id}-{suffix}" if suffix.endswith(".nii.gz") else suffix)

    write_labels(result.native_labels, name("seg.nii.gz", "segmentation on the scan's own grid"))
    write_labels(result.atlas_labels, name("seg-atlas.nii.gz", "segmentation on the atlas grid"))
    if doubt is not None:
        write_scan(doubt[0], name("doubt-atlas.nii.gz", f"doubt on the atlas grid, 0 to 1: {doubt[1]}"))
    for sequence, volume in harmonized.images.items():
        write_scan(volume, name(f"{sequence}-atlas.nii.gz", f"{sequence} on the atlas grid"))
    missing = result.report["input"]["missing"]
    notice = f"Not given: {', '.join(missing)}. The result is less reliable." if missing else ""
    title = f"{case_id}  ({aligned.reference})"
    render_preview(
        reference_scan, result.native_labels, result.volumes_ml, title, name("preview.png", "picture"), notice
    )
    report = {**result.report, "stages": stages, "files": _listing(folder, kinds)}
    write_report(report, folder / "preview.png", name("report.html", "report"))
    report["files"] = _listing(folder, kinds)
    with atomic_output(folder / RESULT) as stream:
        stream.write((json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
    return report


def _listing(folder: Path, kinds: Mapping[str, str]) -> list[dict[str, Any]]:
    entries = []
    for file_name, kind in kinds.items():
        path = folder / file_name
        if path.is_file():
            content = path.read_bytes()
            entries.append(
                {"name": file_name, "kind": kind, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            )
    return entries
