"""Days between dates from DICOM headers and sessions.tsv: in time's order, and no date is kept or shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import hope
from hope.cli import main
from hope.commands.compare import _in_time
from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.longitudinal.dates import days_of_dicom, days_of_sessions, put_in_order, subject_and_session
from hope.testing.dicom_series import SeriesRecipe, write_series

FLAT = Volume(np.zeros((8, 8, 2), np.float32), Grid((8, 8, 2), np.eye(4)))
TABLE = "session_id\tacq_time\tage\nses-01\t1877-06-15T13:45:30\t5\nses-02\t1877-09-15\t5\nses-03\tn/a\t6\n"


def examination(folder: Path, **tags: object) -> Path:
    write_series(FLAT, folder, SeriesRecipe(1, "t1", study=folder.name, tags=tags))
    return folder


def sessions(folder: Path, text: str = TABLE) -> Path:
    (folder / "sub-01_sessions.tsv").write_text(text, encoding="utf-8")
    return folder / "sub-01_sessions.tsv"


def twice(folder: Path) -> Path:
    """A table that two programs appended to, under a name that says no subject."""
    (folder / "sessions.tsv").write_text(f"{TABLE}ses-01\t1877-07-01\t5\n", encoding="utf-8")
    return folder / "sessions.tsv"


def test_days_come_from_study_dates(tmp_path: Path) -> None:
    later = examination(tmp_path / "later", StudyDate="20200401")
    first = examination(tmp_path / "first", StudyDate=None, AcquisitionDate="20191231")
    days = days_of_dicom([later, first])
    assert days == [92, 0] and put_in_order(["", ""], [later, first], None) == ([1, 0], [0, 92])


def test_days_come_from_a_table_of_sessions(tmp_path: Path) -> None:
    table = sessions(tmp_path)
    assert days_of_sessions(table, ["sub-01_ses-01", "/in/sub-01/ses-02/anat"]) == [0, 92]
    assert days_of_sessions(table, ["sub-01_ses-02", "sub-01_ses-01"]) == [92, 0]
    assert subject_and_session("/data/ses-07/sub-01_ses-02") == ("sub-01", "ses-02")
    assert subject_and_session("case-0a1b") == ("", "")


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda folder: days_of_dicom([folder]), "holds no DICOM image"),
        (lambda folder: days_of_dicom([folder / "none"]), "holds no DICOM image"),
        (lambda folder: days_of_dicom([examination(folder / "a", StudyDate=None)]), "does not say of which day"),
        (lambda folder: days_of_dicom([examination(folder / "a", StudyDate="20209999")]), "does not say of which day"),
        (lambda folder: days_of_sessions(sessions(folder), ["case-0a1b"]), "is of no BIDS session"),
        (lambda folder: days_of_sessions(sessions(folder), ["sub-02_ses-01"]), "another subject"),
        (lambda folder: days_of_sessions(sessions(folder), ["sub-01_ses-03"]), "no date of ses-03"),
        (lambda folder: days_of_sessions(sessions(folder), ["sub-01_ses-09"]), "no date of ses-09"),
        (lambda folder: days_of_sessions(sessions(folder, "a\tb\n1\t2\n"), ["sub-01_ses-01"]), "columns session_id"),
        (lambda folder: days_of_sessions(sessions(folder, ""), ["sub-01_ses-01"]), "columns session_id"),
        (lambda folder: days_of_sessions(twice(folder), ["sub-01_ses-01"]), "lists ses-01 more than once"),
        (lambda folder: days_of_sessions(twice(folder), ["sub-01_ses-01", "sub-02_ses-02"]), "of different subjects"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path: Path, call: Callable[[Path], object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        call(tmp_path)
    assert "2020" not in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_two_days_in_one_directory_are_refused(tmp_path: Path) -> None:
    examination(tmp_path / "in" / "a", StudyDate="20200401")
    examination(tmp_path / "in" / "b", StudyDate="20200402")
    with pytest.raises(InputError, match="images of 2 days"):
        days_of_dicom([tmp_path / "in"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--days", "3", "--sessions", "x.tsv"), "days come from one place"),
        (("--dicom", "x"), "once for each date"),
    ],
)
def test_a_wrong_call_is_refused(tmp_path: Path, options: tuple[str, ...], sentence: str) -> None:
    run = CliRunner().invoke(main, ["compare", str(tmp_path), str(tmp_path), *options])
    assert run.exit_code == 2 and sentence in run.stderr


def test_the_command_puts_visits_in_order(tmp_path: Path) -> None:
    dicom = (examination(tmp_path / "l", StudyDate="20200401"), examination(tmp_path / "f", StudyDate="20191231"))
    visits = (Path("later"), Path("first"))
    assert _in_time(visits, None, dicom, None) == ([1, 0], [0, 92])
    named = (tmp_path / "sub-01_ses-01", tmp_path / "sub-01_ses-02")
    assert _in_time(named, None, (), sessions(tmp_path)) == ([0, 1], [0, 92])
    assert _in_time(visits, "92", (), None) == ([0, 1], [0, 92]) and _in_time(visits, None, (), None) == ([0, 1], None)


def test_python_takes_the_same(tmp_path: Path) -> None:
    dicom = [examination(tmp_path / "a", StudyDate="20200401")]
    with pytest.raises(InputError, match="one place"):
        hope.compare("a", "b", days=[0, 1], dicom=dicom)
    with pytest.raises(InputError, match="1 for 2 dates"):
        hope.compare("a", "b", dicom=dicom)
    with pytest.raises(InputError, match="date 1 is no directory"):
        hope.compare("sub-01_ses-02", "sub-01_ses-01", sessions=sessions(tmp_path))
