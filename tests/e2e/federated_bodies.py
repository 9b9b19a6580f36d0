"""In place of a model at the sites of test_federated.py: scores from a number in the case, or an error with names."""

from __future__ import annotations

import logging
import sys
import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np

from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.evaluation.evaluate import CaseScores, evaluate
from hope.formats.nifti import read_labels
from hope.services import Services
from hope.stages.intake.case_finding import CaseSource
from hope.training.real_cases import segmentation_of

GRID = Grid((12, 12, 12), np.eye(4))
BROKEN = 4
"""A mask with this value makes the whole site fail."""


def scores(shift: int) -> CaseScores:
    """Scores of two blocks that lie ``shift`` voxels apart."""
    masks = []
    for start in (0, shift):
        data = np.zeros(GRID.shape, np.uint8)
        data[start : start + 6, 2:8, 2:8] = 1
        masks.append(Volume(data, GRID))
    return evaluate(*masks)


def evaluate_site(
    sources: Sequence[CaseSource], scheme: str, services: Services, model_id: str
) -> tuple[list[CaseScores], Counter[str], int]:
    """See ``hope.federated.evaluation.evaluate_site``."""
    found = []
    for source in sources:
        path = segmentation_of(source)
        shift = int(read_labels(path).data.max())
        logging.getLogger("nibabel").error("cannot like %s", path)
        warnings.warn(f"odd header in {path}", stacklevel=1)
        sys.stderr.write(f"{path}\n")
        if shift == BROKEN:
            raise RuntimeError(f"{path} of {source.case_id} is broken")
        found.append(scores(shift))
    return found, Counter(), 0
