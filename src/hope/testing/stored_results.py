"""Results of a case on disk without a run: real files and a true listing, for tests of what hands results on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hope.contract.outputs import OutputFile, Role, Space
from hope.contract.report import CaseReport
from hope.domain.case import SEQUENCES
from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.labels import NET, PEDS, REGIONS, region_mask
from hope.domain.volume import Volume
from hope.formats.hashing import hash_file
from hope.formats.nifti import write_labels, write_scan

MODEL_SHA256 = "ab" * 32


def labelled(grid: Grid, labels: Sequence[int] = (1, 2, 3, 4)) -> Volume:
    """A mask of unequal boxes, one a label, that no flip maps to itself; any grid of at least 12 voxels an edge."""
    data = np.zeros(grid.shape, dtype=np.uint8)
    for place, value in enumerate(labels):
        start = [2 + place, 3, 1 + place]
        data[start[0] : start[0] + 3 + place, start[1] : start[1] + 4 - place // 2, start[2] : start[2] + 2] = value
    return Volume(data, grid)


def write_stored_result(
    folder: Path,
    mask: Volume,
    *,
    case_id: str = "case-0a1b",
    reference: str = "t1c",
    scan_sha256: str = "",
    from_dicom: bool = False,
    atlas: bool = False,
    textured: bool = False,
) -> CaseReport:
    """Write ``folder`` as hope segment would for this mask (peds labels on the reference scan's grid).

    Args:
        folder: is made.
        mask: the labels.
        case_id: name of the case.
        reference: the sequence whose grid the mask shares.
        scan_sha256: hash of the reference scan's voxels and grid.
        from_dicom: the scans were given as DICOM.
        atlas: write mask and images on the atlas grid, too.
        textured: all four sequences were given, and their atlas images and the atlas mask show a small tumour.
    """
    folder.mkdir(parents=True)
    files = []

    def path(output: OutputFile) -> Path:
        files.append(output)
        return folder / output.name(case_id)

    write_labels(mask, path(OutputFile(Role.SEGMENTATION, space=Space.NATIVE)))
    if textured:
        _write_textured(path)
    elif atlas:
        zeros = np.zeros(ATLAS_GRID.shape, dtype=np.uint8)
        write_labels(Volume(zeros, ATLAS_GRID), path(OutputFile(Role.SEGMENTATION, space=Space.ATLAS)))
        for sequence in ("t1c", "t2f"):
            image = Volume(zeros.astype(np.float32), ATLAS_GRID)
            write_scan(image, path(OutputFile.of(Role.IMAGE, sequence=sequence)))
    for role in (Role.PICTURE, Role.REPORT):
        path(OutputFile.of(role)).write_bytes(b"a stand-in\n")
    volumes = {}
    for key in (*(label.key for label in PEDS.labels), *(r for r in REGIONS if r != "ET")):
        ml = float(region_mask(mask.data, key).sum()) * mask.grid.voxel_volume_ml
        volumes[key] = {"ml": ml, "low_ml": 0.9 * ml, "high_ml": 1.2 * ml}
    listing = []
    for output in files:
        digest, size = hash_file(folder / output.name(case_id))
        name = output.name(case_id)
        listing.append({"name": name, "kind": output.kind, "bytes": size, "sha256": digest, **output.to_json()})
    facts: dict[str, Any] = {
        "format": "hope-result/1",
        "case_id": case_id,
        "created_by": {"software": "hope", "version": "0.2.0"},
        "disclaimer": "Research use only.",
        "input": {
            "sequences": {reference: {"sha256": scan_sha256 or "0" * 64, "grid": mask.grid.to_json()}},
            "missing": [] if textured else ["t1n"],
            "reference": reference,
            "treated_as": "raw",
            "head_state": "full",
        },
        "qc": [{"code": "thick_slices", "severity": "caution", "sequence": "t2w", "reason": "slices are 6 mm thick"}],
        "volumes_ml": volumes,
        "tumour_found": bool(mask.data.any()),
        "model": {"id": "starter", "version": "3", "sha256": MODEL_SHA256},
        "files": listing,
        "expected_quality": {
            "verdict": "check",
            "regions": {"WT": {"dice": 0.81, "low": 0.6, "high": 0.92, "poor_chance": 0.3, "verdict": "check"}},
        },
    }
    if from_dicom:
        facts["series_selection"] = {"series": [{"series": 1, "taken_as": reference}]}
    report = CaseReport.stored(facts)
    (folder / "result.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
    return report


def _write_textured(path: Callable[[OutputFile], Path]) -> None:
    """An atlas mask of one box of NET, and four images of noise; the same each time."""
    rng = np.random.default_rng(6)
    labels = np.zeros(ATLAS_GRID.shape, dtype=np.uint8)
    labels[100:110, 100:112, 60:68] = NET
    write_labels(Volume(labels, ATLAS_GRID), path(OutputFile(Role.SEGMENTATION, space=Space.ATLAS)))
    for sequence in SEQUENCES:
        data = np.zeros(ATLAS_GRID.shape, dtype=np.float32)
        data[80:140, 80:140, 40:100] = rng.normal(300, 60, (60, 60, 60))
        write_scan(Volume(data, ATLAS_GRID), path(OutputFile.of(Role.IMAGE, sequence=str(sequence))))
