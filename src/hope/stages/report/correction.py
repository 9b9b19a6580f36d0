"""What a corrected mask brings with it: report, picture, table and facts of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hope.contract.outputs import CORRECTION_FILES, Role
from hope.contract.report import CaseReport
from hope.domain.volume import Volume
from hope.formats.atomic import atomic_output
from hope.formats.nifti import read_labels, read_scan
from hope.stages.postprocess.lesions import measure_lesions, rule_of
from hope.stages.report.face_free import BRAIN_ONLY, near_labels
from hope.stages.report.lesion_views import draw_measurements
from hope.stages.report.notice import notice_of
from hope.stages.report.preview import render_preview
from hope.stages.report.quick_look import write_quick_look
from hope.stages.report.report import write_report
from hope.stages.report.volumes_table import volumes_csv


def corrected_report(report: CaseReport, volumes_ml: Mapping[str, Mapping[str, float]], labels: Volume) -> CaseReport:
    """The report of a run with the volumes and diameters of a corrected mask; intervals and files were of the model's.

    Args:
        report: of the run whose mask was corrected.
        volumes_ml: per label and region ``{"ml": ...}``, on the scan's own grid.
        labels: the corrected mask on that grid, uint8 peds labels.
    """
    values: dict[str, Any] = report.to_json()
    for of_the_model in ("interval_method", "files", "measurements"):
        values.pop(of_the_model, None)
    if report.measurements is not None:
        values["measurements"] = measure_lesions(labels, rule_of(report.measurements.rule)).model_dump()
    found = any(volume["ml"] > 0 for volume in volumes_ml.values())
    return CaseReport.model_validate(values | {"volumes_ml": volumes_ml, "tumour_found": found, "corrected": True})


def write_correction(
    facts: Path, scan: Path, mask: Path, volumes_ml: Mapping[str, Mapping[str, float]], folder: Path
) -> None:
    """Write report, picture, table and facts of a corrected mask (`CORRECTION_FILES`).

    Args:
        facts: result.json of the run.
        scan: the reference scan as the page shows it.
        mask: the corrected labels (0 to 4) on the same grid.
        volumes_ml: what was measured of them.
        folder: where the files go.

    Raises:
        ValueError: if ``facts`` is no result.json.
        OutputError: if a file cannot be written.
    """
    run = CaseReport.stored(json.loads(facts.read_bytes()))
    image, _ = read_scan(scan, "the reference scan")
    labels = read_labels(mask, "the corrected mask")
    report, notice = corrected_report(run, volumes_ml, labels), "Corrected by hand."
    if any(file.role == Role.PICTURE and file.detail == BRAIN_ONLY for file in run.files):
        if labels.data.any():
            image, notice = near_labels(image, labels), f"{notice} The scan is shown near the labels only."
        else:
            image = image.with_data(np.zeros_like(image.data))
            notice = f"{notice} Without a label nothing says what of the head may be shown."
    # How good the model's mask is expected to be says nothing of this one; what is wrong with the scans holds for both.
    notice = f"{notice} {notice_of(report.model_copy(update={'expected_quality': None}))}".strip()
    title = f"{report.case_id}  ({report.input.reference})"
    picture = folder / CORRECTION_FILES[Role.CORRECTED_PICTURE]
    render_preview(image, labels, report.millilitres(), title, picture, notice)
    write_quick_look(picture, folder / CORRECTION_FILES[Role.CORRECTED_QUICK_LOOK])
    sizes = report.measurements
    drawn = draw_measurements(image, labels, sizes) if sizes is not None else b""
    write_report(report, picture, folder / CORRECTION_FILES[Role.CORRECTED_REPORT], drawn)
    for role, content in (
        (Role.CORRECTED_VOLUMES, volumes_csv(report.volumes_ml)),
        (Role.CORRECTED_FACTS, report.text().encode()),
    ):
        with atomic_output(folder / CORRECTION_FILES[role]) as stream:
            stream.write(content)
