"""Brain masks: believable or not, joined with care, and never cutting bright tissue away in silence."""

from __future__ import annotations

import numpy as np
import pytest

from hope.domain.case import MRSequence
from hope.domain.errors import StageError
from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.qc import Severity
from hope.domain.volume import Volume
from hope.formats.atlas import atlas_brain
from hope.stages.masks import box_around, cropped, grown, mask_ml, solid
from hope.stages.preprocess.brainmask import find_brain, joined, judged, keep_cut_tissue, mask_of_stripped
from hope.testing.fakes import FakeBrainExtractor

COARSE = 4
GRID_4MM = Grid(
    tuple(-(-n // COARSE) for n in ATLAS_GRID.shape),  # type: ignore[arg-type]
    ATLAS_GRID.affine_ras_mm @ np.diag([COARSE, COARSE, COARSE, 1.0]),
)


@pytest.fixture(scope="module")
def brain() -> Volume:
    """The atlas brain at 4 mm."""
    return Volume(np.ascontiguousarray(atlas_brain().data[::COARSE, ::COARSE, ::COARSE]), GRID_4MM)


def without(mask: Volume, keep: np.ndarray) -> Volume:
    return mask.with_data(mask.data & keep)


def left_half() -> np.ndarray:
    return np.broadcast_to((np.arange(GRID_4MM.shape[0]) > GRID_4MM.shape[0] // 2)[:, None, None], GRID_4MM.shape)


def test_a_true_mask_is_believed(brain: Volume) -> None:
    found = judged(brain)

    assert found.cautions == ()
    assert found.usable
    assert found.shape_dice > 0.95


def test_a_childs_mask_is_believed_because_shape_is_judged_at_its_size(brain: Volume) -> None:
    small = Volume(brain.data, Grid(brain.grid.shape, np.diag([0.7, 0.7, 0.7, 1.0]) @ brain.grid.affine_ras_mm))

    assert judged(small).cautions == ()


def test_half_a_brain_is_doubted(brain: Volume) -> None:
    found = judged(without(brain, left_half()))

    assert any("shape" in caution for caution in found.cautions)


def test_a_speck_is_not_usable(brain: Volume) -> None:
    speck = np.zeros(GRID_4MM.shape, bool)
    speck[30:33, 30:33, 18:20] = True
    found = judged(brain.with_data(speck))

    assert not found.usable
    assert any("volume" in caution for caution in found.cautions)


def test_masks_that_agree_leave_the_first_alone(brain: Volume) -> None:
    mask, flags = joined(judged(brain), judged(brain), ("t1c", "t1n"))

    assert flags == []
    np.testing.assert_array_equal(mask.mask.data, brain.data)


def test_moderate_disagreement_keeps_both(brain: Volume) -> None:
    top = np.broadcast_to(np.arange(GRID_4MM.shape[2]) < 28, GRID_4MM.shape)
    cut = without(brain, top)
    mask, (flag,) = joined(judged(cut), judged(brain), ("t1c", "t1n"))

    assert flag.code == "brain_masks_differ"
    assert flag.severity is Severity.INFO
    np.testing.assert_array_equal(mask.mask.data, brain.data)


def test_of_contradicting_masks_the_better_shaped_is_taken_and_named(brain: Volume) -> None:
    mask, (flag,) = joined(judged(without(brain, left_half())), judged(brain), ("t1c", "t1n"))

    assert flag.severity is Severity.WARNING
    assert "that of t1n is used" in flag.reason
    np.testing.assert_array_equal(mask.mask.data, brain.data)


@pytest.fixture(scope="module")
def t2f_with_bright_spot(brain: Volume) -> tuple[Volume, np.ndarray]:
    """FLAIR-like image: 100 in the brain, 300 in a superficial ball of 16 mm radius, with a little noise."""
    world = brain.grid.to_world(np.stack(np.meshgrid(*map(np.arange, brain.grid.shape), indexing="ij"), axis=-1))
    edge = brain.grid.to_world(np.argwhere(brain.data))
    spot = edge[edge[:, 0].argmax()] - [14.0, 0, 0]
    ball = np.linalg.norm(world - spot, axis=-1) < 16
    noise = np.random.default_rng(0).normal(0, 5, brain.grid.shape)
    return brain.with_data(((100 + 200 * ball + noise) * brain.data).astype(np.float32)), ball


def test_tumour_that_the_mask_cut_is_found_kept_and_flagged(
    brain: Volume, t2f_with_bright_spot: tuple[Volume, np.ndarray]
) -> None:
    t2f, ball = t2f_with_bright_spot
    everywhere = np.ones(brain.grid.shape, bool)

    mended, (flag,) = keep_cut_tissue(without(brain, ~ball), {MRSequence.T2F: t2f}, everywhere)

    lost = ball & brain.data
    assert flag.code == "brain_mask_may_cut_tissue"
    assert "ml of t2f-bright tissue" in flag.reason
    assert (mended.data & lost).sum() > 0.6 * lost.sum()


def test_a_whole_mask_is_left_alone(brain: Volume, t2f_with_bright_spot: tuple[Volume, np.ndarray]) -> None:
    t2f, _ = t2f_with_bright_spot

    mended, flags = keep_cut_tissue(brain, {MRSequence.T2F: t2f}, np.ones(brain.grid.shape, bool))

    assert flags == []
    np.testing.assert_array_equal(mended.data, brain.data)


def test_without_t2_or_t2f_nothing_can_be_said(brain: Volume) -> None:
    assert keep_cut_tissue(brain, {}, np.ones(brain.grid.shape, bool)) == (brain, [])


def test_find_brain_fills_holes_and_drops_specks(brain: Volume) -> None:
    data = brain.data * np.float32(100)
    data[30, 28, 20] = 0.0
    data[2, 2, 2] = 100.0

    found = find_brain(brain.with_data(data), FakeBrainExtractor())

    assert found.mask.data[30, 28, 20]
    assert not found.mask.data[2, 2, 2]


def test_a_failing_extractor_is_a_stage_error(brain: Volume) -> None:
    with pytest.raises(StageError, match="found no brain"):
        find_brain(brain, FakeBrainExtractor(finds_nothing=True))


def test_stripped_images_show_their_own_mask(brain: Volume) -> None:
    image = brain.with_data(np.where(brain.data, np.float32(-3.0), np.float32(0.0)))

    np.testing.assert_array_equal(mask_of_stripped([image]), solid(brain.data))
    with pytest.raises(StageError, match="empty"):
        mask_of_stripped([brain.with_data(np.zeros(brain.grid.shape, np.float32))])


def test_growing_measures_in_millimetres() -> None:
    data = np.zeros((11, 11, 5), bool)
    data[5, 5, 2] = True
    mask = Volume(data, Grid((11, 11, 5), np.diag([1.0, 1.0, 5.0, 1.0])))

    assert grown(mask, 3.0).data[:, 5, 2].sum() == 7
    assert grown(mask, 3.0).data[5, 5, :].sum() == 1
    assert grown(mask, 5.0).data[5, 5, :].sum() == 3
    assert not grown(mask.with_data(np.zeros_like(data)), 3.0).data.any()


def test_boxes_and_volumes() -> None:
    data = np.zeros((10, 10, 10), bool)
    data[2:4, 5, 9] = True
    mask = Volume(data, Grid((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0])))

    box = box_around(mask, 2.0)
    part = cropped(mask, box)

    assert box == (slice(1, 5), slice(4, 7), slice(8, 10))
    assert part.data.sum() == 2
    np.testing.assert_allclose(part.grid.to_world([1, 1, 1]), mask.grid.to_world([2, 5, 9]))
    assert mask_ml(mask) == pytest.approx(0.016)
