"""Which DICOM files belong together: whose they are, which are copies of one instance, which make up one series."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from pydicom.dataset import Dataset

from hope.domain.identity import Identity
from hope.domain.ranges import EDGE_PIXELS, FRAMES
from hope.formats.dicom_files import DicomFile
from hope.formats.dicom_frames import number, number_in

REGROUPED = "every image had a series UID of its own, so they were put together by number and timing"

_TELL_APART = (
    *("ImagePositionPatient", "InstanceNumber", "Rows", "Columns", "NumberOfFrames", "SeriesInstanceUID", "EchoTime"),
    *("EchoNumbers", "InversionTime", "TemporalPositionIdentifier", "DiffusionBValue", "ImageType"),
)


def identity_of(header: Dataset) -> Identity:
    """Whose image a header says that it is."""

    def hashed(*values: Any) -> str:
        text = "|".join("".join(c for c in str(v or "").upper() if c.isalnum()) for v in values)
        return hashlib.sha256(text.encode()).hexdigest() if text.strip("|") else ""

    day = header.get("StudyDate") or header.get("SeriesDate") or header.get("AcquisitionDate")
    person = (header.get("PatientName"), header.get("PatientBirthDate"))
    return Identity(
        hashed(header.get("PatientID")),
        hashed(*person) if person[0] else "",
        hashed(day),
        hashed(header.get("StudyInstanceUID")),
    )


def without_duplicates(files: Sequence[DicomFile]) -> tuple[list[DicomFile], int]:
    """Drop files that repeat an instance: the same SOPInstanceUID, place and pixels, or what is left of such a file.

    Returns:
        the files that are kept, in the order of their paths, and how many were dropped.
    """
    kept: list[DicomFile] = []
    whole: dict[str, set[tuple[str, ...]]] = {}
    numbers: dict[str, set[str]] = {}
    duplicates = 0
    for file in sorted(files, key=lambda f: f.cut):
        uid = str(file.header.get("SOPInstanceUID", ""))
        number_of_image = str(file.header.get("InstanceNumber"))
        if uid and file.cut:
            seen = numbers.get(uid, set())
            copy = bool(seen) and number_of_image in (*seen, str(None))
        elif uid:
            # Anonymisers give one UID to images that differ.
            image = _fingerprint(file)
            copy = image in whole.setdefault(uid, set())
            whole[uid].add(image)
            numbers.setdefault(uid, set()).add(number_of_image)
        else:
            copy = False
        duplicates += copy
        if not copy:
            kept.append(file)
    return sorted(kept, key=lambda f: str(f.path)), duplicates


def _fingerprint(file: DicomFile) -> tuple[str, ...]:
    """What two copies of one image share: what tells images apart, and the pixels."""
    header = file.header
    frames = int(number_in(FRAMES, header.get("NumberOfFrames")) or 1)
    pixels = int(number_in(EDGE_PIXELS, header.get("Rows")) or 0) * int(
        number_in(EDGE_PIXELS, header.get("Columns")) or 0
    )
    # Headers may be written anew by an export; the pixels stand at the end.
    size = file.path.stat().st_size
    with file.path.open("rb") as stream:
        stream.seek(-min(size, 2 * pixels * frames), os.SEEK_END)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return (*(str(header.get(name)) for name in _TELL_APART), file.sequences, digest)


def grouping(files: Sequence[DicomFile]) -> tuple[Callable[[DicomFile], tuple[str, ...]], str]:
    """How files belong to series, and a note where their UIDs cannot be used."""

    def usual(file: DicomFile) -> tuple[str, ...]:
        # Anonymisers give all series one UID, but leave them their numbers.
        return tuple(str(file.header.get(n, "")) for n in ("SeriesInstanceUID", "SeriesNumber", "EchoNumbers"))

    def by_tags(file: DicomFile) -> tuple[str, ...]:
        names = ("SeriesNumber", "SeriesDescription", "EchoTime", "RepetitionTime", "InversionTime", "Rows", "Columns")
        cosines = [f"{number(v) or 0:.2f}" for v in file.header.get("ImageOrientationPatient") or []]
        return (*(str(file.header.get(n, "")) for n in names), *cosines)

    plain = [file for file in files if not file.header.get("PerFrameFunctionalGroupsSequence")]
    uids = {str(file.header.get("SeriesInstanceUID", "")) for file in plain}
    if len(plain) < 4 or len(uids) < len(plain):
        return usual, ""
    return by_tags, REGROUPED
