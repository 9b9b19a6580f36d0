"""Preprocessing on the real raw case beside the project: brain, alignment, and the way back."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hope.domain.case import AlignedCase, HeadState, MRSequence, UploadedCase
from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.models.brain_deepbet import DeepbetExtractor
from hope.stages.preprocess.align_check import Probe
from hope.stages.preprocess.preprocess import preprocess, to_native
from hope.stages.resample import resample

pytestmark = [pytest.mark.real, pytest.mark.slow]
CASE = "TCGA-FG-6692"


def read(path: Path) -> Volume:
    image = nib.load(path)
    return Volume(np.asarray(image.dataobj, dtype=np.float32), Grid(image.shape, image.affine))


@pytest.fixture(scope="module")
def scans(shared_data: Path) -> dict[MRSequence, Volume]:
    folder = shared_data / "raw" / CASE
    return {name: read(folder / f"{CASE}-{name}.nii.gz") for name in MRSequence}


@pytest.fixture(scope="module")
def aligned(scans: dict[MRSequence, Volume]) -> AlignedCase:
    case = UploadedCase("raw", scans, False, HeadState.FULL, dict.fromkeys(scans, "0"))
    return preprocess(case, HeadState.FULL, DeepbetExtractor())


@pytest.mark.parametrize("name", list(MRSequence))
def test_the_brain_mask_agrees_with_the_reference_on_every_scans_own_grid(
    name: MRSequence, scans: dict[MRSequence, Volume], aligned: AlignedCase, shared_data: Path
) -> None:
    truth = read(shared_data / "raw" / CASE / "reference" / f"brain-{name}.nii.gz").data > 0
    back = aligned.atlas_to_native[name].inverse()

    mine = resample(aligned.brain_mask, scans[name].grid, back, "nearest").data

    assert 2 * (mine & truth).sum() / (mine.sum() + truth.sum()) >= 0.93


def test_nothing_is_doubtful_and_the_motion_between_scans_is_told(aligned: AlignedCase) -> None:
    codes = [flag.code for flag in aligned.flags]

    assert "registration_uncertain" not in codes
    assert "brain_mask_may_cut_tissue" not in codes
    assert codes.count("moved_between_scans") == 3


@pytest.mark.parametrize("name", [MRSequence.T1N, MRSequence.T2W, MRSequence.T2F])
def test_each_scan_matches_t1c_better_than_a_shift_of_three_millimetres_would(
    name: MRSequence, aligned: AlignedCase
) -> None:
    probe = Probe.between(aligned.images[MRSequence.T1C], aligned.images[name], aligned.brain_mask)
    here = probe.agreement(Transform.identity()).nmi
    for axis in range(3):
        for shift_mm in (-3.0, 3.0):
            aside = np.eye(4)
            aside[axis, 3] = shift_mm
            assert here > probe.agreement(Transform(aside)).nmi


def test_labels_return_to_the_grid_of_the_original_t1c(aligned: AlignedCase, scans: dict[MRSequence, Volume]) -> None:
    native = to_native(Volume(aligned.brain_mask.data.astype(np.uint8), ATLAS_GRID), aligned)

    assert native.grid == scans[MRSequence.T1C].grid
    volume_ml = native.data.sum() * native.grid.voxel_volume_ml
    assert volume_ml == pytest.approx(aligned.brain_mask.data.sum() / 1000, rel=0.02)
