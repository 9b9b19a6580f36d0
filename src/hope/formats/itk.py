"""Volumes as SimpleITK images: the place where RAS+ becomes ITK's LPS+."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from hope.domain.grid import FloatArray, Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def to_itk(volume: Volume, world: Transform | None = None) -> Any:
    """Copy a volume into a float32 SimpleITK image at the same place in the world.

    Args:
        volume: (i, j, k) voxels, any orientation, RAS+ grid.
        world: where the image should pretend to lie: a map from the new world to the volume's own.

    Returns:
        A SimpleITK image in LPS+ millimetres. Sheared grids keep their shear in the direction matrix.
    """
    affine: FloatArray = volume.grid.affine_ras_mm
    if world is not None:
        affine = world.inverse().fixed_to_moving_ras_mm @ affine
    lps = _RAS_TO_LPS @ affine
    spacing_mm = np.linalg.norm(lps[:3, :3], axis=0)
    image: Any = sitk.GetImageFromArray(np.ascontiguousarray(volume.data.transpose(2, 1, 0), dtype=np.float32))
    image.SetSpacing([float(s) for s in spacing_mm])
    image.SetOrigin([float(x) for x in lps[:3, 3]])
    image.SetDirection([float(x) for x in (lps[:3, :3] / spacing_mm).ravel()])
    return image


def from_itk(image: Any) -> npt.NDArray[np.float32]:
    """The voxels of a SimpleITK image as an (i, j, k) float32 array; the caller knows its grid."""
    voxels: npt.NDArray[np.float32] = sitk.GetArrayFromImage(image).astype(np.float32).transpose(2, 1, 0)
    return voxels


def interpolated(volume: Volume, onto: Grid, transform: Transform) -> Volume:
    """Read ``volume`` linearly at the voxel centres of ``onto``, as `stages.resample` does, five times as fast.

    Args:
        volume: (i, j, k) image, any orientation.
        onto: the wanted grid, any orientation.
        transform: world of ``onto`` to world of ``volume``, RAS+ mm.

    Returns:
        float32 on ``onto``; 0 further than half a voxel outside the volume. One thread: the same input, the same bits.
    """
    map_lps = _RAS_TO_LPS @ transform.fixed_to_moving_ras_mm @ _RAS_TO_LPS
    make_map: Any = sitk.AffineTransform
    point_map = make_map(3)
    point_map.SetMatrix([float(x) for x in map_lps[:3, :3].ravel()])
    point_map.SetTranslation([float(x) for x in map_lps[:3, 3]])
    lps = _RAS_TO_LPS @ onto.affine_ras_mm
    spacing_mm = np.linalg.norm(lps[:3, :3], axis=0)
    make_filter: Any = sitk.ResampleImageFilter
    reader = make_filter()
    reader.SetSize([int(n) for n in onto.shape])
    reader.SetOutputSpacing([float(s) for s in spacing_mm])
    reader.SetOutputOrigin([float(x) for x in lps[:3, 3]])
    reader.SetOutputDirection([float(x) for x in (lps[:3, :3] / spacing_mm).ravel()])
    reader.SetTransform(point_map)
    reader.SetInterpolator(sitk.sitkLinear)
    reader.SetNumberOfThreads(1)
    return Volume(from_itk(reader.Execute(to_itk(volume))), onto)
