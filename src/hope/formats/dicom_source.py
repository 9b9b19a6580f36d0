"""The original series of a result: headers with identity and without pixels, put in order for objects that refer to it.

This is the one place where a patient's name is read. It goes into the objects that are written for the series and
nowhere else: no message quotes a value of a header.
"""

from __future__ import annotations

import json
import logging
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID

from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.formats.dicom_header import read_header
from hope.formats.dicom_series import DicomSeries
from hope.formats.dicom_values import character_set, drop_unusable, one_name
from hope.formats.dicom_walk import MalformedError
from hope.formats.reading import reading

# fmt: off
_IDENTITY = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize",
    "PatientWeight", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber",
    "ReferringPhysicianName",
)
_IMAGE = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "Modality", "Rows",
    "Columns", "FrameOfReferenceUID", "PositionReferenceIndicator", "NumberOfFrames", "ImageType",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DimensionIndexSequence",
    "DimensionOrganizationSequence",
)
# fmt: on
_TAGS: Final = tuple(Tag(name) for name in (*_IDENTITY, *_IMAGE))
# Every object of a study has these, empty where nothing is known.
_MAY_BE_EMPTY: Final = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator"),
)
_FORMS: Final = {
    "PatientSex": r"[MFO]",
    "PatientBirthDate": r"\d{8}",
    "StudyDate": r"\d{8}",
    "StudyTime": r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?",
    "PatientAge": r"\d{3}[DWMY]",
    "SeriesNumber": r"[+-]?\d+",
}
_LIBRARIES: Final = ("highdicom", "pydicom", "pynetdicom")


@dataclass(frozen=True)
class SourceSeries:
    """A series that objects refer to.

    Attributes:
        headers: one data set an image, from the lowest to the highest slice along the normal; one for an enhanced file.
            They hold whose images they are and where they lie, and no pixels.
        grid: of the images, RAS+ mm: i along a row of pixels, j along a column, k from slice to slice.
        enhanced: it is one file of many frames.
    """

    headers: tuple[Dataset, ...]
    grid: Grid
    enhanced: bool

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return str(self.headers[0].SeriesInstanceUID)

    @property
    def patient_key(self) -> str:
        """Tells one patient of a hospital from another; identity, to be hashed with a secret only.

        It is empty where the header does not tell: without PatientID, and with a PatientID alone, which de-identified
        series often share. A PatientName that repeats the PatientID tells nothing more.
        """
        header = self.headers[0]
        issuer, number, born = (_words(header, name) for name in ("IssuerOfPatientID", "PatientID", "PatientBirthDate"))
        name = _words(header, "PatientName")
        if not number or not (born or name not in ("", number)):
            return ""
        return json.dumps([issuer, number, name, born])

    @property
    def character_set(self) -> list[str]:
        """SpecificCharacterSet of objects that carry its identity; empty for the default repertoire."""
        return character_set(self.headers[0])

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""
        return str(self.headers[0].StudyInstanceUID)


def _words(header: Dataset, name: str) -> str:
    """A value without case, padding and the carets of a name's components."""
    return " ".join(str(header.get(name) or "").replace("^", " ").split()).casefold()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence the DICOM libraries in the block: their warnings and log lines quote patients' names."""
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    before = [logger.disabled for logger in loggers]
    # Their modules log under names of their own, which a disabled parent does not silence.
    children = [
        logger
        for name, logger in logging.Logger.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and name.startswith(tuple(f"{library}." for library in _LIBRARIES))
    ]
    before += [logger.disabled for logger in children]
    loggers += children
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.disabled = True
            yield
        finally:
            for logger, disabled in zip(loggers, before, strict=True):
                logger.disabled = disabled


@contextmanager
def making_objects() -> Iterator[None]:
    """Silence the DICOM libraries in the block, and say in one sentence that they refuse what they were given.

    Raises:
        InputError: for whatever they raise. Their own messages quote values, so they are not carried on.
    """
    with quiet_libraries():
        try:
            yield
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, OSError, struct.error) as error:
            raise InputError(
                "no DICOM object can be made of this series and result",
                expected="headers and figures as the standard has them",
                got=f"{type(error).__name__} of a DICOM library",
                fix="export the series again",
            ) from None


