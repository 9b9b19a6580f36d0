"""Which files of a directory are DICOM images, which of them are whole, and what is left out with its reason."""

from __future__ import annotations

import os
import struct
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from hope.domain.errors import HopeError, InputError
from hope.formats.dicom_header import DicomHeader, read_header
from hope.formats.dicom_overlay import Overlay
from hope.formats.dicom_values import drop_unusable
from hope.formats.reading import missing_content

MAX_DICOM_FILES = 50_000
"""A directory with more is an archive, not a case."""

NO_PIXELS = "DICOM objects without pixels, such as reports and presentation states"
CUT = "DICOM files that are cut short"
DAMAGED = "DICOM files that are damaged"
EMPTY = "empty files"
NOT_DICOM = "files named as DICOM that are none"
UNLISTED = "files that the DICOMDIR lists and that are not there"

PHILIPS_SCALE = 0x2005100E
"""Philips' private scale slope: stored values over it are comparable between slices."""

_SUFFIXES = {".dcm", ".ima", ".dicom"}
_NO_IMAGE = {
    *(
        ".json",
        ".txt",
        ".tsv",
        ".csv",
        ".md",
        ".pdf",
        ".xml",
        ".html",
        ".yml",
        ".yaml",
        ".bval",
        ".bvec",
        ".log",
        ".py",
    ),
    *(".jpg", ".png", ".gif", ".ini", ".exe", ".dll", ".inf", ".zip", ".gz", ".nii", ".xlsx", ".docx", ".sh"),
}
_UNDEFINED = 0xFFFFFFFF
_READING = (
    *(InvalidDicomError, OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, struct.error),
    RecursionError,
)
# fmt: off
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "Modality", "Manufacturer", "SeriesInstanceUID", "StudyInstanceUID",
    "SeriesNumber", "InstanceNumber", "SeriesDescription", "ProtocolName", "SequenceName", "ScanningSequence",
    "MRAcquisitionType", "PulseSequenceName", "RepetitionTime", "EchoTime", "InversionTime", "EchoNumbers",
    "ContrastBolusAgent", "ContrastBolusAgentSequence", "ImageType", "ImageOrientationPatient",
    "ImagePositionPatient", "SliceThickness", "PixelSpacing", "SpacingBetweenSlices", "Rows", "Columns",
    "NumberOfFrames", "DiffusionBValue", "TemporalPositionIdentifier", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsAllocated", "EchoPulseSequence", "EchoPlanarPulseSequence",
    "InversionRecovery", "AcquisitionContrast", "ImagesInAcquisition", "ComplexImageComponent",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "FloatPixelData", "RescaleSlope",
    "RescaleIntercept", "BitsStored", "HighBit", "PixelRepresentation", "BurnedInAnnotation",
    # Whose image it is: compared, never kept or shown.
    "PatientID", "PatientName", "PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate",
]
# fmt: on
TAGS: tuple[BaseTag, ...] = (*(Tag(name) for name in _TAGS), Tag(PHILIPS_SCALE))
"""What is read of every file; nothing else is."""


@dataclass(frozen=True)
class DicomFile:
    """One file with its header.

    Attributes:
        path: the file.
        header: what was read of it.
        cut: it ends before its last pixel.
        syntax: its TransferSyntaxUID.
        sequences: hash of the sequences in its header, as they stand in the file.
        overlay: where it carries an overlay.
    """

    path: Path
    header: Dataset
    cut: bool
    syntax: str = ""
    sequences: str = ""
    overlay: Overlay = Overlay.NONE


@dataclass(frozen=True)
class DicomDirectory:
    """What lies under a directory.

    Attributes:
        files: images, in the order of their paths.
        left_out: what was left out, in words without a name, and how many of it.
    """

    files: tuple[DicomFile, ...]
    left_out: Mapping[str, int]


def is_dicom(path: Path) -> bool:
    """Whether a file looks like DICOM by its first bytes, whatever its name."""
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return False
    # With the preamble, or (old exports) beginning at once with a group 0008 element.
    return start[128:] == b"DICM" or (len(start) == 132 and start[:2] == b"\x08\x00" and start[3:4] == b"\x00")


def walk_files(root: Path) -> Iterator[Path]:
    """Yield every file under a directory, in sorted order: no hidden ones, no DICOMDIR, each directory once.

    Links to directories are followed; one that leads back to a directory seen before leads nowhere.
    """
    seen: set[Path] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        resolved = Path(folder).resolve()
        if resolved in seen:
            folders[:] = []
            continue
        seen.add(resolved)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(names):
            if not name.startswith(".") and name.upper() != "DICOMDIR":
                yield Path(folder, name)


def dicom_files(root: Path) -> Iterator[Path]:
    """Yield every DICOM file under a directory, in sorted order; DICOMDIR and hidden files are left out."""
    return (path for path in walk_files(root) if is_dicom(path))


