"""DICOM images to series: grouped, freed of copies, each with its geometry and with what it says about itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from hope.domain.errors import InputError
from hope.domain.identity import NOBODY, Identity
from hope.domain.ranges import SERIES_NUMBER
from hope.domain.wording import counted
from hope.formats.budget import current_budget
from hope.formats.dicom_files import CUT, DicomFile, read_directory
from hope.formats.dicom_frames import Frame, frames_of, number, number_in, stack_of
from hope.formats.dicom_grouping import grouping, identity_of, without_duplicates
from hope.formats.dicom_overlay import Overlay, overlay_note

MAX_SERIES = 5000
"""Most series under one directory; more are the files of many studies, or of none."""

DUPLICATES = "copies of DICOM images that lie there already"

_WHOLE = 0.97
"""Of a stated length, so much counts as all of it."""

_PULSES = {"SPIN": "SE", "GRADIENT": "GR"}


@dataclass(frozen=True)
class DicomSeries:
    """One image stack of a study, with the tags that tell what it shows.

    Attributes:
        uid: identifies it within the run; a hospital's number, never to be shown or kept.
        study_uid: the same of its study.
        number: SeriesNumber, None if absent.
        description: SeriesDescription, for matching words only; may hold a person's name, never to be shown.
        protocol: ProtocolName; some vendors write the name of the whole examination there. Never to be shown.
        sequence_name: SequenceName; never to be shown.
        modality: MR, CT, ...
        manufacturer: upper case.
        image_type: values of ImageType, upper case.
        scanning_sequence: values such as SE, GR, IR, EP, upper case; an enhanced image's pulse sequence in these words.
        three_d: 3D acquisition.
        tr_ms: repetition time in milliseconds (None if absent).
        te_ms: echo time in milliseconds (None if absent).
        ti_ms: inversion time in milliseconds (None if absent).
        contrast_agent: None if nothing is stated, else whether an agent is stated as given.
        diffusion: a b-value above 0 is stated.
        slices: number of images.
        voxel_mm: row, column and slice spacing (None if they cannot be told).
        fault: why it cannot be read as one even stack of grey images, else empty.
        files: its files.
        acquisition_contrast: AcquisitionContrast of an enhanced image, such as T2 or DIFFUSION.
        kind: why it is no plain magnitude image (a phase image, in colour, a mosaic), else empty.
        frames: its images from the lowest to the highest along the slice normal.
        identity: whose it is.
        notes: what was done to it that the user should know, in words without a name.
    """

    uid: str
    study_uid: str
    number: int | None
    description: str
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
    protocol: str = ""
    sequence_name: str = ""
    manufacturer: str = ""
    acquisition_contrast: str = ""
    kind: str = ""
    frames: tuple[Frame, ...] = ()
    identity: Identity = NOBODY
    notes: tuple[str, ...] = ()

    @property
    def coarsest_mm(self) -> float:
        """Largest voxel spacing, usually that of the slices; infinite where it is unknown."""
        return max(self.voxel_mm) if self.voxel_mm else float("inf")

    @property
    def coverage_mm(self) -> float | None:
        """How far the slices reach, None if unknown."""
        return self.slices * self.voxel_mm[2] if self.voxel_mm else None

    @property
    def overlay_note(self) -> str:
        """What was left out of its images' overlays, in words; empty if they have none."""
        return overlay_note([frame.overlay for frame in self.frames])

    @property
    def plane(self) -> str:
        """``axial``, ``coronal``, ``sagittal`` by the nearest axis of the slice normal; empty if unknown."""
        cosines = self.frames[0].cosines if self.frames else None
        if not cosines:
            return ""
        (a, b, c), (d, e, f) = cosines[:3], cosines[3:]
        normal = [abs(b * f - c * e), abs(c * d - a * f), abs(a * e - b * d)]
        return ("sagittal", "coronal", "axial")[normal.index(max(normal))]


@dataclass(frozen=True)
class _Image:
    file: DicomFile
    frame: Frame


def read_series(root: Path) -> list[DicomSeries]:
    """Group the DICOM files under a directory into image stacks, by series and echo.

    Raises:
        InputError: if there is no DICOM image, or far too many files.
    """
    series, left_out = read_study(root)
    if not series:
        got = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise InputError("no DICOM images found", expected="a directory or zip of one MRI study", got=got)
    return series


