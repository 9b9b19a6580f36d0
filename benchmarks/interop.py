"""What others' programs make of our files: dcmqi, dciodvfy, bids-validator and slicerio; `make interop` runs it.

python benchmarks/interop.py --programs DIR [--series DICOM_DIRECTORY ...]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom

from hope.domain.grid import Grid
from hope.domain.labels import PEDS
from hope.domain.volume import Volume
from hope.export.bids import export_derivatives
from hope.export.dicom import export_objects
from hope.export.stored_result import read_result, read_results
from hope.formats.dicom import convert_series, read_series
from hope.formats.label_files import slicer_bytes
from hope.stages.intake.intake import hash_volume
from hope.testing.dicom_series import SeriesRecipe, write_series
from hope.testing.stored_results import labelled, write_stored_result


def synthetic_series(folder: Path) -> list[Path]:
    """Turned series with flipped axes."""
    made = []
    for number, flips in enumerate([(1, 1, 1), (1, -1, 1), (-1, 1, -1), (-1, -1, -1)], start=1):
        turn, _ = np.linalg.qr(np.array([[1.0, 0.2, -0.1], [-0.2, 1, 0.15], [0.1, -0.15, 1]]))
        affine = np.eye(4)
        affine[:3, :3] = turn @ np.diag(np.array([0.9, 1.1, 3.0]) * flips)
        scan = np.random.default_rng(number).integers(0, 900, (40, 36, 16)).astype(np.float32)
        write_series(Volume(scan, Grid((40, 36, 16), affine)), folder / str(number), SeriesRecipe(number, "t1"))
        made.append(folder / str(number))
    return made


def check_series(directory: Path, programs: Path, work: Path) -> int:
    """Mask -> SEG -> dcmqi -> NIfTI, and dciodvfy on both objects; returns the number of failures."""
    (series,) = read_series(directory)
    volume, _ = convert_series(series, work, "t1c")
    middle = [n // 2 for n in volume.grid.shape]
    mask = labelled(volume.grid)
    mask.data[middle[0] - 6 : middle[0] + 6, middle[1] - 4 : middle[1] + 5, middle[2] - 2 : middle[2] + 2] = 4
    write_stored_result(work / "result", mask, scan_sha256=hash_volume(volume), from_dicom=True)
    written = export_objects(read_result(work / "result"), directory, work / "objects").files
    failures = 0
    for path in written:
        if validator := shutil.which("dciodvfy"):
            said = subprocess.run([validator, "-new", path], capture_output=True, text=True, check=False).stderr
            errors = [line for line in said.splitlines() if line.startswith("Error")]
            failures += len(errors)
            print(f"  dciodvfy, {path.name}: {len(errors)} errors")
        else:
            failures += 1
            print("  dciodvfy is not installed (Debian package dicom3tools)")
    read = work / "read"
    read.mkdir()
    command = [programs / "segimage2itkimage", "--inputDICOM", written[0], "--outputDirectory", read, "-t", "nifti"]
    subprocess.run(command, check=True, capture_output=True)
    values = {label.name: label.value for label in PEDS.labels}
    differing = total = 0
    for segment in pydicom.dcmread(written[0]).SegmentSequence:
        image = nib.load(read / f"{segment.SegmentNumber}.nii.gz")
        places = nib.affines.apply_affine(image.affine, np.argwhere(np.asarray(image.dataobj)))
        back = np.zeros(mask.grid.shape, dtype=bool)
        back[tuple(np.rint(mask.grid.to_voxel(places)).astype(int).T)] = True
        differing += int((back != (mask.data == values[str(segment.SegmentLabel)])).sum())
        total += int(back.sum())
    print(f"  dcmqi: {differing} of {total} voxels differ")
    return failures + differing + check_slicer(programs, mask, work)


SLICERIO = """
import json, sys, numpy, slicerio
read = slicerio.read_segmentation(sys.argv[1])
numpy.save(sys.argv[2], read["voxels"])
names = {one["name"]: one["labelValue"] for one in read["segments"]}
print(json.dumps({"ijk_to_lps": numpy.asarray(read["ijkToLPS"]).tolist(), "names": names}))
"""
"""Reads a .seg.nrrd in the environment of the others' programs: voxels to a file, the rest as JSON."""


def check_slicer(programs: Path, mask: Volume, work: Path) -> int:
    """Mask -> .seg.nrrd -> slicerio; returns the number of voxels, and of corners of the grid, that differ."""
    (work / "mask.seg.nrrd").write_bytes(slicer_bytes(mask))
    command = [programs / "python", "-c", SLICERIO, work / "mask.seg.nrrd", work / "voxels.npy"]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    back = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.array(said["ijk_to_lps"])
    corners = np.argwhere(np.ones((2, 2, 2))) * (np.array(mask.grid.shape) - 1)
    apart = nib.affines.apply_affine(back, corners) - mask.grid.to_world(corners)
    moved = int((np.abs(apart).max(axis=1) > 1e-3).sum())
    differing = int((np.load(work / "voxels.npy") != mask.data).sum())
    named = said["names"] == {f"{label.key} {label.name}": label.value for label in PEDS.labels}
    print(f"  slicerio: {differing} of {int((mask.data > 0).sum())} voxels differ, {moved} corners, names {named}")
    return differing + moved + (not named)


def check_bids(programs: Path, work: Path) -> int:
    """A data set of two subjects before the validator; returns the number of errors."""
    grid = Grid((20, 24, 16), np.diag([1.0, 2.0, 3.0, 1.0]))
    write_stored_result(work / "results" / "a", labelled(grid), case_id="case-0a1b", atlas=True)
    write_stored_result(work / "results" / "b", labelled(grid, ()), case_id="sub-01_ses-02", atlas=True)
    export_derivatives(read_results(work / "results"), work / "derivatives")
    command = [programs / "bids-validator-deno", "--datasetTypes", "derivative", "-v", work / "derivatives"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    codes = [line.split()[:2] for line in said.stdout.splitlines() if line.strip().startswith(("[ERROR]", "[WARNING]"))]
    print("bids-validator:", "; ".join(" ".join(code) for code in codes) or "nothing to say")
    return sum(code[0] == "[ERROR]" for code in codes) + (said.returncode != 0)


def main() -> int:
    """Run all checks; the exit status says whether one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, required=True, help="directory of their programs")
    parser.add_argument("--series", type=Path, nargs="*", default=[], help="directories of one DICOM series each")
    given = parser.parse_args()
    programs = given.programs.absolute()
    failures = 0
    with tempfile.TemporaryDirectory(prefix="hope-interop-") as folder:
        work = Path(folder)
        for number, directory in enumerate([*given.series, *synthetic_series(work / "synthetic")], start=1):
            print(f"series {number}")
            (work / f"run-{number}").mkdir()
            failures += check_series(directory, programs, work / f"run-{number}")
        failures += check_bids(programs, work)
    print("all as it should be" if not failures else f"{failures} differences or errors")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
