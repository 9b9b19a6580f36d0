"""Synthetic enhanced multi-frame MR: one volume in the forms that vendors and archives give it, and nobody's image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

from hope.domain.volume import Volume
from hope.testing.dicom_series import IDENTITY, PATIENT_ID

_T1 = {"RepetitionTime": 500.0, "EffectiveEchoTime": 12.0}
_T2 = {"RepetitionTime": 4500.0, "EffectiveEchoTime": 95.0}
_FLAIR = {"RepetitionTime": 9000.0, "EffectiveEchoTime": 110.0, "InversionTimes": [2500.0]}
ENHANCED_TIMINGS: Mapping[str, Mapping[str, object]] = {"t1": _T1, "t2": _T2, "flair": _FLAIR, "none": {}}
"""Timing of the functional groups by kind of series."""


@dataclass(frozen=True)
class EnhancedRecipe:
    """What one synthetic enhanced series says about itself.

    Attributes:
        number: SeriesNumber.
        kind: key of ``ENHANCED_TIMINGS``.
        description: SeriesDescription.
        study: study the series belongs to.
        layout: ``one`` file with all frames, or ``single``, a file for each frame.
        groups: where orientation, spacing and timing stand, in the ``shared`` groups or ``frame`` by frame.
        order: the slices in the order of the frames; as they lie if not given.
        stacks: slice -> StackID, 1 where not given.
        echoes: echo times in milliseconds; every slice once for each.
        b_values: of diffusion; every slice once for each.
        times: temporal positions; every slice once for each.
        agent: meaning of a ContrastBolusAgentSequence; None leaves it out.
        administered: ContrastBolusAgentAdministered, YES or NO; None leaves it out.
        pulse: EchoPulseSequence.
        planar: EchoPlanarPulseSequence.
        rescale: slope and intercept of the stored values.
        compressed: store the pixels in RLE.
        tags: more tags, by keyword.
    """

    number: int
    kind: str
    description: str = ""
    study: str = "1"
    layout: Literal["one", "single"] = "one"
    groups: Literal["shared", "frame"] = "shared"
    order: Sequence[int] | None = None
    stacks: Mapping[int, str] = field(default_factory=dict)
    echoes: Sequence[float] = ()
    b_values: Sequence[float] = ()
    times: int = 1
    agent: str | None = None
    administered: str | None = None
    pulse: str = "SPIN"
    planar: str = "NO"
    rescale: tuple[float, float] = (1.0, 0.0)
    compressed: bool = False
    tags: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class _Slice:
    k: int
    echo: float | None
    b_value: float | None
    time: int


def write_enhanced(volume: Volume, directory: Path, recipe: EnhancedRecipe) -> list[Path]:
    """Write a volume (any grid, RAS+ mm, whole numbers from 0) as enhanced MR; return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    order = list(recipe.order if recipe.order is not None else range(volume.data.shape[2]))
    slices = [
        _Slice(k, echo, b, time)
        for time in range(recipe.times)
        for b in recipe.b_values or (None,)
        for echo in recipe.echoes or (None,)
        for k in order
    ]
    parts = [slices] if recipe.layout == "one" else [[one] for one in slices]
    files = []
    for number, part in enumerate(parts, start=1):
        files.append(directory / f"{recipe.number:04d}_{number:04d}")
        image = _file(volume, recipe, part, number)
        if recipe.compressed:
            image.compress(RLELossless, generate_instance_uid=False)
        pydicom.dcmwrite(files[-1], image, enforce_file_format=True)
    return files