def read_study(root: Path) -> tuple[list[DicomSeries], Mapping[str, int]]:
    """As `read_series`, with what was left out and how many of it; the list may be empty.

    Raises:
        InputError: if there are far too many files.
    """
    directory = read_directory(root)
    left_out = Counter(directory.left_out)
    files, duplicates = without_duplicates(directory.files)
    if duplicates:
        left_out[DUPLICATES] += duplicates
    key, note = grouping(files)
    groups: dict[tuple[str, ...], list[_Image]] = {}
    for file in (file for file in files if "Rows" in file.header):
        for frame in frames_of(file):
            groups.setdefault(key(file), []).append(_Image(file, frame))
    if len(groups) > MAX_SERIES:
        got = f"{len(groups)} series"
        raise InputError(
            "the DICOM directory holds too many series", expected=f"at most {MAX_SERIES}", got=got, fix="give one study"
        )
    short, orphans = _cut_files(files, groups)
    if orphans:
        left_out[CUT] += orphans
    found = [
        _series(f"{'/'.join(name)}#{part}", images, short[name], note)
        for name, members in groups.items()
        for part, images in enumerate(_parts(members))
    ]
    return sorted(found, key=lambda s: (s.number if s.number is not None else 10**9, s.uid)), dict(left_out)


def _cut_files(
    files: Sequence[DicomFile], groups: Mapping[tuple[str, ...], Sequence[_Image]]
) -> tuple[Counter[tuple[str, ...]], int]:
    """How many files of each series are cut short, and how many belong to no series that can be told.

    A file that ends within its header may have lost what says where it belongs; it then counts for the series of its
    UID, else for those of its directory.
    """
    short: Counter[tuple[str, ...]] = Counter()
    orphans = 0
    of_file: dict[int, list[tuple[str, ...]]] = {}
    of_directory: dict[Path, list[tuple[str, ...]]] = {}
    for name, images in groups.items():
        for file in {id(image.file): image.file for image in images}.values():
            of_file.setdefault(id(file), []).append(name)
        for directory in {image.file.path.parent for image in images}:
            of_directory.setdefault(directory, []).append(name)
    for file in (file for file in files if file.cut):
        uid = str(file.header.get("SeriesInstanceUID", ""))
        homes = of_file.get(id(file), [])
        homes = homes or [
            name
            for name, images in groups.items()
            if uid and str(images[0].file.header.get("SeriesInstanceUID")).startswith(uid)
        ]
        homes = homes or (of_directory.get(file.path.parent, []) if not uid else [])
        orphans += not homes
        short.update(homes)
    return short, orphans


def parted(series: Iterable[DicomSeries]) -> list[list[DicomSeries]]:
    """Part series by patient and day: each group may be one examination of one patient.

    A series that says nothing about its patient, day or study joins any group that it does not contradict.
    """
    groups: list[tuple[Identity, list[DicomSeries]]] = []

    def said(one: DicomSeries) -> int:
        return -sum(bool(v) for v in (one.identity.patient, one.identity.person, one.identity.day, one.identity.study))

    for one in sorted(series, key=said):
        for index, (identity, members) in enumerate(groups):
            if not one.identity.differs(identity):
                groups[index] = (identity.merged(one.identity), [*members, one])
                break
        else:
            groups.append((one.identity, [one]))
    return [members for _, members in groups]


def _parts(images: Sequence[_Image]) -> list[list[_Image]]:
    """Split a series into stacks where echo time or part of a complex image tells images of one place apart."""
    for tell in (lambda i: i.frame.part, lambda i: f"{i.frame.te_ms or 0:.1f}"):
        apart: dict[str, list[_Image]] = {}
        for image in images:
            apart.setdefault(tell(image), []).append(image)
        if len(apart) < 2:
            continue
        pieces = [apart[value] for value in sorted(apart)]
        if len({len(piece) for piece in pieces}) == 1 and _places(pieces[0]) == _places(pieces[1]):
            return [part for piece in pieces for part in _parts(piece)]
    return [list(images)]


def _places(images: Iterable[_Image]) -> set[tuple[float, ...]]:
    return {tuple(round(v, 2) for v in (*(i.frame.position or ()), *(i.frame.cosines or ()))) for i in images}