def grid_of(series: DicomSeries) -> Grid:
    """The grid of an even stack in RAS+ mm: i along a row of pixels, j along a column, k along the slice normal.

    Raises:
        InputError: if the images are no even stack.
    """
    first, last = series.frames[0], series.frames[-1]
    place, cosines, spacing = first.position, first.cosines, first.spacing_mm
    if series.fault or place is None or cosines is None or spacing is None or last.position is None:
        fault = series.fault or "an image does not say where it lies"
        raise InputError(f"the DICOM series cannot be used, {fault}", fix="give the whole original series")
    along_row, along_column = np.array(cosines[:3]), np.array(cosines[3:])
    if series.slices > 1:
        step = (np.array(last.position) - np.array(place)) / (series.slices - 1)
    else:
        step = np.cross(along_row, along_column) * abs(first.thickness_mm or 1.0)
    lps = np.eye(4)
    lps[:3, :] = np.column_stack([along_row * spacing[1], along_column * spacing[0], step, place])
    return Grid((first.size[1], first.size[0], series.slices), np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps)


def read_source(series: DicomSeries) -> SourceSeries:
    """Read what objects that refer to a series need of its headers.

    Raises:
        InputError: if it is no even stack, a file is damaged, or its images lack UIDs or share one.
    """
    grid = grid_of(series)
    enhanced = series.frames[0].enhanced
    paths = list(dict.fromkeys(frame.path for frame in series.frames))
    if enhanced and len(paths) > 1:
        raise InputError("the enhanced DICOM series lies in several files", expected="one file of all frames")
    headers = [_header(path) for path in paths]
    _check_uids(headers)
    first = headers[0]
    for header, frame in zip(headers, series.frames, strict=False):
        _tidy(header)
        header.FrameOfReferenceUID = first.get("FrameOfReferenceUID") or _frame_of_reference(first)
        for name in _IDENTITY:
            if name in first:
                header[name] = first[name]
        if not enhanced:
            _place(header, grid, frame.position or (0.0, 0.0, 0.0), series)
    return SourceSeries(tuple(headers), grid, enhanced)


def _header(path: Path) -> Dataset:
    with reading("the DICOM series"), path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = read_header(file, _TAGS).dataset
            drop_unusable(header)
        except (MalformedError, ValueError, KeyError, AttributeError, TypeError, EOFError) as error:
            raise InputError("a file of the DICOM series is damaged", fix="export the series again") from error
    return header


def _check_uids(headers: list[Dataset]) -> None:
    for name in ("SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID"):
        values = [str(header.get(name) or "") for header in headers]
        if not all(UID(value).is_valid for value in values):
            raise InputError(
                f"the DICOM series has no valid {name}", fix="give the series as the scanner or the archive holds it"
            )
        if len(set(values)) != (len(headers) if name == "SOPInstanceUID" else 1):
            got = f"{len(set(values))} values in {len(headers)} images"
            raise InputError(
                f"the images of the DICOM series cannot be referred to by their {name}",
                got=got,
                fix="give the series as the scanner or the archive holds it",
            )


def _tidy(header: Dataset) -> None:
    """Empty what is not of the form that the standard asks for, and add what every object has."""
    header.SpecificCharacterSet = character_set(header)
    for name in ("PatientName", "ReferringPhysicianName"):
        if name in header:
            setattr(header, name, one_name(header[name].value))
    for name, form in _FORMS.items():
        if name in header and not re.fullmatch(form, str(header.get(name) or "").strip()):
            setattr(header, name, "")
    if not header.get("PatientAge"):
        header.pop("PatientAge", None)
    for name in _MAY_BE_EMPTY:
        if name not in header:
            setattr(header, name, "")
    if "PatientSex" in header:
        header.PatientSex = str(header.PatientSex or "").strip()


def _frame_of_reference(header: Dataset) -> str:
    return uid_of("frame of reference", str(header.SeriesInstanceUID))


def _place(header: Dataset, grid: Grid, position: tuple[float, float, float], series: DicomSeries) -> None:
    """State the place of a classic image, with one orientation for the whole stack: scanners' values jitter."""
    frame = series.frames[0]
    header.ImagePositionPatient = [_decimal(v) for v in position]
    header.ImageOrientationPatient = [_decimal(v) for v in frame.cosines or ()]
    header.PixelSpacing = [_decimal(v) for v in frame.spacing_mm or ()]
    header.SliceThickness = _decimal(grid.spacing_mm[2])
    header.SpacingBetweenSlices = _decimal(grid.spacing_mm[2])


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return f"{value:.8g}" if abs(value) >= 1e-7 else "0"


def uid_of(*words: str) -> str:
    """A UID that the same words always give, in the form 2.25.<number>."""
    return f"2.25.{uuid5(NAMESPACE_OID, '|'.join(('hope', *words))).int}"