def _file(volume: Volume, recipe: EnhancedRecipe, part: Sequence[_Slice], number: int) -> FileDataset:
    entropy = [f"hope-test-{recipe.study}-{recipe.number}"]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[*entropy, "enhanced", str(number)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = EnhancedMRImageStorage, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID = generate_uid(entropy_srcs=[f"hope-test-study-{recipe.study}"])
    image.SeriesInstanceUID = generate_uid(entropy_srcs=entropy)
    image.PatientName, image.PatientID, image.PatientBirthDate = IDENTITY, PATIENT_ID, "19700101"
    image.StudyDate, image.Modality, image.Manufacturer = "20200102", "MR", "Philips Medical Systems"
    image.SeriesNumber, image.InstanceNumber, image.SeriesDescription = recipe.number, number, recipe.description
    image.ImageType, image.MRAcquisitionType = ["ORIGINAL", "PRIMARY", "M", "NONE"], "2D"
    image.EchoPulseSequence, image.EchoPlanarPulseSequence = recipe.pulse, recipe.planar
    image.InversionRecovery = "YES" if recipe.kind == "flair" else "NO"
    image.Rows, image.Columns, image.NumberOfFrames = volume.data.shape[1], volume.data.shape[0], len(part)
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    if recipe.agent is not None:
        image.ContrastBolusAgentSequence = [_item(CodeMeaning=recipe.agent, CodeValue="1", CodingSchemeDesignator="99")]
    common = _common(volume, recipe)
    shared, frames = Dataset(), [_frame(volume, recipe, one) for one in part]
    for target in [shared] if recipe.groups == "shared" else frames:
        for name, group in common.items():
            # What a frame says for itself, such as its echo time, stands.
            if name not in target and (recipe.groups == "frame" or not all(name in frame for frame in frames)):
                setattr(target, name, [group])
    image.SharedFunctionalGroupsSequence, image.PerFrameFunctionalGroupsSequence = [shared], frames
    slope, intercept = recipe.rescale
    stored = [np.rint((volume.data[:, :, one.k].T - intercept) / slope).astype("<u2").tobytes() for one in part]
    image.PixelData = b"".join(stored)
    image["PixelData"].VR = "OW"
    for keyword, value in recipe.tags.items():
        setattr(image, keyword, value)
    return image


def _common(volume: Volume, recipe: EnhancedRecipe) -> dict[str, Dataset]:
    """The functional groups that all frames share."""
    axes = np.diag([-1.0, -1.0, 1.0]) @ volume.grid.affine_ras_mm[:3, :3]
    spacing = volume.grid.spacing_mm
    timing = ENHANCED_TIMINGS[recipe.kind]
    groups = {
        "PlaneOrientationSequence": _item(
            ImageOrientationPatient=[float(v) for a in (0, 1) for v in axes[:, a] / spacing[a]]
        ),
        "PixelMeasuresSequence": _item(
            PixelSpacing=[float(spacing[1]), float(spacing[0])], SliceThickness=float(spacing[2])
        ),
        "PixelValueTransformationSequence": _item(
            RescaleSlope=recipe.rescale[0], RescaleIntercept=recipe.rescale[1], RescaleType="US"
        ),
    }
    if "RepetitionTime" in timing:
        groups["MRTimingAndRelatedParametersSequence"] = _item(RepetitionTime=timing["RepetitionTime"])
        groups["MREchoSequence"] = _item(EffectiveEchoTime=timing["EffectiveEchoTime"])
    if "InversionTimes" in timing:
        groups["MRModifierSequence"] = _item(InversionRecovery="YES", InversionTimes=timing["InversionTimes"])
    if recipe.administered is not None:
        groups["ContrastBolusUsageSequence"] = _item(ContrastBolusAgentAdministered=recipe.administered)
    return groups


def _frame(volume: Volume, recipe: EnhancedRecipe, one: _Slice) -> Dataset:
    """The functional groups of one frame alone."""
    frame = Dataset()
    content = _item(StackID=recipe.stacks.get(one.k, "1"), InStackPositionNumber=one.k + 1)
    if recipe.times > 1:
        content.TemporalPositionIndex = one.time + 1
    frame.FrameContentSequence = [content]
    position = np.diag([-1.0, -1.0, 1.0]) @ volume.grid.to_world([0, 0, one.k])
    frame.PlanePositionSequence = [_item(ImagePositionPatient=[float(v) for v in position])]
    if one.echo is not None:
        frame.MREchoSequence = [_item(EffectiveEchoTime=one.echo)]
    if one.b_value is not None:
        frame.MRDiffusionSequence = [_item(DiffusionBValue=one.b_value)]
    return frame


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
