"""A result as DICOM objects of the series that it was made on: which series that is, and who may be told apart."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hope import __version__
from hope.contract.report import CaseReport
from hope.domain.errors import InputError, OutputError
from hope.domain.labels import PEDS, REGIONS
from hope.domain.qc import Severity, worst_first
from hope.domain.volume import Volume
from hope.domain.wording import counted
from hope.export.stored_result import StoredResult
from hope.export.writing import write_files
from hope.formats.atomic import holds_something, output_error
from hope.formats.dicom import convert_series
from hope.formats.dicom_header import read_header
from hope.formats.dicom_seg import Algorithm, ObjectUIDs, dicom_bytes, make_segmentation, on_series_grid
from hope.formats.dicom_series import DicomSeries, read_series
from hope.formats.dicom_source import SourceSeries, grid_of, read_source, uid_of
from hope.formats.dicom_sr import LesionFigure, ReportFigures, VolumeFigure, make_report
from hope.formats.dicom_walk import MalformedError
from hope.formats.private_directory import private_directory
from hope.formats.reading import reading
from hope.stages.intake.intake import hash_volume
from hope.stages.report.made_from import foreign

_INSTANCE: Final = 0x00080018

KEYS = (*(label.key for label in PEDS.labels), *(region for region in REGIONS if region != "ET"))
"""What is tracked over dates: labels, tumour core, whole tumour."""


@dataclass(frozen=True)
class ExportedObjects:
    """What was written.

    Attributes:
        files: the objects: the segmentation, if a tumour was found, and the report.
        notes: what the user should know of the export, in words without a name.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Original:
    series: DicomSeries
    mask: Volume
    proven: bool


def export_objects(
    result: StoredResult,
    series_folder: Path,
    out: Path,
    *,
    secret: str = "",
    labelmap: bool = False,
    as_dicom: bool = False,
    replace: bool = False,
) -> ExportedObjects:
    """Write the segmentation and the report of a result for the series that it was made on.

    Args:
        result: a case's result.
        series_folder: directory that holds the original series, among others perhaps.
        out: directory for ``<case>-seg.dcm`` and ``<case>-sr.dcm``; it is made if it is missing.
        secret: of the site; with it tracking UIDs are equal on every date of a patient whose headers tell who it is.
        labelmap: write a label map instead of a bit a voxel and segment.
        as_dicom: the reference scan is known to have been given as DICOM, whatever the report says.
        replace: files of the objects' names are replaced whatever they are.

    Raises:
        InputError: if the series is not there, cannot be told from others, or is no even stack.
        OutputError: if the files cannot be written, or others lie there than objects of this mask and series; then
            nothing changes. A segmentation of an earlier export is not left beside a report that says that there is no
            tumour: it is refused.
    """
    mask = result.labels()
    found = bool(mask.data.any())
    _refuse_stale(out / f"{result.case_id}-seg.dcm", found)
    original = find_original(result, series_folder, mask, as_dicom)
    source = read_source(original.series)
    algorithm = _algorithm(result.report)
    notes = [] if original.proven else ["the scan was not given as this DICOM series: only its geometry was compared"]
    if not secret:
        notes.append("HOPE_SITE_SECRET is not set, so tracking UIDs will differ from those of other dates")
    elif not source.patient_key:
        notes.append("the series does not tell patients apart, so tracking UIDs are not stable over dates")
    tracking = {key: tracking_uid(source, key, secret) for key in KEYS}
    content = hashlib.sha256(original.mask.data.tobytes()).hexdigest()
    words = [source.uid, content, algorithm.model, algorithm.sha256, algorithm.software]
    words += ["corrected"] if algorithm.corrected else []
    figures = _figures(result.report)
    words += [hashlib.sha256("\n".join(figures.remarks).encode()).hexdigest()] if figures.remarks else []
    if codes := warnings_of(result.report):
        notes.append(f"the result has {counted(len(codes), 'warnings')}, which the objects state: {', '.join(codes)}")
    names = (f"{result.case_id}-seg.dcm", f"{result.case_id}-sr.dcm")
    known = {kind: _uids_of(kind, words) for kind in ("binary", "labelmap")}
    if not replace:
        for number, name in enumerate(names):
            _refuse_other_object(out / name, {both[number].instance for both in known.values()})
    segmentation_uids, report_uids = known["labelmap" if labelmap else "binary"]
    segmentation = None
    if found:
        segmentation = make_segmentation(original.mask, source, algorithm, segmentation_uids, tracking, labelmap)
    report = make_report(figures, source, segmentation, algorithm, report_uids, tracking)
    contents = {names[0]: dicom_bytes(segmentation)} if segmentation is not None else {}
    contents[names[1]] = dicom_bytes(report)
    return ExportedObjects(tuple(write_files(out, contents, replace=True)), tuple(notes))


def _uids_of(kind: str, words: Sequence[str]) -> tuple[ObjectUIDs, ObjectUIDs]:
    """Of the segmentation and of the report: equal for equal mask, series, model and version."""
    segmentation = ObjectUIDs(uid_of(kind, "series", *words), uid_of(kind, *words))
    return segmentation, ObjectUIDs(uid_of("report", "series", kind, *words), uid_of("report", kind, *words))


