"""Delivery: the files of one result, all of them or none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hope.domain.case import AlignedCase, CaseResult, HarmonizedCase
from hope.domain.volume import Volume
from hope.formats.atomic import atomic_output
from hope.formats.nifti import write_labels, write_scan
from hope.stages.report.preview import render_preview
from hope.stages.report.report import write_report
from hope.stages.report.result_folder import RESULT, result_folder

__all__ = ["RESULT", "deliver", "result_folder"]


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
