"""Shape of the region: its surface as a triangle mesh, its diameters, its axes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Final

import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from skimage.measure import marching_cubes

from hope.stages.postprocess.radiomics.region import BoolArray, FloatArray, IntArray, Region

CORNERS: Final = tuple(product((0, 1), repeat=3))
"""The corners of a cube between eight voxel centres; corner c is bit c of the cube's kind."""

KINDS: Final = 256
TURNING_CORNER: Final = 1 << CORNERS.index((1, 1, 0))
"""A cube with this corner inside gets the triangles of its complement, turned round.

That is the convention of the published features; it settles the cubes that can be cut in more than one way.
"""

NEGATIVE_BY_ROUNDING: Final = -1e-10
"""An eigenvalue between this and 0 is 0."""


def shape_features(region: Region) -> dict[str, float]:
    """The 14 features in millimetres; slice, column and row are the planes of a file in LPS."""
    spacing = np.array(region.spacing_mm)
    area, volume = mesh_area_and_volume(np.pad(region.inside, 1), spacing)
    edges = edge_points(np.pad(region.inside, 1))
    lengths = _axis_lengths_mm(np.argwhere(region.inside) * spacing)
    least, minor, major = lengths
    return {
        "Elongation": minor / major,
        "Flatness": least / major,
        "LeastAxisLength": least,
        "MajorAxisLength": major,
        "Maximum2DDiameterColumn": widest_in_plane_mm(edges, spacing, 1),
        "Maximum2DDiameterRow": widest_in_plane_mm(edges, spacing, 2),
        "Maximum2DDiameterSlice": widest_in_plane_mm(edges, spacing, 0),
        "Maximum3DDiameter": widest_mm(edges, spacing),
        "MeshVolume": volume,
        "MinorAxisLength": minor,
        "Sphericity": float(np.cbrt(36 * np.pi * volume**2)) / area,
        "SurfaceArea": area,
        "SurfaceVolumeRatio": area / volume,
        "VoxelVolume": int(np.count_nonzero(region.inside)) * region.voxel_volume_mm3,
    }


@dataclass(frozen=True)
class _Facets:
    """The triangles of one kind of cube, corners in units of voxels; a cube's own corner 0 is the origin."""

    triangles: FloatArray
    """(t, 3, 3)"""

    def area(self, spacing: FloatArray) -> float:
        a, b, c = np.moveaxis(self.triangles * spacing, 1, 0)
        return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2

    def six_volumes(self, spacing: FloatArray) -> tuple[float, FloatArray]:
        """Six times the volume between the triangles and the cube's corner 0, and how it grows as the cube moves."""
        a, b, c = np.moveaxis(self.triangles * spacing, 1, 0)
        slope = (np.cross(a, b) + np.cross(b, c) + np.cross(c, a)).sum(axis=0)
        return float(np.linalg.det(self.triangles * spacing).sum()), slope


@lru_cache(maxsize=1)
def _facets() -> dict[int, _Facets]:
    """The triangles of the kinds of cube whose turning corner is outside: the classic table, asked of scikit-image."""
    kinds = {}
    for kind in range(1, KINDS):
        if kind & TURNING_CORNER:
            continue
        cube = np.array([kind >> corner & 1 for corner in range(len(CORNERS))], dtype=np.float32).reshape(2, 2, 2)
        points, triangles, _, _ = marching_cubes(  # type: ignore[no-untyped-call]
            cube, 0.5, method="lorensen", gradient_direction="ascent"
        )
        kinds[kind] = _Facets(points[triangles].astype(np.float64))
    return kinds


