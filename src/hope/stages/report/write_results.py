"""The files of one result, all of them or none."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hope.contract.measurements import PlaneDiameters
from hope.contract.outputs import OutputFile, Role, Space
from hope.contract.report import CaseReport, FileFacts, StageSeconds
from hope.contract.result import CaseResult
from hope.domain.case import AlignedCase, HarmonizedCase
from hope.domain.volume import Volume
from hope.formats.atomic import atomic_output
from hope.formats.hashing import hash_file
from hope.formats.nifti import write_labels, write_scan
from hope.stages.report.face_free import without_face
from hope.stages.report.lesion_views import draw_measurements
from hope.stages.report.notice import notice_of
from hope.stages.report.preview import render_preview
from hope.stages.report.report import write_report
from hope.stages.report.result_folder import RESULT, result_folder

__all__ = ["RESULT", "Delivered", "result_folder", "write_results"]

FACE_REMOVED = "face removed"


@dataclass(frozen=True)
class Delivered:
    """What of the scans is shown and handed out.

    Attributes:
        scan: for the picture, on the grid of the native labels.
        deface: remove the face from the images on the atlas grid.
        shows: what of the head the scan shows, in words.
    """

    scan: Volume
    deface: bool = False
    shows: str = ""


def write_results(
    folder: Path,
    result: CaseResult,
    harmonized: HarmonizedCase,
    delivered: Delivered,
    stages: Sequence[StageSeconds],
    uncertainty: tuple[Volume, str] | None = None,
) -> CaseReport:
    """Write masks, atlas images, picture, report and result.json; returns what result.json says.

    Args:
        folder: private folder of this attempt.
        result: labels and facts.
        harmonized: the images that the model saw.
        delivered: what of the scans is shown and handed out.
        stages: seconds of the steps before this one.
        uncertainty: the map of uncertainty on the atlas grid and what its values mean, if it is wanted.

    Raises:
        OutputError: if a file cannot be written.
    """
    case_id = result.case_id
    aligned: AlignedCase = harmonized.aligned
    files: list[OutputFile] = []

    def path(output: OutputFile) -> Path:
        files.append(output)
        return folder / output.name(case_id)

    native, atlas = (path(OutputFile(Role.SEGMENTATION, space=space)) for space in (Space.NATIVE, Space.ATLAS))
    unsure = path(OutputFile.of(Role.UNCERTAINTY, detail=uncertainty[1])) if uncertainty is not None else None
    detail = FACE_REMOVED if delivered.deface else ""
    images = [
        (
            _handed_out(volume, result, aligned, delivered),
            path(OutputFile.of(Role.IMAGE, sequence=str(s), detail=detail)),
        )
        for s, volume in harmonized.images.items()
    ]
    picture = path(OutputFile.of(Role.PICTURE, detail=delivered.shows))
    with ThreadPoolExecutor(1, "hope-write") as beside:
        # Packing gives Python's lock free, so the masks are written and the pictures drawn meanwhile.
        writing = [beside.submit(write_scan, volume, at) for volume, at in images]
        write_labels(result.native_labels, native)
        write_labels(result.atlas_labels, atlas)
        if uncertainty is not None and unsure is not None:
            write_scan(uncertainty[0], unsure)
        drawn = _draw(result, delivered, f"{case_id}  ({aligned.reference})", picture)
        for one in writing:
            one.result()
    if result.report.measurements is not None:
        with atomic_output(path(OutputFile.of(Role.LESIONS))) as stream:
            stream.write(result.report.measurements.csv().encode())
    html = path(OutputFile.of(Role.REPORT, detail=delivered.shows))
    report = result.report.with_sections(stages=stages, files=_listing(folder, case_id, files))
    write_report(report, picture, html, drawn)
    report = report.with_sections(files=_listing(folder, case_id, files))
    with atomic_output(folder / RESULT) as stream:
        stream.write(report.text().encode())
    return report


def _draw(result: CaseResult, delivered: Delivered, title: str, picture: Path) -> bytes:
    """Write the picture of the result; returns that of its lesions, empty where there are none."""
    report, labels = result.report, result.native_labels
    volumes, axial, notice = report.millilitres(), _largest_axial(report), notice_of(report)
    render_preview(delivered.scan, labels, volumes, title, picture, notice, axial)
    sizes = report.measurements
    return b"" if sizes is None else draw_measurements(delivered.scan, labels, sizes)


def _handed_out(volume: Volume, result: CaseResult, aligned: AlignedCase, delivered: Delivered) -> Volume:
    return without_face(volume, aligned.brain_mask, result.atlas_labels) if delivered.deface else volume


def _largest_axial(report: CaseReport) -> PlaneDiameters | None:
    """The axial diameters of the largest target, else of the largest lesion that has some."""
    lesions = report.measurements.lesions if report.measurements else []
    ordered = sorted(lesions, key=lambda lesion: (not lesion.target, lesion.number))
    return next((axial for lesion in ordered if (axial := lesion.axial)), None)


def _listing(folder: Path, case_id: str, files: Sequence[OutputFile]) -> list[FileFacts]:
    entries = []
    for output in files:
        path = folder / output.name(case_id)
        if path.is_file():
            digest, size = hash_file(path)
            hashed = {"bytes": size, "sha256": digest}
            entries.append(
                FileFacts.model_validate({"name": path.name, "kind": output.kind, **hashed, **output.to_json()})
            )
    return entries
