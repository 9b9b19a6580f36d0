"""The map of doubt on a few voxels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hope.domain.case import Prediction
from hope.domain.grid import Grid
from hope.domain.labels import ED, ET
from hope.domain.volume import Volume
from hope.stages.postprocess.uncertainty import BY_MEMBERS, BY_PROBABILITY, uncertainty_map

KEYS = ("ET", "NET", "CC", "ED", "TC", "WT")
GRID = Grid((4, 1, 1), np.eye(4))


def line(*values: float) -> np.ndarray:
    return np.array(values, np.float16).reshape(4, 1, 1)


def a_prediction() -> Prediction:
    labels = np.array([0, ET, ED, 0], np.uint8).reshape(4, 1, 1)
    given = dict.fromkeys(KEYS, line(0, 0, 0, 0)) | {
        "ET": line(0.25, 0.75, 0.25, 0),
        "ED": line(0, 0.25, 0.5, 0),
        "WT": line(0.25, 1, 0.75, 0),
    }
    return Prediction(Volume(labels, GRID), given, "test", "0" * 64)


def test_doubt_is_what_does_not_support_the_mask() -> None:
    uncertainty, meaning = uncertainty_map(a_prediction())
    assert uncertainty.data.ravel().tolist() == [0.25, 0.25, 0.5, 0.0]
    assert (uncertainty.data.dtype, uncertainty.grid, meaning) == (np.float32, GRID, BY_PROBABILITY)


def test_of_an_ensemble_the_members_votes_count() -> None:
    votes = dict.fromkeys(KEYS, line(0, 0, 0, 0)) | {"ET": line(0, 1, 0, 0), "ED": line(0, 0, 1, 0)}
    votes["WT"] = line(0, 1, 1, 1)
    uncertainty, meaning = uncertainty_map(replace(a_prediction(), agreement=votes))
    assert uncertainty.data.ravel().tolist() == [0.0, 0.0, 0.0, 1.0]
    assert meaning == BY_MEMBERS
