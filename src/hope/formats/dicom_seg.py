"""A mask as a DICOM segmentation of the series that it was made on."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import highdicom as hd
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.labels import PEDS, Label
from hope.domain.volume import Volume
from hope.formats.dicom_codes import ABNORMAL_STRUCTURE, ARTIFICIAL_INTELLIGENCE, BRAIN, TISSUES, Code
from hope.formats.dicom_source import SourceSeries, making_objects
from hope.formats.label_files import rgb

MANUFACTURER = "HOPE platform"
GRID_TOLERANCE_MM = 0.05
"""Voxel centres of a mask and of the series may lie this far apart: files round positions and cosines."""


@dataclass(frozen=True)
class Algorithm:
    """What made a mask.

    Attributes:
        model: id of the model.
        version: of the model, or of this software where a model states none.
        sha256: of the model's bundle; empty if not known.
        software: version of this software.
        corrected: whether a person corrected the mask.
        warnings: how many the result carries.
    """

    model: str
    version: str
    sha256: str
    software: str
    corrected: bool = False
    warnings: int = 0


@dataclass(frozen=True)
class ObjectUIDs:
    """The UIDs of one object: of its series, and its own."""

    series: str
    instance: str


def on_series_grid(mask: Volume, grid: Grid) -> Volume | None:
    """The voxels of a mask in the order of a series; None if they are not the same voxels.

    Args:
        mask: any order of axes, any flips, RAS+ mm.
        grid: of the series, RAS+ mm.
    """
    to_mask = np.linalg.inv(mask.grid.affine_ras_mm) @ grid.affine_ras_mm
    steps = np.rint(to_mask[:3, :3])
    if np.abs(steps).sum(axis=0).tolist() != [1, 1, 1] or np.abs(steps).sum(axis=1).tolist() != [1, 1, 1]:
        return None
    order = [int(np.flatnonzero(steps[:, axis])[0]) for axis in range(3)]
    flips = [steps[order[axis], axis] < 0 for axis in range(3)]
    data = mask.data.transpose(order)[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
    listed = Volume(data, _reordered(mask.grid, order, flips))
    return Volume(data, grid) if listed.grid.same_as(grid, GRID_TOLERANCE_MM) else None


def _reordered(grid: Grid, order: list[int], flips: list[Any]) -> Grid:
    shape = [grid.shape[axis] for axis in order]
    steps = np.zeros((4, 4))
    steps[3, 3] = 1.0
    for new, old in enumerate(order):
        steps[old, new] = -1.0 if flips[new] else 1.0
        steps[old, 3] = shape[new] - 1 if flips[new] else 0.0
    return Grid((shape[0], shape[1], shape[2]), grid.affine_ras_mm @ steps)


def make_segmentation(
    mask: Volume,
    source: SourceSeries,
    algorithm: Algorithm,
    uids: ObjectUIDs,
    tracking: Mapping[str, str],
    labelmap: bool = False,
) -> Dataset:
    """Make the segmentation: a segment for each label that is there.

    Args:
        mask: peds labels on the grid of the series, as `on_series_grid` lists them.
        source: the series; the object carries its identity and its frame of reference.
        algorithm: what made the mask.
        uids: of the object.
        tracking: label key -> UID that is equal on every date of the patient.
        labelmap: one frame a slice that holds the labels' own numbers, which fewer programs read; else a bit a voxel
            and segment, numbered from 1.

    Raises:
        InputError: if the mask holds no label, or the headers cannot be carried into an object.
    """
    present = [label for label in PEDS.labels if bool((mask.data == label.value).any())]
    if not present:
        raise InputError("the mask is empty, so there is nothing to segment", fix="export the report alone")
    numbers = segment_numbers(present, labelmap)
    voxels = mask.data.transpose(2, 1, 0)  # slices, rows, columns
    renumbered = np.zeros(voxels.shape, dtype=np.uint8)
    for label in present:
        renumbered[voxels == label.value] = numbers[label.key]
    with making_objects():
        volume = hd.Volume(
            renumbered,
            _lps_affine(mask.grid),
            coordinate_system="PATIENT",
            frame_of_reference_uid=str(source.headers[0].FrameOfReferenceUID),
        )
        made = hd.seg.Segmentation(
            source_images=list(source.headers),
            pixel_array=volume,
            segmentation_type="LABELMAP" if labelmap else "BINARY",
            segment_descriptions=[_description(one, numbers[one.key], algorithm, tracking) for one in present],
            series_instance_uid=uids.series,
            series_number=series_number(source, 1),
            sop_instance_uid=uids.instance,
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=algorithm.model,
            software_versions=algorithm.software,
            device_serial_number=algorithm.sha256[:16] or "none",
            content_description="Parts of a brain tumour; research use only",
            content_label="TUMOUR",
            transfer_syntax_uid=RLELossless if labelmap else ExplicitVRLittleEndian,
            series_description=described("HOPE tumour parts", algorithm),
            specific_character_set=None,  # the library refuses sets that it does not list, such as the Korean one
        )
        state_character_set(made, source)
        _check(made, renumbered, mask.grid, labelmap)
    return made


def segment_numbers(present: list[Label], labelmap: bool) -> dict[str, int]:
    """Label key -> segment number: without gaps from 1, or the labels' own values in a label map."""
    return {label.key: label.value if labelmap else place for place, label in enumerate(present, start=1)}


