"""DICOM directories to series, and one series to a volume. Names, dates and ids are read by nobody here."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dcm2niix
import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from hope.domain.errors import InputError
from hope.domain.volume import Volume
from hope.formats.atomic import output_error
from hope.formats.nifti import NiftiFacts, read_scan

CONVERSION_SECONDS = 600
"""dcm2niix takes seconds; one that takes this long hangs."""

MAX_DICOM_FILES = 50_000
"""A directory with more is an archive, not a case."""

_ORIENTATION_TOLERANCE = 0.01  # difference of direction cosines within one series
_GAP_TOLERANCE = 0.2  # share of the usual slice distance
_TILT_LIMIT_DEGREES = 0.5
# fmt: off
_TAGS = [
    "Modality", "SeriesInstanceUID", "StudyInstanceUID", "SeriesNumber", "SeriesDescription", "ProtocolName",
    "SequenceName", "ScanningSequence", "MRAcquisitionType", "RepetitionTime", "EchoTime", "InversionTime",
    "EchoNumbers", "ContrastBolusAgent", "ImageType", "ImageOrientationPatient", "ImagePositionPatient",
    "SliceThickness", "PixelSpacing", "SpacingBetweenSlices", "Rows", "Columns", "NumberOfFrames", "DiffusionBValue",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]
# fmt: on


@dataclass(frozen=True)
class DicomSeries:
    """One image stack of a study, with the tags that tell what it shows.

    Attributes:
        uid: identifies it within the run; a hospital's number, never to be shown or kept.
        study_uid: the same of its study.
        number: SeriesNumber, None if absent.
        text: description and protocol, for matching words only; may hold a person's name, never to be shown.
        modality: MR, CT, ...
        image_type: values of ImageType, upper case.
        scanning_sequence: values such as SE, GR, IR, upper case.
        three_d: 3D acquisition.
        tr_ms: repetition time in milliseconds (None if absent).
        te_ms: echo time in milliseconds (None if absent).
        ti_ms: inversion time in milliseconds (None if absent).
        contrast_agent: None if nothing is stated, else whether an agent is stated as given.
        diffusion: a b-value is stated.
        slices: number of images.
        voxel_mm: row, column and slice spacing (None if they cannot be told).
        fault: why its geometry cannot be trusted, else empty.
        files: its files.
    """

    uid: str
    study_uid: str
    number: int | None
    text: str
    modality: str
    image_type: tuple[str, ...]
    scanning_sequence: tuple[str, ...]
    three_d: bool
    tr_ms: float | None
    te_ms: float | None
    ti_ms: float | None
    contrast_agent: bool | None
    diffusion: bool
    slices: int
    voxel_mm: tuple[float, float, float] | None
    fault: str
    files: tuple[Path, ...]

    @property
    def coarsest_mm(self) -> float:
        """Largest voxel spacing, usually that of the slices; infinite where it is unknown."""
        return max(self.voxel_mm) if self.voxel_mm else float("inf")


def is_dicom(path: Path) -> bool:
    """Whether a file looks like DICOM by its first bytes, whatever its name."""
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return False
    # With the preamble, or (old exports) beginning at once with a group 0008 element.
    return start[128:] == b"DICM" or (len(start) == 132 and start[:2] == b"\x08\x00" and start[3:4] == b"\x00")


def dicom_files(root: Path) -> Iterator[Path]:
    """Yield every DICOM file under a directory, in sorted order; DICOMDIR and hidden files are left out."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and name.upper() != "DICOMDIR" and is_dicom(path):
                yield path


def read_series(root: Path) -> list[DicomSeries]:
    """Group the DICOM files under a directory into image stacks, by series and echo.

    Raises:
        InputError: if there is no DICOM image, or far too many files.
    """
    groups: dict[tuple[str, str], list[tuple[Path, Dataset]]] = {}
    for count, path in enumerate(dicom_files(root), start=1):
        if count > MAX_DICOM_FILES:
            raise InputError(
                "the DICOM directory holds too many files", expected=f"at most {MAX_DICOM_FILES}", fix="give one study"
            )
        header = _header(path)
        if header is not None and "Rows" in header:
            key = str(header.get("SeriesInstanceUID", "")), str(header.get("EchoNumbers", ""))
            groups.setdefault(key, []).append((path, header))
    if not groups:
        raise InputError("no DICOM images found", expected="a directory or zip of one MRI study")
    series = [_series(f"{uid}/{echo}", members) for (uid, echo), members in groups.items()]
    return sorted(series, key=lambda s: (s.number if s.number is not None else 10**9, s.uid))