def _refuse_other_object(path: Path, known: Collection[str]) -> None:
    """Refuse, before any work, to replace what is no object of this mask and series."""
    if not holds_something(path):
        return
    there = ""
    try:
        with path.open("rb") as file, suppress(InputError, MalformedError):
            there = str(read_header(file, (_INSTANCE,)).dataset.get("SOPInstanceUID") or "")
    except OSError as error:
        raise output_error(path.name, error) from error
    if there not in known:
        other = "an object of another mask, series or version" if there else "another file"
        raise OutputError(foreign(path.name, other))


def _refuse_stale(segmentation: Path, found: bool) -> None:
    if not found and holds_something(segmentation):
        raise OutputError(
            "the output directory holds the segmentation of an earlier export of this case, and this result has no "
            "tumour; delete it, or choose another -o"
        )


def find_original(result: StoredResult, folder: Path, mask: Volume, as_dicom: bool = False) -> _Original:
    """The series under a directory whose voxels the mask labels, and the mask in its order.

    A series that was given as DICOM is known by the hash of its voxels; where the scan was given as NIfTI, the one
    series that lies at the same place is taken.

    Raises:
        InputError: if there is none, or several that cannot be told apart.
    """
    with reading("--series"):
        if not folder.is_dir():
            raise InputError("--series is no directory", expected="the directory of the original DICOM series")
        every = read_series(folder)
    fitting = []
    for series in every:
        if not series.fault and (listed := on_series_grid(mask, grid_of(series))) is not None:
            fitting.append(_Original(series, listed, proven=False))
    if not fitting:
        faults = sorted({series.fault for series in every if series.fault})
        raise InputError(
            "no series that was given has the grid of the mask",
            expected=f"the original {result.report.input.reference or 'reference'} series, whole",
            got=f"{len(every)} series" + (f"; one of them cannot be used: {faults[0]}" if faults else ""),
            fix="give the series that the result was made on",
        )
    name = result.report.input.reference or "reference"
    scan = result.report.input.sequences.get(name)
    proven = series_of_scan(scan.sha256 or "", [one.series for one in fitting], name) if scan else None
    if proven is not None:
        chosen = next(original for original in fitting if original.series is proven)
        return _Original(chosen.series, chosen.mask, proven=True)
    if as_dicom or result.reference_from_dicom:
        raise InputError(
            "no series that was given has the voxels that the result was made on",
            expected="the series that the run was given",
            got=f"{len(fitting)} other series on the same grid",
        )
    if len(fitting) > 1:
        raise InputError(
            "several series that were given have the grid of the mask",
            got=f"{len(fitting)} of {len(every)} series",
            fix=f"give the directory of the original {result.report.input.reference or 'reference'} series alone",
        )
    return fitting[0]


def series_of_scan(sha256: str, fitting: Sequence[DicomSeries], what: str) -> DicomSeries | None:
    """The series whose voxels are those of a scan; None if there is none.

    Args:
        sha256: of the scan, as `hope.stages.intake.intake.hash_volume`.
        fitting: series on the grid of the scan, without fault.
        what: role of the scan, for messages.

    Raises:
        InputError: if a series before it cannot be converted.
    """
    with private_directory() as scratch:
        for series in fitting:
            volume, _ = convert_series(series, scratch, what)
            if hash_volume(volume) == sha256:
                return series
    return None


def tracking_uid(source: SourceSeries, key: str, secret: str) -> str:
    """A UID of what is followed over dates, which tells nobody without the site's secret whose it is.

    Without a secret it is of this series alone: anybody could try out patients' numbers. Where the headers do not tell
    patients apart it is of this study alone: two patients must not share it.
    """
    if not secret:
        return uid_of("tracking", source.uid, key)
    whose = ["patient", source.patient_key] if source.patient_key else ["study", source.study_uid]
    text = json.dumps([*whose, key])
    return uid_of("tracking", hmac.new(secret.encode(), text.encode(), "sha256").hexdigest())


def _algorithm(report: CaseReport) -> Algorithm:
    version = report.created_by.version or __version__
    model = report.model
    corrected = bool(report.corrected)
    warnings = len(warnings_of(report))
    return Algorithm(model.id or "unknown", model.version or version, model.sha256 or "", version, corrected, warnings)


def warnings_of(report: CaseReport) -> list[str]:
    """Codes of the warnings of a result, the worst first."""
    return [flag.code for flag in worst_first(report.qc) if flag.severity == Severity.WARNING]


def _figures(report: CaseReport) -> ReportFigures:
    # How good the model's mask is expected to be says nothing of one that a person corrected.
    expected = None if report.corrected else report.expected_quality
    return ReportFigures(
        {key: VolumeFigure(one.ml, one.low_ml, one.high_ml) for key, one in report.volumes_ml.items()},
        expected.verdict if expected else "",
        {region: one.dice for region, one in expected.regions.items()} if expected else {},
        _lesions(report),
        [
            f"{str(flag.severity).capitalize()}: {flag.reason}"
            for flag in worst_first(report.qc)
            if flag.severity in (Severity.WARNING, Severity.CAUTION)
        ],
    )


def _lesions(report: CaseReport) -> tuple[LesionFigure, ...]:
    """Axial diameters of every lesion that has them."""
    measured = report.measurements
    return tuple(
        LesionFigure(lesion.number, lesion.axial.long.mm, lesion.axial.short.mm)
        for lesion in (measured.lesions if measured is not None else ())
        if lesion.axial is not None
    )
