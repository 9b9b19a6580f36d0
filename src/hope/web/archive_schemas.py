"""What the routes of an archive take and give."""

from __future__ import annotations

from pydantic import Field

from hope.web.schemas import RequestModel, ResponseModel


class StudySearch(RequestModel):
    """Which studies of the archive are wanted; one of the two has to be there."""

    patient_id: str = Field(
        default="", max_length=64, pattern=r"^[^*?\\\x00-\x1f]*$", description="PatientID as it is, without * and ?"
    )
    date: str = Field(
        default="", pattern=r"^(\d{8}(-\d{8})?)?$", description="YYYYMMDD, or YYYYMMDD-YYYYMMDD", examples=["20260301"]
    )


class StudyFound(ResponseModel):
    """One MR study of the archive, without a name."""

    uid: str = Field(description="StudyInstanceUID")
    date: str = Field(description="YYYYMMDD; empty if the archive does not say")
    series: int = Field(description="how many; 0 if the archive does not say")
    images: int = Field(description="how many; 0 if the archive does not say")


class StudiesFound(ResponseModel):
    """What a search found, oldest first; a hundred at most."""

    studies: list[StudyFound]


class StudyChoice(RequestModel):
    """A study that a search has found."""

    study_uid: str = Field(max_length=64, pattern=r"^[0-9]+(\.[0-9]+)*$", examples=["1.2.840.99.7"])
