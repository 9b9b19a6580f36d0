"""``hope.compare``: what changed between dates of one patient."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from hope.contract.comparison import Comparison
from hope.domain.errors import InputError
from hope.formats.private_directory import private_directory
from hope.longitudinal.compare import compare_visits
from hope.longitudinal.dates import put_in_order
from hope.longitudinal.report import refuse_other_comparison, write_comparison
from hope.longitudinal.visits import read_visit
from hope.python_api.progress import ProgressLike, listener
from hope.python_api.result import Result


def compare(
    *visits: str | os.PathLike[str] | Result,
    days: Sequence[int] | None = None,
    dicom: Sequence[str | os.PathLike[str]] = (),
    sessions: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    replace: bool = False,
    progress: ProgressLike = None,
) -> Comparison:
    """Compare two or more dates of one patient, as ``hope compare`` does.

    Args:
        visits: in the order of their dates: a `hope.Result`, its directory, or a directory with a mask and its t1c.
        days: of each date since the first, rising, the first 0; None where they are not known. Dates are never kept.
        dicom: instead of days, the DICOM directory of each date, in the order of ``visits``; the dates are put in the
            order of StudyDate. It has to hold the scan that the result was made on; where a result was not made from
            DICOM that cannot be checked, and a caution says so.
        sessions: instead of days, the subject's BIDS sessions.tsv, for results that are named sub-X_ses-Y; likewise.
        out: the directory for JSON, table, picture and report; None leaves nothing on disk. A comparison of the same
            dates in it is replaced.
        replace: also replace one of other dates.
        progress: True shows a bar; or a function ``progress(text, share)``.

    Returns:
        volumes with the interval of their change, lesions matched, diameters at each date.

    Raises:
        InputError: if a date cannot be used, they do not fit together, or cannot be laid on each other; if a DICOM
            directory is of another date.
        OutputError: if ``out`` cannot be written, or holds something else, such as a comparison of other dates.
    """
    if sum((days is not None, bool(dicom), sessions is not None)) > 1:
        raise InputError("days come from one place", fix="give days, dicom or sessions")
    table = None if sessions is None else Path(sessions)
    directories = [Path(folder) for folder in dicom]
    ordered = put_in_order([_name(visit) for visit in visits], directories, table)
    order, days = ordered or (range(len(visits)), days)
    with ExitStack() as kept, listener(progress) as report:
        folders = [_folder(visits[number], kept) for number in order]
        found = [read_visit(folder, f"date {number}") for number, folder in enumerate(folders, 1)]
        if out is not None:
            refuse_other_comparison(found, Path(out), replace=replace)
        unchecked: list[str] = []
        if directories:
            # Its libraries are slow to import.
            from hope.longitudinal.dicom_check import check_directories

            unchecked = check_directories(found, directories, order)
        comparison, overlay = compare_visits(found, days, progress=report)
        comparison = comparison.model_copy(update={"cautions": [*unchecked, *comparison.cautions]})
        if out is not None:
            write_comparison(comparison, overlay, Path(out), replace=replace)
    return comparison


def _name(visit: object) -> str:
    """What names the BIDS session of a date, if anything does."""
    if isinstance(visit, Result):
        return visit.report.case_id
    return str(Path(visit).absolute()) if isinstance(visit, str | os.PathLike) else ""


def _folder(visit: object, kept: ExitStack) -> Path:
    """Where the files of a date lie, as long as the stack is open."""
    if isinstance(visit, Result):
        return visit.save(kept.enter_context(private_directory()))
    if isinstance(visit, str | os.PathLike):
        return Path(visit)
    raise InputError(
        "a date is not usable", expected="a directory or a hope.Result", got=f"a {type(visit).__qualname__}"
    )
