"""NIfTI headers: shape, voxel type and the one orientation, or the sentence that says why not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from hope.domain.errors import InputError
from hope.domain.grid import FloatArray, Grid, Shape
from hope.domain.limits import DEFAULT_LIMITS
from hope.domain.ranges import POSITION_MM, SPACING_MM

MAX_VOXELS = DEFAULT_LIMITS.voxels
"""Largest volume that is read: about twice 512 x 512 x 512, which no clinical head scan reaches."""

FORM_TOLERANCE_MM = 0.1
"""An sform and a qform that place a corner further apart than this contradict each other."""

SIZE_TOLERANCE = 0.1
"""By this share the voxels of a lone sform may differ from pixdim: under gantry tilt pixdim is measured straight."""

EXPECTED_FILE = "a NIfTI file (.nii or .nii.gz)"

_MAX_OFFSET = 64 * 2**20  # extensions before the voxels: larger ones are not a header any more
_INTEGERS_AND_FLOATS = {"int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"}
_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_COLOUR_OR_COMPLEX = {
    128: "an RGB colour image",
    2304: "an RGBA colour image",
    32: "complex-valued",
    1792: "complex-valued",
    2048: "complex-valued",
}
# nibabel is not typed throughout.
_Nifti1Header: Any = nib.Nifti1Header
_Nifti2Header: Any = nib.Nifti2Header


@dataclass(frozen=True)
class Layout:
    """Where and how a file keeps its voxels."""

    grid: Grid
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float

    @property
    def nbytes(self) -> int:
        """Size of the voxels in the file."""
        return self.grid.voxel_count * self.dtype.itemsize


def truncated(what: str, got: str) -> InputError:
    """Say that a file is not whole."""
    return InputError(
        f"{what} is truncated or damaged", expected="a complete file", got=got, fix="copy or export it again"
    )


def read_layout(file: BinaryIO, what: str) -> Layout:
    """Read and check the header at the start of a decompressed stream.

    Raises:
        InputError: if it is no NIfTI header of one 3D grey-scale image that says where it lies.
    """
    block = file.read(348)
    size = {int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big")}
    if 348 in size and block[344:348] == b"n+1\0":
        header = _Nifti1Header.from_fileobj(BytesIO(block[:348] + bytes(4)), check=False)
    elif 540 in size and block[4:8] == b"n+2\0":
        block += file.read(540 - 348)
        if len(block) < 540:
            raise truncated(what, "a file that ends within its header")
        header = _Nifti2Header.from_fileobj(BytesIO(block + bytes(4)), check=False)
    elif 348 in size and block[344:348] == b"ni1\0":
        raise InputError(
            f"{what} is one half of a two-file NIfTI",
            expected=EXPECTED_FILE,
            fix="convert the pair to a single file, for example with nib-convert scan.hdr scan.nii",
        )
    else:
        raise InputError(
            f"{what} is not a NIfTI file", expected=EXPECTED_FILE, got="other content", fix="check the file"
        )
    shape = _shape(header, what)
    dtype = _dtype(header, what)
    offset = float(header["vox_offset"])
    least = 544 if isinstance(header, nib.Nifti2Header) else 352
    if not math.isfinite(offset) or offset > _MAX_OFFSET or (0 < offset < least) or offset < 0:
        raise truncated(what, f"a header that puts the voxels at byte {offset:g}")
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not math.isfinite(slope) or slope == 0:
        slope, intercept = 1.0, 0.0
    if not math.isfinite(intercept):
        raise InputError(
            f"{what} has a scl_inter that is no number, so the scale of its values is unknown",
            expected="0 or another number",
            got=f"{intercept}",
            fix="convert the scan again, or set the field to 0 (nifti_tool -mod_hdr -mod_field scl_inter 0)",
        )
    return Layout(_grid(header, shape, what), dtype, int(offset) or least, slope, intercept)


def mm_per_unit(header: Any) -> float:
    """Millimetres of the unit of length that a NIfTI header states; 1 where it states none."""
    return _UNIT_MM.get(int(header["xyzt_units"]) & 7, 1.0)


def _shape(header: Any, what: str) -> Shape:
    rank = int(header["dim"][0])
    dims = [int(n) for n in header["dim"][1 : 1 + max(0, min(rank, 7))]]
    if not 3 <= rank <= 7 or min(dims[:3]) < 1:
        got = f"{rank} dimensions of {' x '.join(map(str, dims)) or 'nothing'}"
        raise InputError(f"{what} is not a 3D image", expected="three dimensions", got=got)
    count = math.prod(max(1, n) for n in dims)
    spelled = " x ".join(map(str, dims))
    if count > MAX_VOXELS:
        got = f"{spelled}, {count:.1e} voxels"
        raise InputError(
            f"{what} claims to be far larger than a head scan", expected=f"at most {MAX_VOXELS:.0e} voxels", got=got
        )
    if any(n > 1 for n in dims[3:]):
        got = f"{spelled}, {math.prod(max(1, n) for n in dims[3:])} volumes"
        raise InputError(
            f"{what} holds several volumes", expected="one 3D image", got=got, fix="give a single 3D volume"
        )
    return dims[0], dims[1], dims[2]


def _dtype(header: Any, what: str) -> np.dtype[Any]:
    code = int(header["datatype"])
    kind = {128: "an RGB colour image", 2304: "an RGBA colour image", 32: "complex-valued", 1792: "complex-valued"}.get(
        code
    )
    if kind or code == 2048:
        raise InputError(
            f"{what} is {kind or 'complex-valued'}", expected="a grey-scale image", fix="export the magnitude image"
        )
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError):  # the latter for a code that is none at all
        dtype = None
    if dtype is None or dtype.name not in _INTEGERS_AND_FLOATS:
        raise InputError(
            f"{what} has an unsupported voxel type", expected="integer or float", got=f"NIfTI data type {code}"
        )
    return cast("np.dtype[Any]", dtype)


def _grid(header: Any, shape: Shape, what: str) -> Grid:
    """Return the one orientation that the header gives, in RAS+ mm (NIfTI's own world convention)."""
    scale = mm_per_unit(header)
    _check_spacing([float(s) * scale for s in header["pixdim"][1:4]], what)
    sform = header.get_sform(coded=True)[0]
    qform = _qform(header, what)
    if sform is None and qform is None:
        fix = "give a file with an sform or a qform, for example converted again from DICOM"
        raise InputError(f"{what} does not say how it lies in the scanner (sform and qform codes are 0)", fix=fix)
    grids = [
        _checked_grid(name, form, shape, scale, what)
        for name, form in (("sform", sform), ("qform", qform))
        if form is not None
    ]
    if sform is not None and qform is None:
        _check_pixdim(header, grids[0], scale, what)
    if len(grids) == 2:
        distance = grids[0].largest_corner_distance_mm(grids[1])
        if distance > FORM_TOLERANCE_MM:
            raise InputError(
                f"{what} contradicts itself about where it lies: sform says {_describe(grids[0])}, "
                f"qform says {_describe(grids[1])}, {distance:.1f} mm apart at a corner (limit {FORM_TOLERANCE_MM})",
                fix="correct the wrong one, or set its code to 0",
            )
    return grids[0]


def _check_pixdim(header: Any, grid: Grid, scale: float, what: str) -> None:
    """Refuse a lone sform with voxels of another size than pixdim: programs differ in which of both they believe.

    Only one of them was changed, or the sform lays the scan on a template whose head is larger or smaller.
    """
    stated = [float(s) * scale for s in header["pixdim"][1:4]]
    if all(abs(one / other - 1) <= SIZE_TOLERANCE for one, other in zip(stated, grid.spacing_mm, strict=True)):
        return
    by_pixdim, by_sform = (" x ".join(f"{s:.2f}" for s in sizes) for sizes in (stated, grid.spacing_mm))
    raise InputError(
        f"{what} contradicts itself about the size of its voxels: pixdim says {by_pixdim} mm, sform {by_sform} mm",
        expected="one size, of which volumes can be counted",
        fix="convert the scan again, or correct the wrong one",
    )


def _qform(header: Any, what: str) -> FloatArray | None:
    qfac = float(header["pixdim"][0])
    # The standard reads a qfac of 0 as 1; nibabel refuses everything but 1 and -1.
    header["pixdim"][0] = -1.0 if qfac < 0 else 1.0
    try:
        return cast("FloatArray | None", header.get_qform(coded=True)[0])
    except (ValueError, HeaderDataError) as error:
        raise InputError(f"{what} has a qform that is no rotation", fix="convert the scan again") from error


def _checked_grid(name: str, form: FloatArray, shape: Shape, scale: float, what: str) -> Grid:
    affine = np.array(form, dtype=np.float64)
    affine[:3] *= scale
    try:
        grid = Grid(shape, affine)
    except ValueError as error:
        got = "a matrix that is not finite or flattens the volume"
        raise InputError(f"{what} has an impossible {name}", got=got, fix="convert the scan again") from error
    _check_spacing(grid.spacing_mm, what)
    corners = grid.corners_ras_mm()
    if not all(float(x) in POSITION_MM for x in (corners.min(), corners.max())):
        got = f"a corner at {float(np.abs(corners).max()):g} mm"
        fix = "convert the scan again"
        raise InputError(f"{what} has an impossible {name}", expected=f"corners within {POSITION_MM}", got=got, fix=fix)
    return grid


def _check_spacing(spacing_mm: Sequence[float], what: str) -> None:
    if not all(s in SPACING_MM for s in spacing_mm):
        got = " x ".join(f"{s:g}" for s in spacing_mm)
        expected = f"three positive lengths, each {SPACING_MM}"
        raise InputError(f"{what} has an impossible voxel spacing", expected=expected, got=got)


def _describe(grid: Grid) -> str:
    origin = ", ".join(f"{x:.1f}" for x in grid.to_world([0, 0, 0]))
    return f"{grid.orientation} from ({origin}) mm at {' x '.join(f'{s:.2f}' for s in grid.spacing_mm)} mm"
