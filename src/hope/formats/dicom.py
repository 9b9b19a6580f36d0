"""One DICOM series to a volume. Names, dates and ids are read by nobody here."""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path

import dcm2niix
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from hope.domain.errors import InputError
from hope.domain.volume import Volume
from hope.formats.atomic import output_error
from hope.formats.dicom_files import dicom_files, is_dicom
from hope.formats.dicom_frames import Frame
from hope.formats.dicom_grouping import REGROUPED
from hope.formats.dicom_series import DicomSeries, read_series, read_study
from hope.formats.nifti import NiftiFacts, read_scan

__all__ = ["DicomSeries", "convert_series", "dicom_files", "is_dicom", "read_series", "read_study"]

CONVERSION_SECONDS = 600
"""dcm2niix takes seconds; one that takes this long hangs."""

_PIXEL_TAGS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)


def convert_series(series: DicomSeries, scratch: Path, what: str) -> tuple[Volume, NiftiFacts]:
    """Turn one series into a volume with dcm2niix; frames of an enhanced one become single images first.

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
        _gather(series, source, result, what)
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


def _gather(series: DicomSeries, source: Path, result: Path, what: str) -> None:
    """Lay one series' images out under names without identity, for a converter that takes whole directories."""
    try:
        source.mkdir(parents=True)
        result.mkdir()
        # dcm2niix would part images of several UIDs, and takes one private scale for all slices.
        scales = len({frame.private_scale for frame in series.frames}) > 1
        if scales or REGROUPED in series.notes or any(frame.enhanced for frame in series.frames):
            _write_single_frames(series.frames, source, what)
        else:
            for index, path in enumerate(series.files):
                (source / f"{index:05d}.dcm").symlink_to(path.resolve())
    except OSError as error:
        raise output_error("the scratch directory", error) from error


def _write_single_frames(frames: Sequence[Frame], target: Path, what: str) -> None:
    """Write every frame of enhanced files as one classic file, in the order given; nothing of identity is copied."""
    uid = generate_uid()
    places: dict[Path, list[tuple[int, Frame]]] = {}
    for place, frame in enumerate(frames):
        places.setdefault(frame.path, []).append((place, frame))
    for path, members in places.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                whole = pydicom.dcmread(path)
                pixels = _frame_bytes(whole)
                for place, frame in members:
                    single = _single(whole, frame, pixels[frame.index], place + 1, uid)
                    pydicom.dcmwrite(target / f"{place:05d}.dcm", single, enforce_file_format=True)
            except (ValueError, AttributeError, IndexError, KeyError, TypeError, NotImplementedError) as error:
                raise InputError(
                    f"{what}: the pixels of an enhanced DICOM file cannot be read", fix="export it again, uncompressed"
                ) from error


def _frame_bytes(whole: FileDataset) -> list[bytes]:
    """The pixels of each frame, as stored."""
    count = max(1, int(whole.get("NumberOfFrames", 1) or 1))
    if whole.file_meta.TransferSyntaxUID.is_encapsulated:
        return list(generate_frames(whole.PixelData, number_of_frames=count))
    size = int(whole.Rows) * int(whole.Columns) * int(whole.BitsAllocated) // 8
    return [whole.PixelData[i * size : (i + 1) * size] for i in range(count)]


def _single(whole: FileDataset, frame: Frame, pixels: bytes, instance: int, series_uid: str) -> Dataset:
    syntax = whole.file_meta.TransferSyntaxUID
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
    if syntax.is_encapsulated:
        image.PixelData = encapsulate([pixels])
        image["PixelData"].is_undefined_length = True
    else:
        big = not syntax.is_little_endian and int(whole.BitsAllocated) > 8
        step = int(whole.BitsAllocated) // 8
        image.PixelData = b"".join(pixels[i : i + step][::-1] for i in range(0, len(pixels), step)) if big else pixels
    image["PixelData"].VR = "OW" if int(whole.BitsAllocated) > 8 else "OB"
    return image


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
