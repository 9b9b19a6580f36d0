"""A real t1c turned by a known transform is laid back on itself; benchmarks/turned.py measures more turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hope.formats.nifti import read_scan
from hope.stages.preprocess.register import register_rigid
from hope.stages.preprocess.starts import session_starts
from hope.testing.turned import error_mm, turned

pytestmark = pytest.mark.real
CASE = "TCGA-FG-6692"
MOST_MM = 0.3
"""A twentieth of a slice of 5.5 mm; the aim is 0.2 mm, and this turn, the worst of three, was 0.22 mm off."""


def test_a_turned_scan_is_laid_back_on_itself(shared_data: Path) -> None:
    folder = shared_data / "raw" / CASE
    scan, _ = read_scan(folder / f"{CASE}-t1c.nii.gz", "the scan")
    brain, _ = read_scan(folder / "reference" / "brain-t1c.nii.gz", "the brain mask")
    moved, true = turned(scan, np.random.default_rng([23, 0]))
    fit = register_rigid(scan, moved, session_starts(scan, moved))
    errors = error_mm(fit.transform, true, brain.with_data(brain.data > 0))
    # In the whole brain, so that the tumour is in it wherever it lies.
    assert errors.size > 500 and errors.max() <= MOST_MM
    assert fit.rotation_deg > 3 and not fit.cautions