def dicom_bytes(dataset: Dataset) -> bytes:
    """The bytes of the file of a data set.

    Raises:
        InputError: if a value of it cannot be written.
    """
    stream = io.BytesIO()
    with making_objects():
        dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def concept(code: Code) -> hd.sr.CodedConcept:
    """A code as the library wants it."""
    return hd.sr.CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning)


def described(what: str, algorithm: Algorithm) -> str:
    """SeriesDescription of an object: archives list it beside the scans, so it says that there are warnings."""
    warned = f", {algorithm.warnings} WARNING{'S' if algorithm.warnings > 1 else ''}" if algorithm.warnings else ""
    return f"{what}{warned} (research use only)"


def state_character_set(made: Dataset, source: SourceSeries) -> None:
    """State the character set of the series, in which the object's names are written."""
    if source.character_set:
        made.SpecificCharacterSet = source.character_set


def series_number(source: SourceSeries, offset: int) -> int:
    """SeriesNumber of an object of the series: far from the scanner's own, and another for each kind of object."""
    return 9000 + offset + 10 * (int(source.headers[0].get("SeriesNumber") or 0) % 1000)


def _lps_affine(grid: Grid) -> npt.NDArray[np.float64]:
    """Index (slice, row, column) to LPS mm."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine_ras_mm
    return np.asarray(lps[:, [2, 1, 0, 3]])


def _description(
    label: Label, number: int, algorithm: Algorithm, tracking: Mapping[str, str]
) -> hd.seg.SegmentDescription:
    how = hd.AlgorithmIdentificationSequence(
        name=algorithm.model,
        family=concept(ARTIFICIAL_INTELLIGENCE),
        version=algorithm.version,
        source=MANUFACTURER,
        parameters={"sha256": algorithm.sha256} if algorithm.sha256 else None,
    )
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label.name,
        segmented_property_category=concept(ABNORMAL_STRUCTURE),
        segmented_property_type=concept(TISSUES[label.key]),
        algorithm_type="SEMIAUTOMATIC" if algorithm.corrected else "AUTOMATIC",
        algorithm_identification=how,
        tracking_uid=tracking[label.key],
        tracking_id=f"HOPE {label.key}",
        anatomic_regions=[concept(BRAIN)],
        display_color=hd.color.CIELabColor.from_rgb(*rgb(label)),
    )


def _check(made: hd.seg.Segmentation, voxels: npt.NDArray[np.uint8], grid: Grid, labelmap: bool) -> None:
    """Read the object back: every labelled voxel stands where it was, and refers to the image at its place.

    Raises:
        RuntimeError: if it does not; that is our fault, and nothing must leave.
    """
    whole = hd.Volume(voxels, _lps_affine(grid), "PATIENT", str(made.FrameOfReferenceUID))
    read = made.get_volume(combine_segments=True, skip_overlap_checks=True).match_geometry(whole)
    if read.shape != voxels.shape or not np.allclose(read.affine, whole.affine, atol=GRID_TOLERANCE_MM):
        raise RuntimeError("the segmentation that was made lies on another grid than the mask")
    if not np.array_equal(np.asarray(read.array), voxels):
        raise RuntimeError("the segmentation that was made differs from the mask")
