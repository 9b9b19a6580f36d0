"""Fluid that a core encloses becomes cyst; fluid that merely touches one, or that nothing encloses, stays unmarked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.grid import Grid
from hope.domain.labels import CC, ED, ET, NET
from hope.domain.volume import Volume
from hope.stages.postprocess.enclosed import enclosed_fluid
from hope.stages.postprocess.postprocess import ENCLOSED, drop_unsure

SHAPE = (100, 110, 90)
TISSUE = {MRSequence.T1N: 100.0, MRSequence.T1C: 110.0, MRSequence.T2W: 80.0, MRSequence.T2F: 90.0}
FLUID = {MRSequence.T1N: 40.0, MRSequence.T1C: 42.0, MRSequence.T2W: 180.0, MRSequence.T2F: 140.0}
CENTRE = (60.0, 45.0, 40.0)

Mask = npt.NDArray[np.bool_]


def ball(centre: tuple[float, float, float], radius: float) -> Mask:
    place = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    return np.asarray(np.linalg.norm(place - np.array(centre), axis=-1) <= radius)


BRAIN = ball((49.5, 54.5, 44.5), 42)
CYST = ball(CENTRE, 12)
WALL = ball(CENTRE, 15) & ~CYST
HALF = WALL & (np.arange(SHAPE[0])[:, None, None] > CENTRE[0])


def scans(fluid: Mask, order: str = "RAS", spacing: float = 1.0) -> dict[MRSequence, Volume]:
    """A brain with fluid in it that is bright on FLAIR too, as that of cysts may be."""
    rng = np.random.default_rng(5)
    grid = Grid(SHAPE, np.diag([spacing, spacing, spacing, 1]))
    found = {}
    for sequence in SEQUENCES:
        level = np.where(fluid, FLUID[sequence], TISSUE[sequence]) + rng.normal(0, 6, SHAPE)
        found[sequence] = Volume((level * BRAIN).astype(np.float32), grid).reoriented(order)
    return found


def as_volume(data: npt.NDArray[np.generic], like: dict[MRSequence, Volume]) -> Volume:
    image = next(iter(like.values()))
    spacing = image.grid.spacing_mm[0]
    return Volume(data, Grid(SHAPE, np.diag([spacing, spacing, spacing, 1]))).reoriented(image.grid.orientation)


def labelled(wall: Mask, value: int = ET) -> npt.NDArray[np.uint8]:
    return np.where(wall, np.uint8(value), np.uint8(0))


@pytest.mark.parametrize("order", ["RAS", "LPS", "SAR"])
@pytest.mark.parametrize("value", [ET, NET])
def test_a_cyst_within_its_wall_is_found_whole(order: str, value: int) -> None:
    images = scans(CYST, order)
    broken = labelled(WALL, value)
    broken[:, :, 38:42] = 0  # the model's wall has a gap
    found = enclosed_fluid(images, as_volume(BRAIN, images), as_volume(broken, images))
    assert found is not None
    added = np.asarray(Volume(found, images[MRSequence.T1N].grid).reoriented("RAS").data)
    assert 2 * (added & CYST).sum() / (added.sum() + CYST.sum()) > 0.93
    assert not (added & (broken > 0)).any(), "what is marked keeps its name"
    assert not (added & ~BRAIN).any()


@pytest.mark.parametrize("spacing", [0.7, 2.0])
def test_other_voxels_give_the_same_place(spacing: float) -> None:
    images = scans(CYST, spacing=spacing)
    found = enclosed_fluid(images, as_volume(BRAIN, images), as_volume(labelled(WALL), images))
    assert found is not None and (found & CYST).sum() > 0.9 * CYST.sum()


def test_fluid_that_only_touches_a_core_is_none() -> None:
    images = scans(CYST)
    brain = as_volume(BRAIN, images)
    assert enclosed_fluid(images, brain, as_volume(labelled(WALL & ball((78, 45, 40), 12)), images)) is None
    assert enclosed_fluid(images, brain, as_volume(labelled(WALL, ED), images)) is None, "oedema around a ventricle"
    assert enclosed_fluid(images, brain, as_volume(labelled(WALL & ~WALL), images)) is None


def test_tissue_and_small_spaces_within_a_core_are_left_alone() -> None:
    images = scans(CYST & ~CYST)
    assert enclosed_fluid(images, as_volume(BRAIN, images), as_volume(labelled(WALL), images)) is None
    small = ball(CENTRE, 6)  # 0.9 ml
    images = scans(small)
    wall = labelled(ball(CENTRE, 10) & ~small)
    assert enclosed_fluid(images, as_volume(BRAIN, images), as_volume(wall, images)) is None


def test_a_ventricle_within_a_large_tumour_is_no_cyst() -> None:
    images = scans(CYST)
    thick = labelled(ball(CENTRE, 20) & ~CYST)
    assert enclosed_fluid(images, as_volume(BRAIN, images), as_volume(thick, images)) is None


def test_a_cyst_that_breaks_into_other_fluid_is_parted_from_it() -> None:
    beside = ball((60, 72, 40), 11)
    opening = ball((60, 58, 40), 4)
    images = scans(CYST | beside | opening)
    walled = labelled(WALL & ~opening & ~beside)
    found = enclosed_fluid(images, as_volume(BRAIN, images), as_volume(walled, images))
    assert found is not None
    assert (found & CYST).sum() > 0.9 * CYST.sum()
    assert (found & beside).sum() < 0.1 * beside.sum()


@pytest.mark.parametrize("without", [(MRSequence.T2W,), (MRSequence.T1N, MRSequence.T1C)])
def test_without_the_sequences_that_show_fluid_nothing_is_said(without: tuple[MRSequence, ...]) -> None:
    images = {s: v for s, v in scans(CYST).items() if s not in without}
    assert enclosed_fluid(images, as_volume(BRAIN, images), as_volume(labelled(WALL), images)) is None
    fewer = {s: v for s, v in scans(CYST).items() if s in (MRSequence.T1C, MRSequence.T2W)}
    assert enclosed_fluid(fewer, as_volume(BRAIN, fewer), as_volume(labelled(WALL), fewer)) is not None


def test_the_clean_up_says_what_it_added() -> None:
    images = scans(CYST)
    labels, sure = as_volume(labelled(WALL), images), np.where(WALL, 1.0, 0.0).astype(np.float32)
    outcome = drop_unsure(labels, sure, as_volume(BRAIN, images), images)
    added = outcome.after_ml["CC"] - outcome.before_ml["CC"]
    assert added == pytest.approx(CYST.sum() / 1000, rel=0.1)
    assert f"{added:.1f} ml that the core encloses" in outcome.notes[ENCLOSED]
    assert "called CC" in outcome.method
    assert np.unique(outcome.labels.data[CYST & ~WALL]).tolist() in ([CC], [0, CC])
    untouched = drop_unsure(labels, sure, as_volume(BRAIN, images))
    assert untouched.after_ml["CC"] == 0 and not untouched.notes and "called CC" not in untouched.method
