"""Whether each DICOM directory is of the date that it stands for, by the voxels of the scan that the mask lies on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hope.domain.errors import InputError
from hope.export.dicom import series_of_scan
from hope.formats.dicom import read_study
from hope.formats.dicom_seg import on_series_grid
from hope.formats.dicom_series import DicomSeries
from hope.formats.dicom_source import grid_of
from hope.formats.reading import reading
from hope.longitudinal.visits import Visit


def check_directories(visits: Sequence[Visit], folders: Sequence[Path], order: Sequence[int]) -> list[str]:
    """Check that each DICOM directory holds the scan of its date.

    Args:
        visits: in the order of time.
        folders: the DICOM directories, in the order that the user gave.
        order: for each visit the number of its directory, from 0.

    Returns:
        a caution for each date that cannot be checked: its result was not made from DICOM, or states no hash.

    Raises:
        InputError: if a directory holds the scan of another date, or lacks the series that a result was made on.
    """
    unknown = []
    for place, number in enumerate(order):
        with reading(f"--dicom {number + 1}"):
            series = [one for one in read_study(folders[number])[0] if not one.fault]
        if _holds(series, visits[place]):
            continue
        for other, visit in zip(order, visits, strict=True):
            if other != number and _holds(series, visit):
                raise InputError(
                    f"--dicom {number + 1} is the DICOM directory of another date",
                    expected=f"the scan that result {number + 1} was made on",
                    got=f"the scan of result {other + 1}",
                    fix="give the DICOM directories in the order of the results",
                )
        unknown.append(place)
    return [_caution(visits[place], place, order[place]) for place in unknown]


def _caution(visit: Visit, place: int, number: int) -> str:
    """What to say where no date's scan is in a directory."""
    if visit.from_dicom and visit.scan_sha256:
        raise InputError(
            f"--dicom {number + 1} lacks the scan that result {number + 1} was made on",
            expected="the DICOM series that the run was given",
            got="no series with its voxels",
            fix="give the DICOM directory of that date, or --days instead",
        )
    why = "states no hash of its scan" if visit.from_dicom else "was not made from DICOM"
    return (
        f"the DICOM directory of date {place + 1} could not be checked, since its result {why}: "
        "days and order are right only if the directories were given in the order of the results"
    )


def _holds(series: Sequence[DicomSeries], visit: Visit) -> bool:
    """Whether one of the series has the voxels of the scan that a date's mask lies on."""
    if not visit.scan_sha256:
        return False
    return any(_is_scan(one, visit) for one in series)


def _is_scan(series: DicomSeries, visit: Visit) -> bool:
    try:
        if on_series_grid(visit.labels, grid_of(series)) is None:
            return False
        return series_of_scan(visit.scan_sha256, [series], "scan") is not None
    except InputError:
        # A result was made on a series that could be converted: this is another one.
        return False
