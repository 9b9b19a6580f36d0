"""Where each image of a DICOM file lies and how it was made, by one set of rules for classic and enhanced files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import UID

from hope.domain.errors import InputError
from hope.domain.ranges import B_VALUE, EDGE_PIXELS, FRAMES, POSITION_MM, SERIES_NUMBER, SPACING_MM, TIME_MS, ValueRange
from hope.formats.budget import current_budget
from hope.formats.dicom_files import PHILIPS_SCALE, DicomFile
from hope.formats.dicom_overlay import Overlay

ORIENTATION_TOLERANCE = 0.01
"""Largest difference of direction cosines within one stack."""

GAP_TOLERANCE = 0.2
"""Slice distances may differ by this share of the usual one."""

TILT_LIMIT_DEGREES = 0.5

_BITS = ValueRange(1, 64)
_FRAME_COST = 2  # of the elements that an upload may hold

_NO_AGENT = {"no", "none", "n", "0", "nein", "non", "no contrast", "without", "ohne", "null", "-"}
_PARTS = {"PHASE": "P", "REAL": "R", "IMAGINARY": "I", "MAGNITUDE": "M", "P": "P", "R": "R", "I": "I", "M": "M"}


@dataclass(frozen=True)
class Frame:
    """One image: a classic file, or one frame of an enhanced file.

    Attributes:
        path: its file.
        index: its number within the file, from 0.
        enhanced: it comes from functional groups.
        position: ImagePositionPatient in LPS millimetres, None if absent.
        cosines: ImageOrientationPatient (row, then column), None if absent.
        size: rows and columns in pixels.
        spacing_mm: between rows and between columns, None if absent.
        thickness_mm: distance between slices as stated, else their thickness, None if absent.
        tr_ms: repetition time, None if absent.
        te_ms: echo time, None if absent.
        ti_ms: inversion time, None if absent.
        b_value: of diffusion, None if not stated.
        part: M magnitude, P phase, R real, I imaginary.
        stack: StackID, empty if absent.
        time: temporal position, None if absent.
        echo: EchoNumbers, empty if absent.
        agent: whether a contrast agent is stated as given, None if nothing is stated.
        rescale: slope and intercept that turn stored values into those of one scale for all frames.
        private_scale: Philips' private scale slope of a classic file, None if absent.
        syntax: TransferSyntaxUID of its file.
        bits: BitsAllocated, 16 if absent.
        overlay: where it carries an overlay.
        burned_in: its header states that text is burned into its pixels.
    """

    path: Path
    index: int
    enhanced: bool
    position: tuple[float, float, float] | None
    cosines: tuple[float, ...] | None
    size: tuple[int, int]
    spacing_mm: tuple[float, float] | None
    thickness_mm: float | None
    tr_ms: float | None
    te_ms: float | None
    ti_ms: float | None
    b_value: float | None
    part: str
    stack: str
    time: int | None
    echo: str
    agent: bool | None
    rescale: tuple[float, float] = (1.0, 0.0)
    private_scale: float | None = None
    syntax: str = ""
    bits: int = 16
    overlay: Overlay = Overlay.NONE
    burned_in: bool = False

    @property
    def pixels(self) -> int:
        """How many pixels it claims."""
        return self.size[0] * self.size[1]

    @property
    def compressed(self) -> bool:
        """Whether its pixels are compressed, by a transfer syntax that is known."""
        try:
            return bool(self.syntax) and UID(self.syntax).is_compressed
        except ValueError:
            return False

    @property
    def impossible(self) -> str:
        """What it states that no scanner could mean, in words; else empty."""
        # Some scanners write the distance of slices with a sign, and 0 where they do not know it.
        lengths = [*(self.spacing_mm or ()), *([abs(self.thickness_mm)] if self.thickness_mm else [])]
        wrong = [v for v in lengths if v not in SPACING_MM]
        if wrong:
            return f"it states a spacing of {wrong[0]:g} mm (expected {SPACING_MM})"
        if not all(v in POSITION_MM for v in self.position or ()):
            return f"it lies further away than any scanner reaches (expected {POSITION_MM})"
        return ""


@dataclass(frozen=True)
class StackGeometry:
    """How frames lie to each other.

    Attributes:
        spacing_mm: between slices, None if it cannot be told.
        order: the frames' numbers from the lowest to the highest along the slice normal.
        fault: why they are no even stack, else empty.
    """

    spacing_mm: float | None
    order: tuple[int, ...]
    fault: str


def frames_of(file: DicomFile) -> list[Frame]:
    """Every image in a file; the functional groups of an enhanced one are read frame by frame.

    Raises:
        InputError: if the file claims more images than a file may hold, or the upload more than it may.
    """
    header = file.header
    per_frame = list(header.get("PerFrameFunctionalGroupsSequence") or [])
    shared = next(iter(header.get("SharedFunctionalGroupsSequence") or []), None)
    stated = number(header.get("NumberOfFrames")) or 1
    if stated not in FRAMES:
        raise InputError("a DICOM file claims an impossible number of images", expected=str(FRAMES), got=f"{stated:g}")
    count = int(stated)
    current_budget().parse(_FRAME_COST * max(count, len(per_frame)))
    if not per_frame and shared is None:
        return _alike(_frame(file, 0, []), range(count))
    groups = [shared] if shared is not None else []
    # Frames without a group of their own lie nowhere: they stay, and the stack is refused.
    frames = [_frame(file, i, [item, *groups]) for i, item in enumerate(per_frame)]
    if count > len(per_frame):
        frames += _alike(_frame(file, len(per_frame), groups), range(len(per_frame), count))
    return frames


def _alike(frame: Frame, indices: Iterable[int]) -> list[Frame]:
    """Frames of which nothing but their number is told apart."""
    return [replace(frame, index=index) for index in indices]


def number(value: Any) -> float | None:
    """A finite number, None for anything else; of several values the first."""
    if (isinstance(value, Sequence) and not isinstance(value, (str, bytes))) or hasattr(value, "append"):
        value = next(iter(value), None)
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return result if np.isfinite(result) else None


def number_in(values: ValueRange, value: Any) -> float | None:
    """As `number`, and None for what lies outside of a range."""
    found = number(value)
    return found if found in values else None


def agent_of(value: Any) -> bool | None:
    """Whether a text states that a contrast agent was given; None where it states nothing."""
    text = str(value or "").strip().lower()
    return None if not text else text not in _NO_AGENT


def stack_of(frames: Sequence[Frame]) -> StackGeometry:
    """How frames lie to each other, from their positions alone (LPS; only distances are used)."""
    nominal = frames[0].thickness_mm
    plain = tuple(range(len(frames)))
    if impossible := next((f.impossible for f in frames if f.impossible), ""):
        return StackGeometry(None, plain, impossible)
    placed = [(f.cosines, f.position) for f in frames if f.cosines and f.position]
    if len(placed) < len(frames):
        return StackGeometry(nominal, plain, "an image does not say where it lies")
    cosines = np.array([c for c, _ in placed], dtype=float)
    positions = np.array([p for _, p in placed], dtype=float)
    if np.abs(cosines - cosines[0]).max() > ORIENTATION_TOLERANCE:
        kinds = len({tuple(np.round(c, 1)) for c in cosines})
        return StackGeometry(nominal, plain, f"it mixes images of several orientations ({max(2, kinds)} stacks)")
    if len({f.size for f in frames}) > 1 or len({f.spacing_mm for f in frames}) > 1:
        return StackGeometry(nominal, plain, "it mixes images of several sizes")
    if len(frames) == 1:
        return StackGeometry(nominal, plain, "")
    return _even_stack(frames, cosines, positions, nominal)


def _even_stack(
    frames: Sequence[Frame],
    cosines: npt.NDArray[np.float64],
    positions: npt.NDArray[np.float64],
    nominal: float | None,
) -> StackGeometry:
    normal = np.cross(cosines[0, :3], cosines[0, 3:])
    order = np.argsort(positions @ normal, kind="stable")
    listed = tuple(int(i) for i in order)
    gaps = np.diff((positions @ normal)[order])
    apart = gaps[gaps > 1e-3]
    usual = float(np.median(apart)) if apart.size else 0.0
    double = int((gaps < max(1e-3, GAP_TOLERANCE * usual)).sum())
    if double:
        copies, rest = divmod(len(frames), len(frames) - double)
        if rest == 0 and copies > 1 and len(frames) > copies:
            times = len({f.time for f in frames})
            why = f"{times} points in time" if times == copies else "a time series or several acquisitions"
            return StackGeometry(nominal, listed, f"each of its slices lies there {copies} times ({why})")
        return StackGeometry(nominal, listed, f"{double} slices lie where another one lies already")
    if np.abs(gaps - usual).max() > GAP_TOLERANCE * usual:
        stacks = len({f.stack for f in frames})
        named = f"it holds {stacks} stacks, and between them " if stacks > 1 else ""
        fault = f"{named}slices are missing or uneven: {gaps.min():.1f} to {gaps.max():.1f} mm apart"
        return StackGeometry(usual, listed, fault)
    travel = positions[order[-1]] - positions[order[0]]
    tilt = float(np.degrees(np.arccos(min(1.0, float(travel @ normal) / float(np.linalg.norm(travel))))))
    if tilt > TILT_LIMIT_DEGREES:
        return StackGeometry(usual, listed, f"its slices are sheared by {tilt:.1f} degrees (gantry tilt)")
    return StackGeometry(usual, listed, "")


def _values(places: Sequence[Dataset], sequence: str, name: str) -> Iterator[Any]:
    for place in places:
        for item in list(place.get(sequence) or [])[:1]:
            if (value := item.get(name)) is not None:
                yield value


def _vector(value: Any, length: int) -> tuple[float, ...] | None:
    values = [number(v) for v in value] if isinstance(value, Iterable) and not isinstance(value, str | bytes) else []
    return tuple(v for v in values if v is not None) if len(values) == length and None not in values else None


def _frame(file: DicomFile, index: int, places: Sequence[Dataset]) -> Frame:
    header = file.header

    def group(sequence: str, name: str, plain: str = "") -> Any:
        found = next(_values(places, sequence, name), None)
        return found if found is not None else header.get(plain or name)

    timing, pixels = "MRTimingAndRelatedParametersSequence", "PixelMeasuresSequence"
    position = _vector(group("PlanePositionSequence", "ImagePositionPatient"), 3)
    spacing = _vector(group(pixels, "PixelSpacing"), 2)
    between = number(group(pixels, "SpacingBetweenSlices")) or number(group(pixels, "SliceThickness"))
    time = number_in(
        SERIES_NUMBER, group("FrameContentSequence", "TemporalPositionIndex", "TemporalPositionIdentifier")
    )
    slope = number(group("PixelValueTransformationSequence", "RescaleSlope"))
    intercept = number(group("PixelValueTransformationSequence", "RescaleIntercept"))
    bits = int(number_in(_BITS, header.get("BitsAllocated")) or 16)
    full = (number(header.get("BitsStored")) or bits) >= bits  # no bit of a word is free for an overlay
    return Frame(
        path=file.path,
        index=index,
        enhanced=bool(places),
        position=(position[0], position[1], position[2]) if position else None,
        cosines=_vector(group("PlaneOrientationSequence", "ImageOrientationPatient"), 6),
        size=(_edge(header, "Rows"), _edge(header, "Columns")),
        spacing_mm=(spacing[0], spacing[1]) if spacing else None,
        thickness_mm=between,
        tr_ms=number_in(TIME_MS, group(timing, "RepetitionTime")),
        te_ms=number_in(TIME_MS, group("MREchoSequence", "EffectiveEchoTime", "EchoTime")),
        ti_ms=number_in(TIME_MS, group("MRModifierSequence", "InversionTimes", "InversionTime")),
        b_value=number_in(B_VALUE, group("MRDiffusionSequence", "DiffusionBValue")),
        part=_part(header, places),
        stack=str(group("FrameContentSequence", "StackID", "") or ""),
        time=None if time is None else int(time),
        echo=str(header.get("EchoNumbers", "") or ""),
        agent=_agent(header, places),
        rescale=_one_scale(header, 1.0 if slope is None else slope, 0.0 if intercept is None else intercept),
        private_scale=number(header.get(PHILIPS_SCALE).value) if PHILIPS_SCALE in header else None,
        syntax=file.syntax,
        bits=bits,
        overlay=Overlay.NONE if full and file.overlay is Overlay.IN_PIXELS else file.overlay,
        burned_in=str(header.get("BurnedInAnnotation") or "").strip().upper() == "YES",
    )


def _edge(header: Dataset, name: str) -> int:
    return int(number_in(EDGE_PIXELS, header.get(name)) or 0)


def _one_scale(header: Dataset, slope: float, intercept: float) -> tuple[float, float]:
    """Slope and intercept; where Philips states a scale of its own, (stored * slope + intercept) / (slope * scale)."""
    scale = number(header.get(PHILIPS_SCALE).value) if PHILIPS_SCALE in header else None
    return (1 / scale, intercept / (slope * scale)) if scale and slope else (slope, intercept)


def _part(header: Dataset, places: Sequence[Dataset]) -> str:
    """Magnitude, or another part of a complex image."""
    said = next(_values(places, "MRImageFrameTypeSequence", "ComplexImageComponent"), None)
    said = said if said is not None else header.get("ComplexImageComponent")
    if said is not None:
        return _PARTS.get(str(said).upper(), "M")
    kinds = header.get("ImageType")
    kinds = [] if kinds is None or isinstance(kinds, str) else [str(v).upper() for v in kinds]
    return next((_PARTS[k.split("_")[0]] for k in kinds[2:4] if k.split("_")[0] in ("P", "R", "I", "PHASE")), "M")


def _agent(header: Dataset, places: Sequence[Dataset]) -> bool | None:
    used = next(_values(places, "ContrastBolusUsageSequence", "ContrastBolusAgentAdministered"), None)
    if used is not None:
        return str(used).strip().upper() == "YES"
    agents = [str(item.get("CodeMeaning", "") or "given") for item in header.get("ContrastBolusAgentSequence") or []]
    coded = {agent_of(name) for name in agents}
    stated = agent_of(header.get("ContrastBolusAgent"))
    if stated is None and coded:
        return True in coded
    return stated
