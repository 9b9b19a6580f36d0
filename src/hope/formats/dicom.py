"""One DICOM series to a volume. Names, dates and ids are read by nobody here."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.formats.atomic import output_error
from hope.formats.dicom_convert import check_pixels, gather, run_dcm2niix
from hope.formats.dicom_files import dicom_files, is_dicom
from hope.formats.dicom_series import DicomSeries, read_series, read_study
from hope.formats.nifti import NiftiFacts, read_scan
from hope.formats.nifti_header import read_layout

__all__ = ["DicomSeries", "convert_series", "converted_file", "dicom_files", "is_dicom", "read_series", "read_study"]

CONVERSION_SECONDS = 600
"""dcm2niix takes seconds; one that takes this long hangs."""


def convert_series(series: DicomSeries, scratch: Path, what: str) -> tuple[Volume, NiftiFacts]:
    """Turn one series into a volume with dcm2niix; frames of an enhanced one become single images first.

    Args:
        series: the stack; its ``fault`` is refused here.
        scratch: a directory to work in; nothing stays in it.
        what: role, for error sentences.

    Returns:
        float32 volume in RAS+ world, and what was seen, as `hope.formats.nifti.read_scan`.

    Raises:
        InputError: for tilted, missing, duplicate or mixed slices, or whatever dcm2niix cannot turn into one 3D image
            within the limits.
        OutputError: if the scratch directory cannot be written.
    """
    with converted_file(series, scratch, what) as (path, _):
        return read_scan(path, what)


@contextmanager
def converted_file(series: DicomSeries, scratch: Path, what: str) -> Iterator[tuple[Path, Grid]]:
    """As `convert_series`, but the file that dcm2niix made, with no voxel in memory.

    Yields:
        an uncompressed NIfTI file that is gone when the block ends, and its grid (RAS+ mm).
    """
    if series.fault:
        fix = "export the series again, or leave it out"
        raise InputError(f"{what}: the DICOM series cannot be used, {series.fault}", fix=fix)
    check_pixels(series, what)
    work = scratch / f"dicom-{what}"
    shutil.rmtree(work, ignore_errors=True)
    source, result = work / "in", work / "out"
    try:
        gather(series, source, what)
        try:
            result.mkdir()
        except OSError as error:
            raise output_error("the scratch directory", error) from error
        run_dcm2niix(series, source, result, what, CONVERSION_SECONDS)
        path = _one_image(result, what)
        with path.open("rb") as file:
            grid = read_layout(file, what).grid
        if series.slices > 1 and grid.shape[2] != series.slices:
            got = f"{grid.shape[2]} from {series.slices} images"
            raise InputError(
                f"{what}: slices were lost in the DICOM conversion", got=got, fix="export the series again"
            )
        yield path, grid
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _one_image(result: Path, what: str) -> Path:
    outputs = sorted(result.glob("*.nii"))
    if not outputs:
        raise InputError(
            f"{what}: the DICOM series could not be converted", fix="export it again as uncompressed DICOM"
        )
    if len(outputs) > 1 or re.search(r"_(Eq|Tilt|ROI|ph|real|imaginary)", outputs[0].name):
        got = f"{len(outputs)} images, or one on tilted or uneven slices"
        raise InputError(
            f"{what}: the DICOM series is not one plain 3D image", got=got, fix="export a single image stack"
        )
    return outputs[0]
