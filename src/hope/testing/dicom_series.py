"""Synthetic MR series as DICOM files: everything that intake has to tell apart, and nobody's image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from hope.domain.volume import Volume

_T1 = {"ScanningSequence": "SE", "RepetitionTime": 500, "EchoTime": 12}
_T2 = {"ScanningSequence": "SE", "RepetitionTime": 4500, "EchoTime": 95}
_FLAIR = {"ScanningSequence": ["SE", "IR"], "RepetitionTime": 9000, "EchoTime": 110, "InversionTime": 2500}
TIMINGS: Mapping[str, Mapping[str, object]] = {"t1": _T1, "t2": _T2, "flair": _FLAIR, "none": {}}
"""Acquisition tags by kind of series."""

IDENTITY = "SURNAMEMARK^GIVENMARK"
"""The patient's name that every file carries, for tests that nothing of it survives."""

PATIENT_ID = "NUMBER4711MARK"
"""The patient's number that every file carries: too long to stand in compressed data by chance."""


@dataclass(frozen=True)
class SeriesRecipe:
    """What one synthetic series says about itself.

    Attributes:
        number: SeriesNumber.
        kind: key of ``TIMINGS``.
        description: SeriesDescription.
        study: study the series belongs to.
        tags: more tags, by keyword; None removes one.
        skip: slices that are not written.
        repeat: slices that are written twice.
        shear_mm: in-plane drift per slice, as under gantry tilt.
    """

    number: int
    kind: str
    description: str = ""
    study: str = "1"
    tags: Mapping[str, object] = field(default_factory=dict)
    skip: tuple[int, ...] = ()
    repeat: tuple[int, ...] = ()
    shear_mm: float = 0.0


def write_series(volume: Volume, directory: Path, recipe: SeriesRecipe) -> list[Path]:
    """Write a volume (any grid, RAS+ mm) as one DICOM file per slice k, names without extension; return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1.0, -1.0, 1.0])
    axes = lps @ volume.grid.affine_ras_mm[:3, :3]
    spacing = volume.grid.spacing_mm
    entropy = [f"hope-test-{recipe.study}-{recipe.number}"]
    files = []
    slices = [k for k in range(volume.data.shape[2]) if k not in recipe.skip] + list(recipe.repeat)
    for instance, k in enumerate(slices, start=1):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[*entropy, str(instance)])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        image.StudyInstanceUID = generate_uid(entropy_srcs=[f"hope-test-study-{recipe.study}"])
        image.SeriesInstanceUID = generate_uid(entropy_srcs=entropy)
        image.FrameOfReferenceUID = generate_uid(entropy_srcs=["hope-test-frame"])
        image.PatientName, image.PatientID, image.PatientBirthDate = IDENTITY, PATIENT_ID, "19700101"
        image.StudyDate, image.Modality, image.Manufacturer = "20200102", "MR", "SIEMENS"
        image.SeriesNumber, image.InstanceNumber, image.AcquisitionNumber = recipe.number, instance, 1
        image.SeriesDescription, image.ImageType = recipe.description, ["ORIGINAL", "PRIMARY", "M", "ND"]
        image.ImageOrientationPatient = [float(v) for a in (0, 1) for v in axes[:, a] / spacing[a]]
        drift = recipe.shear_mm * k * axes[:, 1] / spacing[1]
        image.ImagePositionPatient = [float(v) for v in lps @ volume.grid.to_world([0, 0, k]) + drift]
        image.PixelSpacing, image.SliceThickness = [spacing[1], spacing[0]], spacing[2]
        image.Rows, image.Columns = volume.data.shape[1], volume.data.shape[0]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
        image.PixelData = np.rint(volume.data[:, :, k].T).astype("<i2").tobytes()
        for keyword, value in {**TIMINGS[recipe.kind], **recipe.tags}.items():
            if value is None:
                delattr(image, keyword)
            else:
                setattr(image, keyword, value)
        files.append(directory / f"{recipe.number:04d}_{instance:04d}")
        pydicom.dcmwrite(files[-1], image, enforce_file_format=True)
    return files
