"""Days between dates, from DICOM headers or a BIDS table of sessions. A date is compared here and is kept nowhere."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

from hope.domain.errors import InputError
from hope.formats.dicom_files import read_directory
from hope.formats.reading import reading

_MOST_BYTES = 2**20


def days_of_dicom(folders: Sequence[Path]) -> list[int]:
    """Days of each date since the first one in time, by StudyDate.

    Args:
        folders: one a date: the DICOM directory that its scans came from.

    Raises:
        InputError: if a directory holds no DICOM image, images of several days, or none that states its date.
    """
    return _since_first([_study_date(folder, f"--dicom {number}") for number, folder in enumerate(folders, 1)])


def days_of_sessions(table: Path, names: Sequence[str]) -> list[int]:
    """Days of each date since the first one in time, by the column acq_time of a BIDS ``sub-<label>_sessions.tsv``.

    BIDS lets dates be shifted by one offset for each subject; days between them stay what they are.

    Args:
        table: the file.
        names: one a date, such as ``sub-01_ses-02``; what `subject_and_session` finds in a name.

    Raises:
        InputError: if the file cannot be used, is of another subject, or states no date of a session.
    """
    rows = _rows(table)
    named = re.fullmatch(r"(sub-[A-Za-z0-9]+)_sessions\.tsv", table.name)
    listed = [row.get("session_id", "") for row in rows]
    stated = {row.get("session_id", ""): row.get("acq_time", "") for row in rows}
    if len({subject for name in names if (subject := subject_and_session(name)[0])}) > 1:
        raise InputError("the dates are of different subjects", expected="results of one subject with --sessions")
    days = []
    for number, name in enumerate(names, 1):
        subject, session = subject_and_session(name)
        if not session:
            raise InputError(
                f"date {number} is of no BIDS session", expected="a result that is named sub-<label>_ses-<label>"
            )
        if named and subject and subject != named[1]:
            raise InputError(f"--sessions is of another subject than date {number}", fix="give its own sessions.tsv")
        if listed.count(session) > 1:
            raise InputError(f"--sessions lists {session} more than once", expected="one row a session")
        text = stated.get(session) or "n/a"
        try:
            days.append(datetime.fromisoformat(text).date())
        except ValueError as error:
            raise InputError(
                f"--sessions states no date of {session}", expected="acq_time as YYYY-MM-DDThh:mm:ss"
            ) from error
    return _since_first(days)


def subject_and_session(name: str) -> tuple[str, str]:
    """``sub-X`` and ``ses-Y`` of a case's name or of a path, empty where it has none."""
    found = [re.findall(rf"(?:^|[_/\\])({entity}-[A-Za-z0-9]+)(?=$|[_/\\])", name) for entity in ("sub", "ses")]
    return found[0][-1] if found[0] else "", found[1][-1] if found[1] else ""


def put_in_order(
    names: Sequence[str], dicom: Sequence[Path], sessions: Path | None
) -> tuple[list[int], list[int]] | None:
    """The numbers of the dates, the first in time first, and the days since it in that order.

    Args:
        names: one a date, for `days_of_sessions`.
        dicom: one a date, for `days_of_dicom`; empty if there are none.
        sessions: the table, if there is one.

    Returns:
        None if neither says anything.

    Raises:
        InputError: if one of them cannot be used.
    """
    if dicom and len(dicom) != len(names):
        got = f"{len(dicom)} for {len(names)} dates"
        raise InputError("DICOM directories are given once for each date, in their order", got=got)
    if not (dicom or sessions):
        return None
    days = days_of_sessions(sessions, names) if sessions else days_of_dicom(dicom)
    order = sorted(range(len(days)), key=lambda number: days[number])
    return order, [days[number] for number in order]


def _since_first(dates: Sequence[date]) -> list[int]:
    return [(one - min(dates)).days for one in dates]


def _study_date(folder: Path, what: str) -> date:
    with reading(what):
        files = read_directory(folder).files if folder.is_dir() else ()
    if not files:
        raise InputError(f"{what} holds no DICOM image", expected="the DICOM directory that the scans came from")
    names = ("StudyDate", "SeriesDate", "AcquisitionDate")
    stated = {next((str(f.header.get(n)) for n in names if f.header.get(n)), "") for f in files} - {""}
    if len(stated) > 1:
        raise InputError(
            f"{what} holds images of {len(stated)} days", fix="give a directory that holds one examination"
        )
    try:
        return datetime.strptime("".join(stated), "%Y%m%d").date()
    except ValueError:
        # The value may be a person's: neither it nor what the library says of it is shown.
        raise InputError(f"{what} does not say of which day it is", fix="give --days instead") from None


def _rows(table: Path) -> list[dict[str, str]]:
    with reading("--sessions"), table.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig")), delimiter="\t"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError("--sessions is no table", expected="a BIDS sub-<label>_sessions.tsv") from error
    if len(content) > _MOST_BYTES or not rows or not {"session_id", "acq_time"} <= set(rows[0]):
        raise InputError("--sessions cannot be used", expected="a table with the columns session_id and acq_time")
    return rows
