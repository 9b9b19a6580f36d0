"""Faint pairs at mirrored places go; tumours across the midline, sure pairs and single sides stay."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest

from hope.domain.grid import Grid
from hope.domain.labels import ED
from hope.domain.volume import Volume
from hope.stages.postprocess.postprocess import MIRRORED, drop_unsure
from hope.stages.postprocess.symmetric import symmetric_components

SHAPE = (60, 50, 40)
GRID = Grid(SHAPE, np.eye(4))


def brain(shift: int = 0) -> Volume:
    """40 voxels wide; its middle lies between the 30th and the 31st voxel, and is moved by the shift."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[10 + shift : 50 + shift, 5:45, 5:35] = True
    return Volume(mask, GRID)


def pair(shift: int = 0) -> np.ndarray:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[14 + shift : 22 + shift, 20:30, 10:20] = ED
    labels[38 + shift : 46 + shift, 20:30, 10:20] = ED
    return labels


def answer(labels: np.ndarray, probability: float, where: Volume, orientation: str = "RAS") -> list[bool]:
    mask = Volume(labels, GRID).reoriented(orientation)
    faint = np.where(mask.data > 0, probability, 0.01)
    parts = cc3d.connected_components((mask.data > 0).astype(np.uint8), connectivity=26)
    return symmetric_components(parts, faint, where.reoriented(orientation)).tolist()


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "ASR"])
@pytest.mark.parametrize("shift", [0, 4])
def test_a_faint_pair_is_found_in_any_orientation(orientation: str, shift: int) -> None:
    assert answer(pair(shift), 0.8, brain(shift), orientation) == [False, True, True]


def test_a_pair_of_which_the_model_is_sure_stays() -> None:
    assert answer(pair(), 0.9, brain()) == [False, False, False]


def test_one_side_stays() -> None:
    labels = pair()
    labels[30:] = 0
    assert answer(labels, 0.8, brain()) == [False, False]


def test_a_tumour_across_the_midline_mirrors_onto_itself_and_stays() -> None:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[24:36, 20:30, 10:20] = ED
    assert answer(labels, 0.8, brain()) == [False, False]


def test_a_faint_lesion_opposite_a_sure_tumour_stays() -> None:
    """A second lesion on the other side of a tumour is no pair of normal brain."""
    labels = pair()
    probability = np.where(labels > 0, 0.8, 0.01)
    probability[38:46][labels[38:46] > 0] = 0.99
    parts = cc3d.connected_components((labels > 0).astype(np.uint8), connectivity=26)
    assert symmetric_components(parts, probability, brain()).tolist() == [False, False, False]


def test_nothing_marked_or_no_brain_is_no_pair() -> None:
    assert answer(np.zeros(SHAPE, dtype=np.uint8), 0.8, brain()) == [False]
    assert answer(pair(), 0.8, Volume(np.zeros(SHAPE, dtype=bool), GRID)) == [False, False, False]


def test_the_clean_up_shows_what_it_took_away() -> None:
    labels = pair()
    labels[20:24, 35:40, 25:30] = ED
    sure = np.where(labels > 0, 0.8, 0.0)
    sure[20:24, 35:40, 25:30] = 0.99
    sure[[18, 42], 25, 15] = 0.99  # so that size and the surest voxel do not take them away
    outcome = drop_unsure(Volume(labels, GRID), sure, brain())
    assert (outcome.before_voxels["ED"], outcome.after_voxels["ED"]) == (1700, 100)
    assert "mirrored pairs" in outcome.method
    assert "2 faint components of 1.6 ml" in outcome.notes[MIRRORED]
    without = drop_unsure(Volume(labels, GRID), sure)
    assert "mirrored" not in without.method and not without.notes
