"""Numbers with their nouns: one is not several."""

from __future__ import annotations

import pytest

from hope.domain.wording import counted, millilitres
from hope.formats import dicom_files, dicom_series, reading
from hope.stages.intake import case_finding, sources

OURS = {
    case_finding._TOO_DEEP: "1 directory nested deeper than 8",
    case_finding._EMPTY_DIRECTORY: "1 empty directory (a DataLad dataset that was not fetched looks like this)",
    sources.UNREAD_FORMAT: "1 image in a format that is not read",
    dicom_files.NO_PIXELS: "1 DICOM object without pixels, such as reports and presentation states",
    dicom_files.CUT: "1 DICOM file that is cut short",
    dicom_files.DAMAGED: "1 DICOM file that is damaged",
    dicom_files.EMPTY: "1 empty file",
    dicom_files.NOT_DICOM: "1 file named as DICOM that is none",
    dicom_files.UNLISTED: "1 file that the DICOMDIR lists and that is not there",
    dicom_series.DUPLICATES: "1 copy of a DICOM image that lies there already",
    reading.NOT_FETCHED: "1 link to content that was not fetched (DataLad, git-annex or Git LFS)",
    "scans that are none of the four sequences, in directories of their own": (
        "1 scan that is none of the four sequences, in a directory of its own"
    ),
    "scans that are none of the four sequences (ADC, SWI)": "1 scan that is none of the four sequences (ADC, SWI)",
    "NIfTI files whose names do not say what they are": "1 NIfTI file whose name does not say what it is",
    "NIfTI files beside the DICOM files": "1 NIfTI file beside the DICOM files",
    "files whose names say a sequence less exactly than the one that was taken": (
        "1 file whose name says a sequence less exactly than the one that was taken"
    ),
    "series of other examinations without a T1": "1 series of other examinations without a T1",
    "directories inside the case directory hold NIfTI files too and were not read": (
        "1 directory inside the case directory holds NIfTI files too and was not read"
    ),
    "synthetic cases": "1 synthetic case",
    "boxes": "1 box",
}


@pytest.mark.parametrize(("many", "one"), OURS.items())
def test_one_is_said_in_the_singular(many: str, one: str) -> None:
    assert counted(1, many) == one
    assert counted(2, many) == f"2 {many}" and counted(0, many) == f"0 {many}"


@pytest.mark.parametrize(
    ("ml", "said"),
    [
        (0.0, "0.0"),
        (12.34, "12.3"),
        (0.05, "0.1"),
        (0.0499, "0.05"),
        (0.031, "0.03"),
        (0.001, "0.001"),
        (2e-6, "0.000002"),
    ],
)
def test_a_volume_reads_as_nothing_only_where_there_is_nothing(ml: float, said: str) -> None:
    assert millilitres(ml) == said
