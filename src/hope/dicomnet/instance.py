"""Which study, series and image a DICOM object says that it is. Nothing else of it is read here."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import Final

from pydicom.tag import Tag

from hope.domain.errors import InputError
from hope.formats.dicom_header import read_header

_TAGS: Final = tuple(
    Tag(name) for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "NumberOfSeriesRelatedInstances")
)


@dataclass(frozen=True)
class Instance:
    """One image.

    Attributes:
        study: StudyInstanceUID.
        series: SeriesInstanceUID.
        uid: SOPInstanceUID.
        expected: images that its series has, where the header tells it, else 0.
    """

    study: str
    series: str
    uid: str
    expected: int = 0

    @property
    def study_key(self) -> str:
        """Name of the study in directories and messages."""
        return study_key(self.study)

    @property
    def file_name(self) -> str:
        """Name of the image's file; UIDs come from outside and make no paths."""
        return f"{hashlib.sha256(self.uid.encode()).hexdigest()[:32]}.dcm"


def study_key(uid: str) -> str:
    """``study-`` and twelve hex digits of the StudyInstanceUID's hash."""
    return f"study-{hashlib.sha256(uid.encode()).hexdigest()[:12]}"


def instance_of(content: bytes) -> Instance:
    """Read the UIDs of one DICOM file.

    Args:
        content: the whole file, with preamble and meta information.

    Raises:
        InputError: if it is damaged, or a UID is missing.
    """
    try:
        header = read_header(io.BytesIO(content), _TAGS).dataset
        study, series, uid = (str(header.get(f"{name}InstanceUID") or "") for name in ("Study", "Series", "SOP"))
        stated = str(header.get("NumberOfSeriesRelatedInstances") or "")
    except InputError:
        raise
    except Exception as error:  # foreign bytes make pydicom raise nearly anything; all of it means damage
        raise InputError("a DICOM object that was received is damaged", fix="send it again") from error
    if not (study and series and uid):
        raise InputError("a DICOM object that was received does not say whose image it is", expected="its UIDs")
    return Instance(study, series, uid, int(stated) if stated.isdecimal() else 0)
