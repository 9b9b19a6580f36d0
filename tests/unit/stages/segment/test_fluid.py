"""Fluid at the brain's surface: told on one side, not where it is a ventricle, a groove, or on both sides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from hope.domain.case import SEQUENCES, AlignedCase, MRSequence
from hope.domain.grid import Grid
from hope.domain.labels import CC
from hope.domain.qc import Severity
from hope.domain.volume import Volume
from hope.stages.segment.fluid import CODE, cavity_flags, surface_fluid

SHAPE = (100, 110, 90)
TISSUE = {MRSequence.T1N: 100.0, MRSequence.T1C: 110.0, MRSequence.T2W: 80.0, MRSequence.T2F: 90.0}
FLUID = {MRSequence.T1N: 30.0, MRSequence.T1C: 30.0, MRSequence.T2W: 240.0, MRSequence.T2F: 20.0}
LEFT, RIGHT = (22.0, 55.0, 50.0), (77.0, 55.0, 50.0)

Mask = npt.NDArray[np.bool_]


def ball(centre: tuple[float, float, float], radius: float) -> Mask:
    place = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    return np.asarray(np.linalg.norm(place - np.array(centre), axis=-1) <= radius)


def brain() -> Mask:
    return ball((49.5, 54.5, 44.5), 40)


def ventricles() -> Mask:
    return ball((43, 55, 45), 6) | ball((56, 55, 45), 6)


def case(fluid: Mask, order: str = "RAS", without: tuple[MRSequence, ...] = ()) -> AlignedCase:
    rng = np.random.default_rng(5)
    grid = Grid(SHAPE, np.eye(4))
    images = {}
    for sequence in SEQUENCES:
        if sequence not in without:
            level = np.where(fluid, FLUID[sequence], TISSUE[sequence]) + rng.normal(0, 6, SHAPE)
            images[sequence] = Volume((level * brain()).astype(np.float32), grid).reoriented(order)
    return AlignedCase.in_place("phantom", images, Volume(brain(), grid).reoriented(order))


def mask(of: AlignedCase, tumour: Mask | None = None) -> Volume:
    labels = np.zeros(SHAPE, np.uint8) if tumour is None else np.where(tumour, np.uint8(CC), np.uint8(0))
    return Volume(labels, Grid(SHAPE, np.eye(4))).reoriented(of.grid.orientation)


@pytest.mark.parametrize("order", ["RAS", "LPS", "SAR"])
@pytest.mark.parametrize("centre", [LEFT, RIGHT])
def test_a_cavity_on_either_side_is_told_with_its_volume(centre: tuple[float, float, float], order: str) -> None:
    cavity = ball(centre, 10) & brain()
    one = case(cavity | ventricles(), order)
    (space,) = surface_fluid(one.images, one.brain_mask, mask(one))
    assert space.ml == pytest.approx(cavity.sum() / 1000, rel=0.3)
    assert space.marked == 0
    (flag,) = cavity_flags(one, mask(one))
    assert (flag.code, flag.severity) == (CODE, Severity.CAUTION)
    assert "did not mark" in flag.reason and "not validated" in flag.reason


def test_a_space_that_is_marked_is_said_to_be_part_of_the_outline() -> None:
    cavity = ball(LEFT, 10) & brain()
    one = case(cavity | ventricles())
    (flag,) = cavity_flags(one, mask(one, cavity))
    assert "marked as tumour" in flag.reason and "did not mark" not in flag.reason


@pytest.mark.parametrize(
    "fluid",
    [
        ventricles(),
        ball((40, 55, 45), 16),  # one ventricle that is wider, deep in the brain
        (ball(LEFT, 10) | ball(RIGHT, 10)) & brain(),  # the same on both sides: cisterns
        brain() & ~ball((49.5, 54.5, 44.5), 37) & (np.arange(SHAPE[0]) < 50)[:, None, None],
        np.zeros(SHAPE, bool),
    ],
)
def test_ventricles_cisterns_and_grooves_are_not_told(fluid: Mask) -> None:
    one = case(fluid)
    assert not cavity_flags(one, mask(one))


@pytest.mark.parametrize("without", [(MRSequence.T2F,), (MRSequence.T1N,), (MRSequence.T1N, MRSequence.T1C)])
def test_it_is_told_from_fewer_sequences(without: tuple[MRSequence, ...]) -> None:
    one = case((ball(LEFT, 10) & brain()) | ventricles(), without=without)
    assert len(cavity_flags(one, mask(one))) == 1


def test_nothing_is_told_without_t2w_or_from_one_sequence_or_of_no_brain() -> None:
    fluid = ball(LEFT, 10) & brain()
    for without in ((MRSequence.T2W,), (MRSequence.T1N, MRSequence.T1C, MRSequence.T2F)):
        one = case(fluid, without=without)
        assert not cavity_flags(one, mask(one))
    one = case(fluid)
    empty = Volume(np.zeros(SHAPE, bool), one.grid)
    assert surface_fluid(one.images, empty, mask(one)) == []