def mesh_area_and_volume(padded: BoolArray, spacing: FloatArray) -> tuple[float, float]:
    """Area (mm2) and enclosed volume (mm3) of the mesh through the middles between voxels inside and outside.

    Args:
        padded: (k, j, i) mask with an empty margin of one voxel.
        spacing: (3,) millimetres along k, j, i.
    """
    kinds = np.zeros([n - 1 for n in padded.shape], dtype=np.uint8)
    for corner, (k, j, i) in enumerate(CORNERS):
        part = padded[k : k + kinds.shape[0], j : j + kinds.shape[1], i : i + kinds.shape[2]]
        kinds |= part.astype(np.uint8) << np.uint8(corner)
    turned = (kinds & TURNING_CORNER) > 0
    kinds[turned] ^= np.uint8(KINDS - 1)
    cut = kinds > 0
    where = np.argwhere(cut) * spacing
    kind, sign = kinds[cut], np.where(turned[cut], -1.0, 1.0)
    count, signs = np.bincount(kind, minlength=KINDS), np.bincount(kind, sign, KINDS)
    places = np.stack([np.bincount(kind, sign * where[:, axis], KINDS) for axis in range(3)], axis=1)
    area = six_volumes = 0.0
    for number in np.flatnonzero(count):
        facets = _facets()[int(number)]
        own, slope = facets.six_volumes(spacing)
        area += float(count[number]) * facets.area(spacing)
        # Where two cut cubes disagree the mesh has a gap, so each cube's place has its part in the sum.
        six_volumes += float(signs[number]) * own + float(places[number] @ slope)
    return area, six_volumes / 6


def edge_points(padded: BoolArray) -> IntArray:
    """(n, 3) points halfway between face neighbours of which one is inside; k, j, i in half voxels, without repeats."""
    points = []
    for axis in range(3):
        crossing = np.argwhere(np.diff(padded.view(np.int8), axis=axis))
        step = np.zeros(3, dtype=np.int64)
        step[axis] = 1
        points.append(2 * crossing + step)
    return np.concatenate(points)


def _ends_of_rows(points: IntArray, axis: int) -> IntArray:
    """Of the points that differ along ``axis`` alone, the first and the last: no others can be the farthest apart."""
    others = [other for other in range(3) if other != axis]
    order = np.lexsort((points[:, axis], points[:, others[1]], points[:, others[0]]))
    sorted_points = points[order]
    new_row = (np.diff(sorted_points[:, others], axis=0) != 0).any(axis=1)
    ends: IntArray = sorted_points[np.append(True, new_row) | np.append(new_row, True)]
    return ends


def widest_mm(points: IntArray, spacing: FloatArray) -> float:
    """Largest distance between two of the points (half voxels)."""
    for axis in range(3):
        points = _ends_of_rows(points, axis)
    placed = points * (spacing / 2)
    return float(pdist(placed[ConvexHull(placed).vertices]).max())


def widest_in_plane_mm(points: IntArray, spacing: FloatArray, axis: int) -> float:
    """Largest distance between two of the points (half voxels) that agree along ``axis``."""
    first, second = (other for other in range(3) if other != axis)
    ends = _ends_of_rows(_ends_of_rows(points, first), second)
    ends = ends[np.argsort(ends[:, axis], kind="stable")]
    planes = np.split(ends, np.flatnonzero(np.diff(ends[:, axis])) + 1)
    return max(float(pdist(plane * (spacing / 2)).max(initial=0.0)) for plane in planes)


def _axis_lengths_mm(points_mm: FloatArray) -> tuple[float, float, float]:
    """Least, minor and major axis of the ellipsoid with the same spread: four standard deviations along each.

    An eigenvalue that is negative beyond rounding gives NaN.
    """
    centred = (points_mm - points_mm.mean(axis=0)) / np.sqrt(len(points_mm))
    eigenvalues = np.linalg.eigvals(centred.T.copy() @ centred)
    eigenvalues[(eigenvalues < 0) & (eigenvalues > NEGATIVE_BY_ROUNDING)] = 0
    with np.errstate(invalid="ignore"):
        least, minor, major = 4 * np.sqrt(np.sort(eigenvalues))
    return float(least), float(minor), float(major)
