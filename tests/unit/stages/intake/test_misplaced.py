"""One of several registered scans that is mirrored, turned or shifted is told; scans that lie alike are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.volume import Volume
from hope.formats.atlas import atlas_brain, atlas_t1
from hope.formats.nifti import NiftiFacts, write_scan
from hope.stages.intake.intake import cautions, load_case
from hope.stages.intake.misplaced import mirrored_flags, misplaced_flags
from hope.stages.intake.sources import CaseSource

T1N, T1C, T2W, T2F = SEQUENCES
Voxels = npt.NDArray[np.float32]
FAULTS: dict[str, Callable[[Voxels], Voxels]] = {
    "mirrored left to right": lambda v: v[::-1],
    "mirrored front to back": lambda v: v[:, ::-1],
    "mirrored top to bottom": lambda v: v[:, :, ::-1],
    "turned by a half": lambda v: v[::-1, ::-1],
    "moved by 9 mm": lambda v: np.roll(v, 9, 1),
    "moved by 21 mm": lambda v: np.roll(v, -21, 2),
}


@pytest.fixture(scope="module")
def scans() -> dict[MRSequence, Volume]:
    """Four contrasts of one brain with a lesion on one side, noisy and of unlike brightness."""
    rng = np.random.default_rng(5)
    brain = atlas_brain().data > 0
    t1 = atlas_t1().data / np.percentile(atlas_t1().data[brain], 99)
    folds = ndimage.zoom(ndimage.gaussian_filter(rng.normal(size=(80, 80, 52)), 1), 3, order=1)[:, :, :155]
    t1 = 0.5 * t1 + 0.4 * folds / folds.max()  # the atlas is a mean of many heads and nearly its own mirror image
    i, j, k = np.indices(t1.shape, sparse=True)
    lesion = ((i - 90) ** 2 + (j - 120) ** 2 + (k - 80) ** 2) < 18**2
    contrasts = {T1N: t1 - 0.3 * lesion, T1C: t1 + 0.3 * lesion, T2W: 1.2 - t1 + lesion, T2F: (1 - t1) ** 2 + lesion}
    return {
        sequence: Volume(
            np.where(brain, np.maximum(0.05, image + rng.normal(0, 0.05, t1.shape)) * 300, 0).astype(np.float32),
            ATLAS_GRID,
        )
        for sequence, image in contrasts.items()
    }


def test_scans_that_lie_alike_get_no_remark(scans: dict[MRSequence, Volume]) -> None:
    assert misplaced_flags(scans) == []
    near = {**scans, T2F: scans[T2F].with_data(np.roll(scans[T2F].data, 2, 1))}
    assert misplaced_flags(near) == [], "a matter of registration"
    empty = {**scans, T2F: scans[T2F].with_data(np.zeros_like(scans[T2F].data))}
    assert misplaced_flags(empty) == []
    assert misplaced_flags({T1C: scans[T1C]}) == [] == misplaced_flags({})


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("sequence", [T1C, T2F])
def test_the_scan_that_lies_otherwise_is_named(
    scans: dict[MRSequence, Volume], fault: str, sequence: MRSequence
) -> None:
    odd = scans[sequence].with_data(FAULTS[fault](scans[sequence].data))
    (flag,) = misplaced_flags({**scans, sequence: odd})
    assert (flag.code, flag.sequence, str(flag.severity)) == ("sequence_misplaced", sequence, "warning")
    assert f"{sequence} does not lie as the other scans do: {fault}, it would agree with them" in flag.reason
    other = T1N if sequence is not T1N else T2W
    (flag,) = misplaced_flags({other: scans[other], sequence: odd})
    assert flag.sequence == "" and f"{other} and {sequence} do not lie alike" in flag.reason


@pytest.mark.parametrize("moved", [0, 7])
def test_a_mirror_image_is_told_of_scans_that_agree_well_in_thick_slices(
    scans: dict[MRSequence, Volume], moved: int
) -> None:
    """Slices of 5 mm give all scans the same edges from slice to slice, mirrored or not."""
    thick = {s: v.with_data(np.repeat(v.data[:, :, 2::5], 5, axis=2)[:, :, :155]) for s, v in scans.items()}
    assert mirrored_flags(thick) == []
    odd = np.roll(thick[T2F].data[::-1], moved, axis=0)
    (flag,) = mirrored_flags({**thick, T2F: thick[T2F].with_data(odd)})
    assert (flag.code, flag.sequence, str(flag.severity)) == ("sequence_misplaced", T2F, "warning")
    assert "mirrored left to right" in flag.reason
    away = {**thick, T2F: thick[T2F].with_data(np.roll(thick[T2F].data, 9, 1))}
    assert mirrored_flags(away) == [], "a failed registration has remarks of its own"


def test_two_against_two_are_told_pair_by_pair(scans: dict[MRSequence, Volume]) -> None:
    mirrored = {s: scans[s].with_data(scans[s].data[::-1]) for s in (T2W, T2F)}
    flags = misplaced_flags({**scans, **mirrored})
    assert {flag.reason.partition(" do not")[0] for flag in flags} == {
        f"{one} and {two}" for one in (T1N, T1C) for two in (T2W, T2F)
    }


def test_whatever_the_order_in_which_files_list_their_voxels(scans: dict[MRSequence, Volume]) -> None:
    listed = {s: scan.reoriented(o) for (s, scan), o in zip(scans.items(), ("RAS", "LPS", "ASR", "IPL"), strict=True)}
    facts = dict.fromkeys(listed, NiftiFacts(0, 0, "float32", False, None))
    assert "sequence_misplaced" not in {flag.code for flag in cautions(listed, facts, treated=True)}
    lying = np.array(scans[T2W].grid.affine_ras_mm)
    lying[0] *= -1  # the header's first axis runs the other way than the voxels
    listed[T2W] = Volume(scans[T2W].data, Grid(ATLAS_GRID.shape, lying)).reoriented("ASR")
    (flag,) = [flag for flag in cautions(listed, facts, treated=True) if flag.code == "sequence_misplaced"]
    assert flag.sequence == T2W and "mirrored left to right" in flag.reason


def test_a_preprocessed_case_is_looked_at_before_it_is_run(scans: dict[MRSequence, Volume], tmp_path: Path) -> None:
    given = {T1C: scans[T1C], T2F: scans[T2F].with_data(scans[T2F].data[::-1].copy())}
    files = {s: tmp_path / f"{s}.nii" for s in given}
    for sequence, scan in given.items():
        write_scan(scan, files[sequence])
    (tmp_path / "scratch").mkdir()
    case = load_case(CaseSource("c", files), preprocessed=None, scratch=tmp_path / "scratch")
    assert "sequence_misplaced" in {flag.code for flag in case.flags}