def _series(uid: str, images: Sequence[_Image], cut: int, note: str) -> DicomSeries:
    frames = [image.frame for image in images]
    geometry = stack_of(frames)
    ordered = [images[i] for i in geometry.order]
    first, header = ordered[0].frame, ordered[0].file.header
    agents = {frame.agent for frame in frames}
    spacing, between = first.spacing_mm, geometry.spacing_mm
    notes = [note] if note else []
    kind = _kind(header, ordered)
    promised = int(number_in(SERIES_NUMBER, header.get("ImagesInAcquisition")) or 0)
    number_of_series = number_in(SERIES_NUMBER, header.get("SeriesNumber"))
    fault = kind or _too_large(frames) or geometry.fault or _overlay_fault(frames)
    if cut:
        whole = len({i.file.path for i in images if not i.file.cut})
        fault = f"{cut} of its {counted(whole + cut, 'files')} {'is' if cut == 1 else 'are'} cut short"
    if not fault and promised > len(images) and not first.enhanced and all(f.time is None for f in frames):
        notes.append(f"it holds {len(images)} images, while it speaks of {promised}")
    if not fault and len(images) > 1 and (thinned := _thinned(header, between)):
        notes.append(thinned)
    return DicomSeries(
        uid=uid,
        study_uid=str(header.get("StudyInstanceUID", "")),
        number=None if number_of_series is None else int(number_of_series),
        description=str(header.get("SeriesDescription", "") or ""),
        modality=str(header.get("Modality", "")).upper(),
        image_type=_words(header.get("ImageType")),
        scanning_sequence=_pulse(header),
        three_d=str(header.get("MRAcquisitionType", "")).upper() == "3D",
        tr_ms=first.tr_ms or None,
        te_ms=first.te_ms or None,
        ti_ms=first.ti_ms or None,
        contrast_agent=True if True in agents else (False if False in agents else None),
        diffusion=any((frame.b_value or 0) > 0 for frame in frames),
        slices=len(frames),
        voxel_mm=(spacing[0], spacing[1], between) if spacing and between else None,
        fault=fault,
        files=tuple(dict.fromkeys(image.file.path for image in ordered)),
        protocol=str(header.get("ProtocolName", "") or ""),
        sequence_name=str(header.get("SequenceName", "") or header.get("PulseSequenceName", "") or ""),
        manufacturer=str(header.get("Manufacturer", "") or "").upper(),
        acquisition_contrast=str(header.get("AcquisitionContrast", "") or "").upper(),
        kind=kind,
        frames=tuple(image.frame for image in ordered),
        identity=replace(identity_of(header), study="") if note else identity_of(header),
        notes=tuple(notes),
    )


def _thinned(header: Dataset, between_mm: float | None) -> str:
    """Say so if slices lie a whole number of times as far apart as a classic header states; else empty.

    A distance below the thickness is no distance: some scanners write the gap between slices there.
    """
    stated, thick = (number(header.get(name)) or 0.0 for name in ("SpacingBetweenSlices", "SliceThickness"))
    if not between_mm or stated <= 0 or stated < _WHOLE * thick:
        return ""
    times = between_mm / stated
    if round(times) < 2 or abs(times / round(times) - 1) > 1 - _WHOLE:
        return ""
    return (
        f"its slices lie {between_mm:.1f} mm apart, while it states {stated:.1f} mm: of every {round(times)} slices "
        "only one seems to be there"
    )


def _too_large(frames: Sequence[Frame]) -> str:
    voxels, most = sum(frame.pixels for frame in frames), current_budget().limits.voxels
    return f"it claims {voxels:.2g} voxels, far more than a head scan (at most {most:.0e})" if voxels > most else ""


def _overlay_fault(frames: Sequence[Frame]) -> str:
    if any(frame.compressed and frame.overlay is Overlay.IN_PIXELS for frame in frames):
        return "an overlay lies among the bits of its compressed pixels; export it uncompressed or without overlays"
    return ""


def _kind(header: Dataset, images: Sequence[_Image]) -> str:
    if (number(header.get("SamplesPerPixel")) or 1) > 1 or "PALETTE" in str(
        header.get("PhotometricInterpretation", "")
    ):
        return "it is in colour"
    if any(str(i.file.header.get("PhotometricInterpretation", "")).upper() == "MONOCHROME1" for i in images):
        return "its grey values are stored inverted (MONOCHROME1: the lowest is white)"
    if "MOSAIC" in _words(header.get("ImageType")):
        return "it is a mosaic, which tiles a whole volume into one picture"
    if {i.frame.part for i in images} & {"P", "R", "I"}:
        return "it is a phase, real or imaginary image"
    if "FloatPixelData" in header or number(header.get("BitsAllocated")) not in (None, 8.0, 16.0, 32.0):
        return "its pixels are stored in a form that is not read"
    frames = [image.frame for image in images]
    if not frames[0].enhanced and any(frame.index > 0 for frame in frames):
        return "it holds several images in one file without saying where each lies"
    return ""


def _words(value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) or value is None else list(value)
    return tuple(str(v).upper() for v in values if v)


def _pulse(header: Dataset) -> tuple[str, ...]:
    """ScanningSequence, or an enhanced image's pulse sequence in its words."""
    words = list(_words(header.get("ScanningSequence")))
    if words:
        return tuple(words)
    kind = str(header.get("EchoPulseSequence", "")).upper()
    words += ["SE", "GR"] if kind == "BOTH" else [_PULSES[kind]] if kind in _PULSES else []
    if str(header.get("EchoPlanarPulseSequence", "")).upper() == "YES":
        words.append("EP")
    if str(header.get("InversionRecovery", "")).upper() == "YES":
        words.append("IR")
    return tuple(words)
