"""Images in memory to volumes and files, and back: nibabel, SimpleITK and `hope.Volume`."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import nibabel as nib
import numpy as np
import numpy.typing as npt

from hope.domain.errors import InputError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.formats.nifti_header import mm_per_unit
from hope.formats.reading import input_error

if TYPE_CHECKING:
    import SimpleITK as sitk

ImageLike: TypeAlias = "str | os.PathLike[str] | nib.spatialimages.SpatialImage | sitk.Image | Volume"
"""What stands for one scan or mask: a path, or an image that knows where its voxels lie."""

_EXPECTED = "a path, a nibabel image, a SimpleITK image or a hope.Volume"
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SLOPE_OFFSET = 112
"""Where a NIfTI-1 header holds scl_slope and scl_inter (nifti1.h)."""


def from_nibabel(image: Any, what: str = "the image") -> Volume:
    """Take a nibabel image as a volume.

    Args:
        image: any 3D nibabel image; trailing axes of length 1 are dropped.
        what: its role, for error sentences.

    Returns:
        (i, j, k) voxels in file order, scaling applied: unsigned integers stay as they are, all else becomes float32.
        The grid is the image's affine (RAS+), in mm whatever unit its NIfTI header states.

    Raises:
        InputError: if it is not a 3D grey-scale image with a usable affine, or cannot be read.
    """
    try:
        data = np.asanyarray(image.dataobj)
    except (OSError, EOFError) as error:
        raise _unreadable(what, error) from error
    affine = np.asarray(image.affine, dtype=np.float64)
    if isinstance(image, nib.Nifti1Pair):
        affine = np.diag([*[mm_per_unit(image.header)] * 3, 1.0]) @ affine
    return _volume(data, affine, what)


def to_nibabel(volume: Volume) -> nib.Nifti1Image:
    """Give a volume as a NIfTI-1 image of nibabel; the voxels are shared where NIfTI knows their type.

    Args:
        volume: any; truth values become uint8, half floats float32, 64-bit integers int32 or float64. Its affine
            becomes sform and, without its shear, qform (code 1, millimetres).
    """
    image: Any = _new_image(_storable(volume.data), volume.grid.affine_ras_mm, None)
    image.header.set_xyzt_units("mm")
    image.set_sform(volume.grid.affine_ras_mm, code=1)
    image.set_qform(volume.grid.affine_ras_mm, code=1, strip_shears=True)
    made: nib.Nifti1Image = image
    return made


def from_simpleitk(image: sitk.Image, what: str = "the image") -> Volume:
    """Take a SimpleITK image as a volume.

    Args:
        image: 3D, one component; origin, spacing and direction in ITK's LPS+ millimetres.
        what: its role, for error sentences.

    Returns:
        (i, j, k) voxels in ITK's index order, a copy; the grid in RAS+ mm. Types as in `from_nibabel`.

    Raises:
        InputError: if it has not three axes, or more than one component.
    """
    import SimpleITK as sitk

    known: Any = image
    axes, values = known.GetDimension(), known.GetNumberOfComponentsPerPixel()
    if axes != 3 or values != 1:
        got = f"{axes} axes, {values} values in a voxel"
        raise InputError(f"{what} is not one 3D grey-scale image", expected="three axes, one value", got=got)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(known.GetDirection(), (3, 3)) * np.asarray(known.GetSpacing())
    affine[:3, 3] = known.GetOrigin()
    return _volume(sitk.GetArrayFromImage(known).transpose(2, 1, 0), _LPS_TO_RAS @ affine, what)


def to_simpleitk(volume: Volume) -> sitk.Image:
    """Give a volume as a SimpleITK image, a copy.

    Args:
        volume: any whose axes are at right angles.

    Raises:
        InputError: if the grid is sheared, which ITK's direction cannot say.
    """
    import SimpleITK as sitk

    affine = _LPS_TO_RAS @ volume.grid.affine_ras_mm
    spacing = np.asarray(volume.grid.spacing_mm)
    direction = affine[:3, :3] / spacing
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4):
        raise InputError(
            "the volume's axes are not at right angles", expected="a grid without shear", fix="resample it first"
        )
    image: Any = sitk.GetImageFromArray(np.ascontiguousarray(volume.data.transpose(2, 1, 0)))
    image.SetSpacing(spacing.tolist())
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    made: sitk.Image = image
    return made


def as_file(image: ImageLike, folder: Path, name: str) -> Path:
    """The file of an image: its own path, or a NIfTI-1 file in ``folder`` with the same stored values and grid.

    A nibabel image that still reads from its file keeps the stored integers and their scale, so that it gives the same
    voxels as the file itself.

    Args:
        image: see `ImageLike`.
        folder: a private directory.
        name: its role, such as ``t1c``: names the file, and the image in error sentences.

    Raises:
        InputError: if it is no such image, or NIfTI cannot hold it.
    """
    if isinstance(image, str | os.PathLike):
        return Path(os.path.expanduser(image))  # noqa: PTH111 - Path.expanduser raises for an unknown user
    path = folder / f"{name}.nii"
    if isinstance(image, Volume):
        nib.save(to_nibabel(image), path)
    elif isinstance(image, nib.spatialimages.SpatialImage):
        _save_nibabel(image, path, name)
    elif type(image).__module__.partition(".")[0] == "SimpleITK":
        nib.save(to_nibabel(from_simpleitk(image, name)), path)
    else:
        fix = "an array alone does not say where its voxels lie: make a hope.Volume with a hope.Grid of it"
        got = f"a {type(image).__module__}.{type(image).__qualname__}"
        raise InputError(f"{name} is no image", expected=_EXPECTED, got=got, fix=fix if _is_array(image) else "")
    return path


def _save_nibabel(image: Any, path: Path, what: str) -> None:
    stored: Any = image.dataobj
    scaled = hasattr(stored, "get_unscaled")
    try:
        data = stored.get_unscaled() if scaled else np.asanyarray(stored)
    except (OSError, EOFError) as error:
        raise _unreadable(what, error) from error
    known = image.header if isinstance(image, nib.Nifti1Pair) else None
    plain = _storable(np.asarray(data))
    try:
        nib.save(_new_image(plain, image.affine, known), path)
    except (nib.spatialimages.HeaderDataError, ValueError, TypeError) as error:
        raise InputError(f"{what} cannot be held by a NIfTI file", expected="a 3D grey-scale image") from error
    if scaled and (stored.slope, stored.inter) != (1, 0):
        written: Any = nib.load(path)
        with path.open("r+b") as file:
            file.seek(_SLOPE_OFFSET)
            file.write(struct.pack(f"{written.header.endianness}ff", float(stored.slope), float(stored.inter)))


def _new_image(data: npt.NDArray[Any], affine: Any, header: Any) -> nib.Nifti1Image:
    make: Any = nib.Nifti1Image
    image: nib.Nifti1Image = make(data, affine, header, dtype=data.dtype)
    return image


def _storable(data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same values in a type that NIfTI-1 knows: no truth values, half floats or 64-bit integers."""
    if data.dtype == bool:
        return data.astype(np.uint8)
    if data.dtype == np.float16:
        return data.astype(np.float32)
    if data.dtype.kind in "iu" and data.dtype.itemsize == 8:
        fits = data.size == 0 or (data.min() >= -(2**31) and data.max() < 2**31)
        return data.astype(np.int32 if fits else np.float64)
    return data


def _volume(data: npt.NDArray[Any], affine: npt.NDArray[np.float64], what: str) -> Volume:
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim != 3 or data.dtype.kind not in "biuf":
        got = f"{data.ndim} axes of {data.dtype}"
        raise InputError(f"{what} is not one 3D grey-scale image", expected="three axes of numbers", got=got)
    try:
        grid = Grid((data.shape[0], data.shape[1], data.shape[2]), affine)
    except ValueError as error:
        raise InputError(f"{what} has no usable affine: {error}") from error
    return Volume(data if data.dtype.kind == "u" else data.astype(np.float32), grid)


def _unreadable(what: str, error: Exception) -> InputError:
    if isinstance(error, OSError) and error.errno:
        return input_error(what, error)
    return InputError(f"{what} cannot be read", got="a file that ends early or is damaged", fix="copy it again")


def _is_array(value: object) -> bool:
    return hasattr(value, "__array__")