def read_directory(root: Path) -> DicomDirectory:
    """Read the headers of all DICOM images under a directory.

    Raises:
        InputError: if there are far too many files.
    """
    files: list[DicomFile] = []
    left_out: Counter[str] = Counter()
    for path in walk_files(root):
        if not is_dicom(path):
            if reason := _why_no_dicom(path):
                left_out[reason] += 1
            continue
        if len(files) >= MAX_DICOM_FILES:
            raise InputError(
                "the DICOM directory holds too many files", expected=f"at most {MAX_DICOM_FILES}", fix="give one study"
            )
        file = read_file(path)
        if file is None:
            left_out[DAMAGED] += 1
        elif "Rows" in file.header or (file.cut and _may_be_image(file.header)):
            files.append(file)
        else:
            left_out[CUT if file.cut else NO_PIXELS] += 1
    if missing := _missing_from_dicomdir(root):
        left_out[UNLISTED] += missing
    return DicomDirectory(tuple(files), dict(left_out))


def _why_no_dicom(path: Path) -> str:
    """Why a file that looks as if it should be a DICOM image is none, empty if it does not look so."""
    suffix = path.suffix.lower()
    if suffix in _NO_IMAGE:
        return ""
    if reason := missing_content(path):
        return reason
    if suffix in _SUFFIXES:
        return EMPTY if path.stat().st_size == 0 else NOT_DICOM
    return ""


def _may_be_image(header: Dataset) -> bool:
    """Whether what is left of a cut file may belong to a series of images."""
    kind = UID(str(header.get("SOPClassUID", "")))
    # The last value of a cut file may be cut, too: a class that is not known tells nothing.
    return kind.name == kind or kind.name.endswith("Image Storage")


def read_file(path: Path) -> DicomFile | None:
    """Read the header of one file; None if the file is damaged or no DICOM after all.

    Raises:
        InputError: if the upload that it belongs to holds more than it may.
    """
    # pydicom's warnings quote the values that it dislikes, which may be a person's: they must not reach the terminal.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with path.open("rb") as file:
                read = read_header(file, TAGS)
                cut = _is_cut(file, read)
        except (HopeError, MemoryError):
            raise
        except Exception:
            return None  # foreign bytes make pydicom raise nearly anything; all of it means damage
        drop_unusable(read.dataset)
    return DicomFile(path, read.dataset, cut, read.syntax, read.sequences, read.overlay)


def _is_cut(file: BinaryIO, read: DicomHeader) -> bool:
    """Whether a file, read up to its pixels, ends before them or within them."""
    if read.deflated:
        return False  # only unpacking would tell, and the conversion does that
    header = read.dataset
    file.seek(0 if read.pixels is None else read.pixels, os.SEEK_END if read.pixels is None else os.SEEK_SET)
    little, explicit = read.little, not read.implicit
    order = "<" if little else ">"
    size = os.fstat(file.fileno()).st_size
    start = file.read(12 if explicit else 8)
    if len(start) < (12 if explicit else 8):
        # No pixel element follows: an object without pixels ends like this, and so does an image that lost them.
        kind = UID(str(header.get("SOPClassUID", ""))).name
        return bool(start) or "Rows" in header or kind.endswith("Image Storage") or "SOPInstanceUID" not in header
    group, element = struct.unpack(f"{order}HH", start[:4])
    if (group, element) not in ((0x7FE0, 0x0010), (0x7FE0, 0x0008), (0x7FE0, 0x0009)):
        return False
    (length,) = struct.unpack(f"{order}I", start[-4:])
    if length != _UNDEFINED:
        return int(length) > size - file.tell()
    return not _fragments_end(file, size)


def _fragments_end(file: BinaryIO, size: int) -> bool:
    """Whether encapsulated pixels reach their closing item."""
    while len(item := file.read(8)) == 8:
        group, element, length = struct.unpack("<HHI", item)
        if (group, element) == (0xFFFE, 0xE0DD):
            return True
        if (group, element) != (0xFFFE, 0xE000) or file.tell() + length > size:
            return False
        file.seek(length, os.SEEK_CUR)
    return False


def _missing_from_dicomdir(root: Path) -> int:
    """How many images a DICOMDIR at the top lists that are not there."""
    index = next((path for path in root.iterdir() if path.name.upper() == "DICOMDIR"), None) if root.is_dir() else None
    if index is None or not is_dicom(index):
        return 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with index.open("rb") as file:
                listing = read_header(file, [Tag("DirectoryRecordSequence")]).dataset
            records = listing.get("DirectoryRecordSequence") or []
            named = [r.get("ReferencedFileID") for r in records if str(r.get("DirectoryRecordType", "")) == "IMAGE"]
        except _READING:
            return 0
    present = {str(path.relative_to(root)).upper() for path in walk_files(root)}
    parts = [[name] if isinstance(name, str) else list(name) for name in named if name]
    return sum(str(Path(*part)).upper() not in present for part in parts)
