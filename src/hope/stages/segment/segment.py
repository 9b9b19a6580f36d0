"""Segmentation: what the model says about an aligned case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hope.domain.case import HarmonizedCase, Prediction
from hope.domain.errors import StageError
from hope.domain.progress import Progress, silent
from hope.ports import Predictor
from hope.stages.segment.fluid import cavity_flags


def segment(case: HarmonizedCase, predictor: Predictor, progress: Progress = silent) -> Prediction:
    """Let a predictor label the case, and check that its answer fits.

    Args:
        case: images on the atlas grid.
        predictor: local or remote.
        progress: called for the work done.

    Raises:
        InputError: if a sequence is missing that the model cannot do without.
        StageError: if the answer is on another grid or holds unknown labels.
    """
    prediction = predictor.predict(case, progress)
    if not prediction.labels.grid.same_as(case.aligned.grid):
        raise StageError("the model answered on another grid than it was given")
    if prediction.labels.data.dtype != np.uint8 or int(prediction.labels.data.max(initial=0)) > 4:
        raise StageError("the model answered with labels that are not part of the peds scheme")
    flags = cavity_flags(case.aligned, prediction.labels)
    progress("segment: done", 1.0)
    return replace(prediction, flags=(*prediction.flags, *flags))
