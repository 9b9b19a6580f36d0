"""What each lesion of a mask measures: diameters, volume, whether it counts as measurable, sums over targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from hope.domain.box import bounding_box
from hope.domain.diameters import (
    SliceDiameters,
    largest_product_mm2,
    perpendicular_diameters,
    rough_product_mm2,
)
from hope.domain.grid import FloatArray, Grid
from hope.domain.labels import CC, REGIONS
from hope.domain.slice_shapes import BoolArray, components_2d, filled_2d

PLANES: Final = {"sagittal": 0, "coronal": 1, "axial": 2}
"""Plane -> the RAS axis that its slices are counted along."""

RIGHT_ANGLED: Final = 1e-3
"""Cosine of the angle between two axes of a grid up to which they count as perpendicular: files round their axes."""

_NEAR_ROUGH = 0.9
_EXACT_SLICES = 4
"""Of the slices whose roughly known product is near the largest one, this many are measured finely."""


class CystRule(StrEnum):
    """What becomes of cysts and of what a lesion encloses."""

    OUTER = "outer"
    """The outer contour: cysts (CC) belong to the lesion, and so does whatever it encloses in a slice."""
    SOLID = "solid"
    """The solid wall: chords stay in the region without CC and without what it encloses."""


@dataclass(frozen=True)
class MeasureRule:
    """How lesions are found and measured.

    Attributes:
        region: ``TC`` (ET + NET + CC), ``ET`` or ``WT``: a lesion is a 26-connected component of it.
        cysts: what becomes of cysts and enclosed necrosis.
        three_planes: whether both diameters have to reach the limit in the coronal and sagittal plane, too.
        least_mm: what both diameters of a measurable lesion reach.
        least_ml: smaller components are counted and not measured.
        targets: how many measurable lesions, the largest products first, make the sums.
    """

    region: str = "TC"
    cysts: CystRule = CystRule.OUTER
    three_planes: bool = False
    least_mm: float = 10.0
    least_ml: float = 0.05
    targets: int = 5

    def __post_init__(self) -> None:
        if self.region not in REGIONS:
            raise ValueError(f"{self.region!r} is no region; known: {sorted(REGIONS)}")
        if not (self.least_mm > 0 and self.least_ml >= 0 and self.targets >= 1):
            raise ValueError("limits of measurable lesions must be positive, and at least one must be a target")


@dataclass(frozen=True, eq=False)
class PlaneSize:
    """The diameters of a lesion in one plane.

    Attributes:
        plane: ``axial``, ``coronal`` or ``sagittal``: the slices of the grid that are nearest to it.
        file_axis: the axis of the file (0, 1, 2) that these slices are counted along.
        slice_index: the slice, counted in the file's order from 0.
        shape: both chords in the slice.
        long_ends_ras_mm: (2, 3) ends of the long one in the scan's world.
        short_ends_ras_mm: (2, 3) ends of the short one.
    """

    plane: str
    file_axis: int
    slice_index: int
    shape: SliceDiameters
    long_ends_ras_mm: FloatArray
    short_ends_ras_mm: FloatArray

    def reaches(self, limit_mm: float) -> bool:
        """Whether both diameters reach a limit."""
        return self.shape.short_mm >= limit_mm and self.shape.long_mm >= limit_mm

    def near(self, limit_mm: float) -> bool:
        """Whether one voxel more or less could change the answer of `reaches`."""
        low = self.shape.short_mm - self.shape.short_step_mm
        return low < limit_mm <= self.shape.short_mm + self.shape.short_step_mm


@dataclass(frozen=True, eq=False)
class LesionSize:
    """One lesion.

    Attributes:
        number: from 1, the largest volume first.
        ml: volume of the region that makes the lesion, cysts included.
        centre_ras_mm: (3,) centre of mass in the scan's world.
        planes: the axial plane first; empty where the solid rule leaves nothing to measure.
        measurable: whether both diameters reach the limit in every plane that the rule asks for.
        near_limit: whether one voxel more or less could change that.
    """

    number: int
    ml: float
    centre_ras_mm: FloatArray
    planes: tuple[PlaneSize, ...]
    measurable: bool
    near_limit: bool

    @property
    def product_mm2(self) -> float:
        """Product of the axial diameters, square millimetres; 0 where there are none."""
        return self.planes[0].shape.product_mm2 if self.planes else 0.0


def measure_components(
    components: npt.NDArray[np.integer], labels: npt.NDArray[np.integer], grid: Grid, rule: MeasureRule
) -> list[LesionSize]:
    """Measure each component of a mask.

    Args:
        components: (i, j, k) number of the component, from 1; 0 outside.
        labels: (i, j, k) peds labels on the same grid.
        grid: where the voxels lie.
        rule: how to measure; components smaller than ``rule.least_ml`` are passed over.

    Returns:
        the lesions, the largest volume first.
    """
    counts = np.bincount(components.ravel())
    order = sorted(range(1, len(counts)), key=lambda number: (-counts[number], number))
    found = [number for number in order if counts[number] and counts[number] * grid.voxel_volume_ml >= rule.least_ml]
    lesions = []
    for rank, number in enumerate(found, 1):
        box = bounding_box(components == number)
        if box is None:
            continue
        part = grid.cropped([s.start for s in box], [s.stop for s in box])
        lesion = components[box] == number
        solid: BoolArray = lesion & (labels[box] != CC) if rule.cysts is CystRule.SOLID else lesion
        offset = [s.start for s in box]
        names = ("axial", "coronal", "sagittal") if rule.three_planes else ("axial",)
        sizes = [size for name in names if (size := measure_plane(solid, part, rule, name, offset))]
        complete = len(sizes) == len(names)
        measurable = complete and all(size.reaches(rule.least_mm) for size in sizes)
        near = complete and any(size.near(rule.least_mm) for size in sizes)
        centre = part.to_world(np.argwhere(lesion).mean(axis=0))
        ml = float(counts[number]) * grid.voxel_volume_ml
        lesions.append(LesionSize(rank, ml, centre, tuple(sizes), measurable, near))
    return lesions


def targets_of(lesions: Sequence[LesionSize], rule: MeasureRule) -> list[LesionSize]:
    """The measurable lesions that make the sums: the largest axial products, at most ``rule.targets``."""
    measurable = [lesion for lesion in lesions if lesion.measurable]
    return sorted(measurable, key=lambda lesion: -lesion.product_mm2)[: rule.targets]


def measure_plane(
    lesion: BoolArray, grid: Grid, rule: MeasureRule, plane: str, offset: Sequence[int] = (0, 0, 0)
) -> PlaneSize | None:
    """The two diameters of a lesion on its slice with the largest product of both; None where nothing is left.

    Args:
        lesion: (i, j, k) voxels to measure in.
        grid: of the lesion, any orientation.
        rule: whether enclosed holes count.
        plane: of ``PLANES``.
        offset: of this part in the whole file, voxels.
    """
    order, _ = grid.steps_to("RAS")
    axis = order[PLANES[plane]]
    rest = [other for other in range(3) if other != axis]
    steps = _steps(grid, rest)
    slices = np.moveaxis(lesion, axis, 0)
    candidates = [(largest_product_mm2(shape, *steps), k, shape) for k, shape in _shapes(slices, rule.cysts)]
    candidates.sort(key=lambda candidate: (-candidate[0], candidate[1]))
    rough: list[tuple[float, int, BoolArray]] = []
    for bound, k, shape in candidates:
        if rough and bound <= rough[0][0]:
            break
        rough.append((rough_product_mm2(_cut(shape)[0], *steps), k, shape))
        rough.sort(key=lambda candidate: (-candidate[0], candidate[1]))
    if not rough:
        return None
    near = [candidate for candidate in rough[:_EXACT_SLICES] if candidate[0] >= _NEAR_ROUGH * rough[0][0]]
    sized, k = max(((_in_box(shape, *steps), k) for _, k, shape in near), key=lambda found: found[0].product_mm2)

    def world(ends: FloatArray) -> FloatArray:
        voxels = np.empty((2, 3))
        voxels[:, axis], voxels[:, rest] = k, ends
        return grid.to_world(voxels)

    return PlaneSize(plane, axis, k + offset[axis], sized, world(sized.long_ends), world(sized.short_ends))


def _steps(grid: Grid, axes: Sequence[int]) -> tuple[tuple[float, float], float]:
    """Spacing of rows and columns, mm, and how far each row lies beside the one before it on a sheared grid.

    Args:
        grid: any.
        axes: the file axes of rows and columns.
    """
    spacing_mm = (grid.spacing_mm[axes[0]], grid.spacing_mm[axes[1]])
    row, column = (grid.affine_ras_mm[:3, axis] for axis in axes)
    shear_mm = float(row @ column) / spacing_mm[1]
    if abs(shear_mm) <= RIGHT_ANGLED * spacing_mm[0]:
        return spacing_mm, 0.0
    return (float(np.sqrt(spacing_mm[0] ** 2 - shear_mm**2)), spacing_mm[1]), shear_mm


def _shapes(slices: BoolArray, cysts: CystRule) -> Iterator[tuple[int, BoolArray]]:
    """Slice and shape of each connected part of each slice (k, rows, columns)."""
    for k in np.flatnonzero(slices.any(axis=(1, 2))):
        for shape in components_2d(slices[k]):
            yield int(k), filled_2d(shape) if cysts is CystRule.OUTER else shape


def _cut(shape: BoolArray) -> tuple[BoolArray, FloatArray]:
    """The part of a slice that holds a shape, and where it begins: (row, column)."""
    rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    part = shape[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return part, np.array([rows[0], columns[0]], dtype=np.float64)


def _in_box(shape: BoolArray, spacing_mm: tuple[float, float], shear_mm: float) -> SliceDiameters:
    """`perpendicular_diameters` of the part of the slice that holds the shape; positions are the slice's."""
    part, corner = _cut(shape)
    found = perpendicular_diameters(part, spacing_mm, shear_mm)
    return SliceDiameters(
        found.long_mm,
        found.short_mm,
        found.long_ends + corner,
        found.short_ends + corner,
        found.long_step_mm,
        found.short_step_mm,
    )
