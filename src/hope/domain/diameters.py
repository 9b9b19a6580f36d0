"""The two perpendicular diameters of a shape in one slice: chords that stay inside the mask. numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hope.domain.grid import FloatArray
from hope.domain.slice_shapes import BoolArray, hull_mm, polygon_area

_ANGLE_STEP_DEG = 3.0
_FINE_ANGLE_STEP_DEG = 0.75
_FINE_PARTS = 4
"""The outline is drawn on a grid this many times finer, midway between voxels inside and outside."""

_ROUGH_ANGLE_STEP_DEG = 6.0
_ROUGH_SAMPLES = 64
_SMALL_VOXELS = 50
"""Shapes up to this size are sampled twice a voxel in the first pass, larger ones once."""


Positions = npt.NDArray[np.floating]


@dataclass(frozen=True)
class SliceDiameters:
    """Two perpendicular chords of one shape.

    Attributes:
        long_mm: length of the longest chord inside the shape.
        short_mm: length of the longest chord inside the shape that is perpendicular to the first and crosses it.
        long_ends: ((row, column), (row, column)) of the first, in voxels; whole numbers are voxel centres.
        short_ends: likewise of the second.
        long_step_mm: size of a voxel along the first chord: what one voxel more or less at its ends would change.
        short_step_mm: likewise along the second.
    """

    long_mm: float
    short_mm: float
    long_ends: FloatArray
    short_ends: FloatArray
    long_step_mm: float
    short_step_mm: float

    @property
    def product_mm2(self) -> float:
        """Product of both, square millimetres."""
        return self.long_mm * self.short_mm


def largest_product_mm2(shape: BoolArray, spacing_mm: tuple[float, float], shear_mm: float = 0.0) -> float:
    """A bound that the product of two crossing perpendicular chords of a shape cannot pass, square millimetres.

    Their ends span a quadrilateral of half their product, which lies in the convex hull.

    Args:
        shape: (rows, columns), not empty.
        spacing_mm: of rows and columns.
        shear_mm: as of `hull_mm`.
    """
    return 2 * polygon_area(hull_mm(shape, spacing_mm, shear_mm))


def perpendicular_diameters(shape: BoolArray, spacing_mm: tuple[float, float], shear_mm: float = 0.0) -> SliceDiameters:
    """Measure one connected shape of a slice.

    The outline runs midway between the centres of voxels inside and outside. Directions are tried every 3 degrees, then
    every 0.75 degrees around the best. A direction in which the shape's hull is shorter than the best chord is skipped.

    Args:
        shape: (rows, columns), not empty.
        spacing_mm: of rows and columns.
        shear_mm: as of `hull_mm`.

    Raises:
        ValueError: if the shape is empty.
    """
    if not shape.any():
        raise ValueError("an empty shape has no diameters")
    probe = _Probe(shape, spacing_mm, shear_mm, _FINE_PARTS)
    voxel_mm = min(spacing_mm)
    step_mm = voxel_mm / 2 if max(shape.shape) <= _SMALL_VOXELS else voxel_mm
    best = _longest(probe, _ANGLE_STEP_DEG, step_mm)
    around = np.radians(np.arange(-_ANGLE_STEP_DEG, _ANGLE_STEP_DEG + 0.1, _FINE_ANGLE_STEP_DEG))
    fine = [probe.longest(best.angle + turn, voxel_mm / _FINE_PARTS, near_mm=best.offset_mm) for turn in around]
    # Lengths at a coarse step are rounded up by as much, so that only chords of one step are compared.
    long = max(fine, key=lambda chord: chord.length_mm)
    short = probe.longest_across(long, voxel_mm / _FINE_PARTS)
    return SliceDiameters(
        long.length_mm,
        short.length_mm,
        probe.ends(long),
        probe.ends(short),
        probe.voxel_mm(long.angle),
        probe.voxel_mm(short.angle),
    )


def rough_product_mm2(shape: BoolArray, spacing_mm: tuple[float, float], shear_mm: float = 0.0) -> float:
    """About the product of `perpendicular_diameters`, within some per cent, in a small part of the time.

    Args:
        shape: (rows, columns), not empty.
        spacing_mm: of rows and columns.
        shear_mm: as of `hull_mm`.
    """
    probe = _Probe(shape, spacing_mm, shear_mm, 1)
    step_mm = max(min(spacing_mm), probe.widest_mm() / _ROUGH_SAMPLES)
    long = _longest(probe, _ROUGH_ANGLE_STEP_DEG, step_mm)
    return long.length_mm * probe.longest_across(long, step_mm).length_mm


def _longest(probe: _Probe, angle_step_deg: float, step_mm: float) -> _Chord:
    """The longest chord over all directions."""
    best = _Chord(0.0, 0.0, 0.0, 0.0)
    angles = np.radians(np.arange(0.0, 180.0, angle_step_deg))
    extents = np.array([probe.extent_mm(angle) for angle in angles])
    for turn in np.argsort(-extents, kind="stable"):
        if extents[turn] + step_mm <= best.length_mm:
            break
        best = max(best, probe.longest(float(angles[turn]), step_mm), key=lambda chord: chord.length_mm)
    return best


@dataclass(frozen=True)
class _Chord:
    """A piece of the line ``offset_mm`` beside the origin in the direction ``angle``, around ``middle_mm`` along it."""

    length_mm: float
    angle: float
    offset_mm: float
    middle_mm: float


class _Probe:
    """A shape to be sampled along lines; positions are millimetres across and along its rows from voxel (0, 0)."""

    def __init__(self, shape: BoolArray, spacing_mm: tuple[float, float], shear_mm: float, parts: int) -> None:
        self._spacing, self._shear_mm = np.array(spacing_mm, dtype=np.float64), shear_mm
        self._hull = hull_mm(shape, spacing_mm, shear_mm)
        self._parts = parts
        padded = np.pad(shape, 1)
        self._inside = padded if parts == 1 else _finer(padded, parts)

    def extent_mm(self, angle: float) -> float:
        """How long the hull is in a direction."""
        along = self._hull @ _direction(angle)
        return float(along.max() - along.min())

    def voxel_mm(self, angle: float) -> float:
        """Size of a voxel in a direction."""
        across, along = _direction(angle)
        row_mm, column_mm = self._spacing
        return float(np.linalg.norm([row_mm * across + self._shear_mm * along, column_mm * along]))

    def widest_mm(self) -> float:
        """The longer side of the hull's box."""
        return float((self._hull.max(axis=0) - self._hull.min(axis=0)).max())

    def longest(self, angle: float, step: float, near_mm: float | None = None) -> _Chord:
        """The longest chord in a direction; lines and samples lie ``step`` millimetres apart."""
        across, along = self._hull @ _direction(angle + np.pi / 2), self._hull @ _direction(angle)
        low, high = float(across.min()), float(across.max())
        if near_mm is not None:
            turned = 0.06 * float(along.max() - along.min()) + 2 * float(self._spacing.max())
            low, high = max(low, near_mm - turned), min(high, near_mm + turned)
        if high <= low:
            return _Chord(0.0, angle, low, 0.0)
        offsets = np.arange(low, high + step, step, dtype=np.float64)
        places = np.arange(float(along.min()) - step, float(along.max()) + 2 * step, step)
        inside = self._sampled(angle, offsets, places)
        column = np.arange(len(places))
        run = column - np.maximum.accumulate(np.where(inside, -1, column), axis=1)
        line, last = np.unravel_index(int(run.argmax()), run.shape)
        length = int(run[line, last])
        return _Chord(length * step, angle, float(offsets[line]), float(places[last] - (length - 1) * step / 2))

    def longest_across(self, chord: _Chord, step: float) -> _Chord:
        """The longest chord that is perpendicular to another one and crosses it; samples lie ``step`` mm apart."""
        angle = chord.angle + np.pi / 2
        along = self._hull @ _direction(angle)
        reach = max(abs(float(along.min()) - chord.offset_mm), abs(float(along.max()) - chord.offset_mm)) + step
        half = int(np.ceil(reach / step))
        # Turned by a quarter, what lay along the first chord lies beside the second, with the opposite sign.
        crossing = chord.middle_mm + np.arange(-chord.length_mm / 2, chord.length_mm / 2 + step, step)
        places = chord.offset_mm + step * np.arange(-half, half + 1)
        inside = self._sampled(angle, -crossing, places)
        forward = _until_outside(inside[:, half:])
        backward = _until_outside(inside[:, half::-1])
        length = np.where(inside[:, half], forward + backward - 1, 0)
        line = int(length.argmax())
        middle = chord.offset_mm + step * float(forward[line] - backward[line]) / 2
        return _Chord(float(length[line]) * step, angle, float(-crossing[line]), middle)

    def ends(self, chord: _Chord) -> FloatArray:
        """((row, column), (row, column)) in voxels."""
        middle = chord.middle_mm * _direction(chord.angle) + chord.offset_mm * _direction(chord.angle + np.pi / 2)
        half = chord.length_mm / 2 * _direction(chord.angle)
        return np.array([self._in_voxels(middle - half), self._in_voxels(middle + half)])

    def _in_voxels(self, mm: FloatArray) -> FloatArray:
        """Rows and columns that a way in millimetres (2,) leads over."""
        row = mm[0] / self._spacing[0]
        return np.array([row, (mm[1] - row * self._shear_mm) / self._spacing[1]])

    def _sampled(self, angle: float, offsets: Positions, places: Positions) -> BoolArray:
        """Whether each place (columns) of each line (rows) is inside."""
        (du, dv), (nu, nv) = (self._in_voxels(_direction(turned)) for turned in (angle, angle + np.pi / 2))
        # Fine sample f of padded voxel p lies at (f + 0.5) / parts - 0.5; the padding shifts by one voxel.
        row = ((offsets * nu)[:, None] + places * du + 1.5) * self._parts
        column = ((offsets * nv)[:, None] + places * dv + 1.5) * self._parts
        i = np.clip(row.astype(np.intp), 0, self._inside.shape[0] - 1)
        j = np.clip(column.astype(np.intp), 0, self._inside.shape[1] - 1)
        sampled: BoolArray = self._inside[i, j]
        return sampled


def _direction(angle: float) -> FloatArray:
    return np.array([np.cos(angle), np.sin(angle)])


def _finer(padded: BoolArray, parts: int) -> BoolArray:
    """The inside on a grid that is finer in each direction, by linear interpolation between voxel centres."""
    values = padded.astype(np.float32)
    for axis in (0, 1):
        length = values.shape[axis]
        at = np.clip((np.arange(length * parts) + 0.5) / parts - 0.5, 0, length - 1).astype(np.float32)
        low = np.minimum(at.astype(np.intp), length - 2)
        share = np.expand_dims(at - low, 1 - axis)
        values = np.take(values, low, axis) * (1 - share) + np.take(values, low + 1, axis) * share
    inside: BoolArray = values >= 0.5 - 1e-4
    return inside


def _until_outside(inside: BoolArray) -> FloatArray:
    """How many samples from the first on lie inside without a gap, in each row."""
    outside = np.pad(~inside, ((0, 0), (0, 1)), constant_values=True)
    counts: FloatArray = outside.argmax(axis=1).astype(np.float64)
    return counts
