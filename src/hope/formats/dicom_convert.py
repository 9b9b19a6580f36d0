"""dcm2niix as a child with limits of its own: what it is given, and what it may take."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import dcm2niix
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from hope.domain.errors import InputError
from hope.domain.limits import MIB
from hope.formats.atomic import output_error
from hope.formats.bounded_program import run_bounded
from hope.formats.budget import current_budget
from hope.formats.dicom_files import TAGS
from hope.formats.dicom_frames import Frame
from hope.formats.dicom_grouping import REGROUPED
from hope.formats.dicom_header import DicomHeader, inflate_to, read_header
from hope.formats.dicom_overlay import Overlay, without_overlay
from hope.formats.dicom_series import DicomSeries
from hope.formats.dicom_walk import MalformedError

_PIXEL_TAGS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
_OWN_BYTES = 48 * MIB  # what dcm2niix takes beside the voxels, which it holds once
_READING = (ValueError, AttributeError, IndexError, KeyError, TypeError, NotImplementedError, OSError, EOFError)


def check_pixels(series: DicomSeries, what: str) -> None:
    """Count what the pixels of a series will become, before one is decoded.

    Raises:
        InputError: if the conversion would take more memory than it may, or the upload becomes more than it may.
    """
    budget = current_budget()
    sizes = [(frame, frame.pixels * max(16, frame.bits) // 8) for frame in series.frames]
    needed = sum(size for _, size in sizes)
    if needed + _OWN_BYTES > budget.memory_left:
        raise InputError(
            f"{what}: the DICOM series is larger than can be converted",
            expected=f"voxels of at most {max(0, budget.memory_left - _OWN_BYTES) / MIB:.0f} MiB",
            got=f"{needed / MIB:.0f} MiB",
            fix="export it at a lower resolution",
        )
    packed = sum(size for frame, size in sizes if frame.compressed)
    if packed:
        budget.expand(packed, "the DICOM series")


def gather(series: DicomSeries, source: Path, what: str) -> None:
    """Lay one series' images out under names without identity, for a converter that takes whole directories.

    Raises:
        InputError: if a file is damaged.
        OutputError: if the directory cannot be written.
    """
    try:
        source.mkdir(parents=True)
        deflated = {f.path for f in series.frames if _is_deflated(f.syntax)}
        # dcm2niix would part images of several UIDs, takes one private scale for all slices, and writes each overlay
        # as an image of its own.
        scales = len({frame.private_scale for frame in series.frames}) > 1
        apart = any(frame.enhanced or frame.overlay for frame in series.frames)
        if scales or REGROUPED in series.notes or apart:
            _write_single_frames(series.frames, source, what)
            return
        for index, path in enumerate(series.files):
            target = source / f"{index:05d}.dcm"
            if path in deflated:
                inflate_to(path, target)
            else:
                target.symlink_to(path.resolve())
    except MalformedError as error:
        raise InputError(f"{what}: a DICOM file is damaged", fix="export the series again") from error
    except OSError as error:
        raise output_error("the scratch directory", error) from error


def run_dcm2niix(series: DicomSeries, source: Path, result: Path, what: str, seconds: float) -> None:
    """Convert a directory; whether anything came out is for the caller to see.

    Raises:
        InputError: if it takes longer than it may, or more memory.
    """
    budget = current_budget()
    # -g i: the user's own dcm2niix defaults are ignored. -x i: never crop or rotate. -f: a name without identity.
    options = ["-b", "n", "-z", "n", "-f", "scan", "-w", "2", "-x", "i", "-d", "0", "-g", "i", "-c", ""]
    command = [str(dcm2niix.bin), *options, "-o", str(result), str(source)]
    written = 4 * sum(frame.pixels * max(16, frame.bits) // 8 for frame in series.frames) + 64 * MIB
    seconds = min(seconds, budget.limits.seconds)
    memory = budget.memory_left
    limits = {"AS": memory, "FSIZE": written, "CPU": int(seconds) + 1, "CORE": 0}
    try:
        done = run_bounded(command, limits, seconds)
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{what}: the DICOM conversion took longer than {seconds:.0f} s", fix="export the series again"
        ) from error
    if done.returncode < 0:
        raise InputError(
            f"{what}: the DICOM series could not be converted within {memory / MIB:.0f} MiB of memory",
            got=f"a conversion that ended by signal {-done.returncode}",
            fix="export it again as uncompressed DICOM",
        )


def _is_deflated(syntax: str) -> bool:
    return syntax == UID("1.2.840.10008.1.2.1.99")


def _write_single_frames(frames: Sequence[Frame], target: Path, what: str) -> None:
    """Write every frame of enhanced files as one classic file, in the order given; nothing of identity is copied."""
    uid = generate_uid()
    places: dict[Path, dict[int, tuple[int, Frame]]] = {}
    for place, frame in enumerate(frames):
        places.setdefault(frame.path, {})[frame.index] = (place, frame)
    for number, (path, members) in enumerate(places.items()):
        inflated = target.parent / f"inflated-{number}"
        if _is_deflated(next(iter(members.values()))[1].syntax):
            inflate_to(path, inflated)
            path = inflated
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with path.open("rb") as file:
                    whole = read_header(file, TAGS)
                    written = 0
                    for index, pixels in _frame_bytes(file, whole, set(members)):
                        place, frame = members[index]
                        single = _single(whole, frame, pixels, place + 1, uid)
                        pydicom.dcmwrite(target / f"{place:05d}.dcm", single, enforce_file_format=True)
                        written += 1
                    if written < len(members):
                        raise IndexError("frames are missing")
            except _READING as error:
                raise InputError(
                    f"{what}: the pixels of an enhanced DICOM file cannot be read", fix="export it again, uncompressed"
                ) from error
            finally:
                inflated.unlink(missing_ok=True)


def _frame_bytes(file: BinaryIO, whole: DicomHeader, wanted: set[int]) -> Iterator[tuple[int, bytes]]:
    """Number and stored pixels of each wanted frame, one at a time."""
    if whole.pixels is None:
        raise ValueError("no pixels")
    header = whole.dataset
    count = max(1, int(header.get("NumberOfFrames", 1) or 1))
    file.seek(whole.pixels + (8 if whole.implicit else 12))
    if UID(whole.syntax).is_encapsulated:
        for index, pixels in enumerate(generate_frames(file, number_of_frames=count)):
            if index in wanted:
                yield index, pixels
        return
    start, size = file.tell(), int(header.Rows) * int(header.Columns) * int(header.BitsAllocated) // 8
    for index in sorted(wanted):
        file.seek(start + index * size)
        yield index, file.read(size)


def _single(read: DicomHeader, frame: Frame, pixels: bytes, instance: int, series_uid: str) -> Dataset:
    syntax, whole = UID(read.syntax), read.dataset
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = syntax if syntax.is_encapsulated else ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID = series_uid, series_uid
    image.Modality, image.ImageType = "MR", ["ORIGINAL", "PRIMARY", "M", "NONE"]
    image.SeriesNumber, image.AcquisitionNumber, image.InstanceNumber = 1, 1, instance
    image.ImagePositionPatient = [f"{v:.10g}" for v in frame.position or ()]
    image.ImageOrientationPatient = [f"{v:.10g}" for v in frame.cosines or ()]
    image.PixelSpacing = [f"{v:.10g}" for v in frame.spacing_mm or ()]
    if frame.thickness_mm:
        image.SliceThickness = image.SpacingBetweenSlices = f"{frame.thickness_mm:.10g}"
    image.Rows, image.Columns = frame.size
    for name in _PIXEL_TAGS:
        if name in whole:
            setattr(image, name, whole[name].value)
    if frame.rescale != (1.0, 0.0):
        image.RescaleSlope, image.RescaleIntercept = (f"{v:.10g}" for v in frame.rescale)
    if frame.overlay is Overlay.IN_PIXELS:
        bits = (int(whole[name].value) for name in ("BitsAllocated", "BitsStored", "HighBit"))
        signed = bool(whole.get("PixelRepresentation", 0))
        pixels = without_overlay(pixels, *bits, signed=signed, little=read.little)
    if syntax.is_encapsulated:
        image.PixelData = encapsulate([pixels])
        image["PixelData"].is_undefined_length = True
    else:
        big = not read.little and int(whole.BitsAllocated) > 8
        step = int(whole.BitsAllocated) // 8
        image.PixelData = b"".join(pixels[i : i + step][::-1] for i in range(0, len(pixels), step)) if big else pixels
    image["PixelData"].VR = "OW" if int(whole.BitsAllocated) > 8 else "OB"
    return image