def convert_series(series: DicomSeries, scratch: Path, what: str) -> tuple[Volume, NiftiFacts]:
    """Turn one series into a volume with dcm2niix.

    Args:
        series: the stack; its ``fault`` is refused here.
        scratch: a directory to work in; nothing stays in it.
        what: role, for error sentences.

    Returns:
        float32 volume in RAS+ world, and what was seen, as `hope.formats.nifti.read_scan`.

    Raises:
        InputError: for tilted, missing, duplicate or mixed slices, or whatever dcm2niix cannot turn into one 3D image.
        OutputError: if the scratch directory cannot be written.
    """
    if series.fault:
        fix = "export the series again, or leave it out"
        raise InputError(f"{what}: the DICOM series cannot be used, {series.fault}", fix=fix)
    work = scratch / f"dicom-{what}"
    shutil.rmtree(work, ignore_errors=True)
    source, result = work / "in", work / "out"
    try:
        _gather(series.files, source, result)
        _run_dcm2niix(source, result, what)
        outputs = sorted(result.glob("*.nii"))
        if not outputs:
            raise InputError(
                f"{what}: the DICOM series could not be converted", fix="export it again as uncompressed DICOM"
            )
        if len(outputs) > 1 or re.search(r"_(Eq|Tilt|ROI|ph|real|imaginary)", outputs[0].name):
            got = f"{len(outputs)} images, or one on tilted or uneven slices"
            raise InputError(
                f"{what}: the DICOM series is not one plain 3D image", got=got, fix="export a single image stack"
            )
        volume, facts = read_scan(outputs[0], what)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if series.slices > 1 and volume.grid.shape[2] != series.slices:
        got = f"{volume.grid.shape[2]} from {series.slices} images"
        raise InputError(f"{what}: slices were lost in the DICOM conversion", got=got, fix="export the series again")
    return volume, facts


def _gather(files: Sequence[Path], source: Path, result: Path) -> None:
    """Link one series' files under names without identity, for a converter that takes whole directories."""
    try:
        source.mkdir(parents=True)
        result.mkdir()
        for index, path in enumerate(files):
            (source / f"{index:05d}.dcm").symlink_to(path.resolve())
    except OSError as error:
        raise output_error("the scratch directory", error) from error


def _run_dcm2niix(source: Path, result: Path, what: str) -> None:
    # -g i: the user's own dcm2niix defaults are ignored. -x i: never crop or rotate. -f: a name without identity.
    options = ["-b", "n", "-z", "n", "-f", "scan", "-w", "2", "-x", "i", "-d", "0", "-g", "i", "-c", ""]
    command = [str(dcm2niix.bin), *options, "-o", str(result), str(source)]
    try:
        subprocess.run(command, capture_output=True, timeout=CONVERSION_SECONDS, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{what}: the DICOM conversion took longer than {CONVERSION_SECONDS} s", fix="export the series again"
        ) from error


def _header(path: Path) -> Dataset | None:
    # pydicom's warnings quote the values that it dislikes, which may be a person's: they must not reach the terminal.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=_TAGS)
        except (InvalidDicomError, OSError, ValueError, EOFError, KeyError, AttributeError, struct.error):
            return None  # looked like DICOM by its first bytes, but is none: other files are allowed in the directory
        for tag in list(header.keys()):
            try:
                header[tag]  # converts the value, once
            except (ValueError, TypeError, AttributeError, NotImplementedError, OverflowError, struct.error):
                del header[tag]  # a value that cannot be read counts as not given
    return header


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _words(value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) or value is None else list(value)
    return tuple(str(v).upper() for v in values if v)


