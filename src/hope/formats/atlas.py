"""The atlas: ICBM152 2009a from the pinned nilearn package, seen in the SRI24 frame of the BraTS grid.

Nothing of a template is stored here. What is ours is one 4x4 matrix, fitted by tools/fit_atlas_affine.py;
docs/decisions/0002-atlas.md says why and under which terms.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache, update_wrapper
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

import fill_voids
import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.errors import StageError
from hope.domain.grid import ATLAS_GRID
from hope.domain.transform import Transform
from hope.domain.volume import Volume

SRI24_TO_ICBM = Transform(
    np.array(
        [
            [1.081351, 0.008272, 0.006532, 127.181944],
            [0.012775, 1.029648, 0.223854, -143.383146],
            [0.004862, -0.232268, 1.142546, -52.089970],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
)
"""Where a point of ATLAS_GRID's world lies in the template's world, RAS+ mm (12 degrees of freedom)."""

T = TypeVar("T")

_FILE_NAME = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
_BRAIN_FLOOR = 1.0
"""The stripped T1 is an 8-bit image with 0 outside the brain; interpolation may leave less than 1 at its rim."""


class _Once(Generic[T]):
    """A function without arguments whose result is kept; threads that ask at once wait for one computation."""

    def __init__(self, make: Callable[[], T]) -> None:
        update_wrapper(self, make)
        self._kept, self._lock = lru_cache(maxsize=1)(make), threading.RLock()

    def __call__(self) -> T:
        with self._lock:
            return self._kept()

    def cache_clear(self) -> None:
        """Forget the result."""
        self._kept.cache_clear()


@_Once
def atlas_t1() -> Volume:
    """T1-weighted brain (no skull, 0 outside), float32 on ATLAS_GRID; read-only.

    Raises:
        StageError: if the installed nilearn does not carry the template.
    """
    return _on_atlas_grid(_template("t1"))


@_Once
def atlas_tissue() -> dict[str, Volume]:
    """Grey ("gm") and white matter ("wm") probability 0..1, float32, and the "brain" mask, bool; on ATLAS_GRID.

    Raises:
        StageError: if the installed nilearn does not carry the template.
    """
    return {"gm": _tissue("gm"), "wm": atlas_white_matter(), "brain": atlas_brain()}


@_Once
def atlas_white_matter() -> Volume:
    """White matter's probability alone, 0..1, float32 on ATLAS_GRID; read-only.

    Raises:
        StageError: if the installed nilearn does not carry the template.
    """
    return _tissue("wm")


@_Once
def atlas_brain() -> Volume:
    """The atlas' brain mask alone, bool on ATLAS_GRID; read-only.

    Raises:
        StageError: if the installed nilearn does not carry the template.
    """
    solid = fill_voids.fill(atlas_t1().data >= _BRAIN_FLOOR).astype(bool)
    solid.setflags(write=False)
    return Volume(solid, ATLAS_GRID)


def _tissue(name: str) -> Volume:
    template, affine = _template(name)
    return _on_atlas_grid((template / max(float(template.max()), 1.0), affine))


def _template(name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    # find_spec does not import nilearn, which would take seconds and half of scikit-learn.
    package = find_spec("nilearn")
    folder = Path(package.origin).parent if package and package.origin else None
    path = folder / "datasets" / "data" / _FILE_NAME.format(name) if folder else None
    if path is None or not path.is_file():
        raise StageError("The atlas template is missing: install the nilearn version that this package pins.")
    image: Any = nib.load(path)
    return np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine, dtype=np.float64)


def _on_atlas_grid(template: tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]) -> Volume:
    data, affine = template
    voxel_map = np.linalg.inv(affine) @ SRI24_TO_ICBM.fixed_to_moving_ras_mm @ ATLAS_GRID.affine_ras_mm
    mapped = ndimage.affine_transform(
        data, voxel_map[:3, :3], voxel_map[:3, 3], output_shape=ATLAS_GRID.shape, output=np.float32, order=1
    )
    mapped.setflags(write=False)
    return Volume(mapped, ATLAS_GRID)
