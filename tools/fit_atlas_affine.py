"""Fit the affine of hope.formats.atlas again: python tools/fit_atlas_affine.py SRI24_T1 SRI24_TISSUES.

The two SRI24 volumes (240x240x155, 1 mm) are not part of this project; only the resulting matrix is.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import nibabel as nib
import numpy as np
from picsl_greedy import Greedy3D

from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.volume import Volume
from hope.formats.itk import to_itk

UPRIGHT = ATLAS_GRID.reoriented("RAS")
COMMAND = (
    "-d 3 -a -dof 12 -m NCC 4x4x4 -i sri24 icbm -ia-image-centers -n 100x50x20 -o found -threads 1 -seed 20240 -V 0"
)


def on_atlas_grid(path: Path) -> np.ndarray:
    """Voxels in RAS order; SRI24's own header is not the one that BraTS files carry, its voxel order is."""
    return np.squeeze(np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)).astype(np.float32)


def main(t1_path: Path, tissue_path: Path) -> None:
    """Register the template's brain to SRI24's brain and print the point map SRI24 world -> template world."""
    brain = on_atlas_grid(tissue_path) > 0
    sri24 = Volume(on_atlas_grid(t1_path) * brain, UPRIGHT)
    folder = Path(find_spec("nilearn").origin).parent / "datasets" / "data"
    image = nib.load(folder / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
    icbm = Volume(np.asarray(image.dataobj, dtype=np.float32), Grid(image.shape, image.affine))
    greedy = Greedy3D()
    greedy.execute(COMMAND, out=StringIO(), sri24=to_itk(sri24), icbm=to_itk(icbm), found=None)
    sys.stdout.write(
        np.array2string(np.array(greedy["found"]), separator=", ", precision=6, suppress_small=True) + "\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