def _functional(header: Dataset, sequence: str, name: str) -> Any:
    """Value of a tag of an enhanced multi-frame image, from the shared or else the first frame's group."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in list(header.get(groups) or [])[:1]:
            for item in list(group.get(sequence) or [])[:1]:
                if (value := item.get(name)) is not None:
                    return value
    return None


def _agent(value: Any) -> bool | None:
    text = str(value or "").strip().lower()
    if not text:
        return None
    return text not in {"no", "none", "n", "0", "nein", "non", "no contrast", "without", "ohne", "null", "-"}


def _series(uid: str, members: Sequence[tuple[Path, Dataset]]) -> DicomSeries:
    first = members[0][1]
    frames = int(_number(first.get("NumberOfFrames")) or 1)
    timing = "MRTimingAndRelatedParametersSequence"
    thickness, fault = _stack(members) if frames == 1 else (_number(first.get("SliceThickness")), "")
    pixel = first.get("PixelSpacing") or _functional(first, "PixelMeasuresSequence", "PixelSpacing")
    in_plane = [_number(v) for v in pixel] if pixel is not None and len(pixel) == 2 else []
    if frames > 1 and thickness is None:
        thickness = _number(_functional(first, "PixelMeasuresSequence", "SliceThickness"))
    voxel = (in_plane[0], in_plane[1], thickness) if len(in_plane) == 2 else (None, None, None)
    agents = {_agent(header.get("ContrastBolusAgent")) for _, header in members}
    number = _number(first.get("SeriesNumber"))
    return DicomSeries(
        uid=uid,
        study_uid=str(first.get("StudyInstanceUID", "")),
        number=None if number is None else int(number),
        text=" | ".join(str(first.get(tag, "") or "") for tag in ("SeriesDescription", "ProtocolName", "SequenceName")),
        modality=str(first.get("Modality", "")).upper(),
        image_type=_words(first.get("ImageType")),
        scanning_sequence=_words(first.get("ScanningSequence")),
        three_d=str(first.get("MRAcquisitionType", "")).upper() == "3D",
        tr_ms=_number(first.get("RepetitionTime")) or _number(_functional(first, timing, "RepetitionTime")),
        te_ms=_number(first.get("EchoTime")) or _number(_functional(first, "MREchoSequence", "EffectiveEchoTime")),
        ti_ms=_number(first.get("InversionTime"))
        or _number(_functional(first, "MRModifierSequence", "InversionTimes")),
        contrast_agent=True if True in agents else (False if False in agents else None),
        diffusion=any((_number(header.get("DiffusionBValue")) or 0) > 0 for _, header in members),
        slices=frames if frames > 1 else len(members),
        voxel_mm=None if None in voxel else (float(voxel[0] or 0), float(voxel[1] or 0), float(voxel[2] or 0)),
        fault=fault,
        files=tuple(path for path, _ in members),
    )


def _stack(members: Sequence[tuple[Path, Dataset]]) -> tuple[float | None, str]:
    """Distance between slices in mm, and what is wrong with the stack (DICOM's LPS; only distances are used)."""
    first = members[0][1]
    nominal = _number(first.get("SpacingBetweenSlices")) or _number(first.get("SliceThickness"))
    try:
        cosines = np.array([[float(v) for v in header.ImageOrientationPatient] for _, header in members])
        positions = np.array([[float(v) for v in header.ImagePositionPatient] for _, header in members])
        sizes = {(int(header.Rows), int(header.Columns)) for _, header in members}
    except (AttributeError, TypeError, ValueError):
        return nominal, "an image does not say where it lies"
    if cosines.shape[1:] != (6,) or positions.shape[1:] != (3,):
        return nominal, "an image does not say where it lies"
    if np.abs(cosines - cosines[0]).max() > _ORIENTATION_TOLERANCE or len(sizes) > 1:
        return nominal, "it mixes images of several orientations or sizes"
    if len(members) == 1:
        return nominal, ""
    normal = np.cross(cosines[0, :3], cosines[0, 3:])
    order = np.argsort(positions @ normal)
    gaps = np.diff((positions @ normal)[order])
    usual = float(np.median(gaps))
    if usual < 1e-3 or gaps.min() < _GAP_TOLERANCE * usual:
        return (
            nominal,
            f"{int((gaps < max(1e-3, _GAP_TOLERANCE * usual)).sum())} slices lie where another one lies already",
        )
    if np.abs(gaps - usual).max() > _GAP_TOLERANCE * usual:
        return usual, f"slices are missing or uneven: {gaps.min():.1f} to {gaps.max():.1f} mm apart"
    travel = positions[order[-1]] - positions[order[0]]
    tilt = float(np.degrees(np.arccos(min(1.0, float(travel @ normal) / float(np.linalg.norm(travel))))))
    if tilt > _TILT_LIMIT_DEGREES:
        return usual, f"its slices are sheared by {tilt:.1f} degrees (gantry tilt)"
    return usual, ""


def study_of(directory: Path) -> str:
    """Return the StudyInstanceUID of the first image under a directory, empty if there is none; never to be shown."""
    for path in dicom_files(directory):
        header = _header(path)
        if header is not None and "Rows" in header:
            return str(header.get("StudyInstanceUID", ""))
    return ""
