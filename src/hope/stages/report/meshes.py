"""Label surfaces for the 3D view."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage import measure

from hope.domain.box import bounding_box
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.formats.atomic import atomic_output

_marching_cubes: Any = measure.marching_cubes  # scikit-image is not typed throughout

SMOOTHING_MM = 0.8
"""Takes the steps of the voxels away and leaves the volume as it is."""

MAX_FACES = 40_000
"""About 400 kB; a surface with more is taken in coarser steps."""

_MARGIN = 4
_LARGEST_STEP = 6
_PER_MM = 64  # points are kept to 1/64 mm, which halves the file
_MAGIC, _HAS_FACES, _HAS_POINTS = 0x5A4D, 1, 2


@dataclass(frozen=True, eq=False)
class Mesh:
    """A closed surface of triangles.

    Attributes:
        points_ras_mm: (n, 3) float32.
        faces: (m, 3) int32 indices of points, counter-clockwise seen from outside.
    """

    points_ras_mm: npt.NDArray[np.float32]
    faces: npt.NDArray[np.int32]

    @property
    def volume_ml(self) -> float:
        """What it encloses; negative if its faces are inside out."""
        a, b, c = (self.points_ras_mm[self.faces[:, corner]].astype(np.float64) for corner in range(3))
        return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6000)


def label_mesh(labels: Volume, value: int, to_world: Transform) -> Mesh | None:
    """The surface of one label, None if there is none of it.

    Args:
        labels: label volume, any grid; about 1 mm gives the smoothest surface.
        value: which label.
        to_world: world of ``labels`` to the world that the mesh shall lie in, RAS+ mm.
    """
    mask = labels.data == value
    box = bounding_box(mask)
    if box is None:
        return None
    start = np.array([side.start for side in box])
    padded = np.pad(mask[box].astype(np.float32), _MARGIN)
    smooth = ndimage.gaussian_filter(padded, [SMOOTHING_MM / s for s in labels.grid.spacing_mm], mode="constant")
    level = _level_that_keeps_volume(smooth, int(np.count_nonzero(mask)))
    for step in range(1, _LARGEST_STEP):
        try:
            points, faces, _, _ = _marching_cubes(smooth, level, step_size=step, allow_degenerate=False)
        except RuntimeError:
            break  # no surface is found in steps this coarse: the finer one before stays
        mesh = _in_world(points + start - _MARGIN, faces, labels, to_world)
        if len(faces) <= MAX_FACES:
            break
    return mesh


def write_mz3(mesh: Mesh, path: Path) -> None:
    """Write a mesh as gzipped MZ3, little-endian: header, faces, points.

    Raises:
        OutputError: if the file cannot be written.
    """
    kind = _HAS_FACES | _HAS_POINTS
    content = struct.pack("<2H3I", _MAGIC, kind, len(mesh.faces), len(mesh.points_ras_mm), 0)
    content += mesh.faces.astype("<i4").tobytes() + mesh.points_ras_mm.astype("<f4").tobytes()
    with atomic_output(path) as stream:
        stream.write(gzip.compress(content, 6, mtime=0))


def _level_that_keeps_volume(smooth: npt.NDArray[np.float32], voxels: int) -> float:
    """The height that as many voxels exceed as were marked; at one half, small parts would shrink or vanish."""
    order = np.partition(smooth, (-voxels - 1, -voxels), axis=None)
    return float(order[-voxels - 1] + order[-voxels]) / 2


def _in_world(
    voxels: npt.NDArray[np.float64], faces: npt.NDArray[np.int32], labels: Volume, to_world: Transform
) -> Mesh:
    points = np.rint(to_world.apply(labels.grid.to_world(voxels)) * _PER_MM) / _PER_MM
    mesh = Mesh(points.astype(np.float32), np.ascontiguousarray(faces, dtype=np.int32))
    # Whether the order of the corners is right depends on the handedness of the grid, which half of all scans flip.
    return mesh if mesh.volume_ml >= 0 else Mesh(mesh.points_ras_mm, np.ascontiguousarray(mesh.faces[:, ::-1]))
