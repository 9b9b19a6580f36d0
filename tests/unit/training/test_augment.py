"""Patches: labels travel with their image through every augmentation; what a case lacks stays absent."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from hope.domain.case import SEQUENCES
from hope.domain.labels import label_set
from hope.training.augment import Augmentation, draw_patch
from hope.training.config import STRONG
from hope.training.stored import Sample

PATCH = (24, 28, 20)
NONE = Augmentation(fewer_sequences=0.0)
BACKGROUND = label_set(0)


@pytest.fixture
def sample() -> Sample:
    """A brain with a block of tumour that is brighter than anything else, in every sequence."""
    rng = np.random.default_rng(0)
    images = np.zeros((4, 36, 40, 30), np.float16)
    images[:, 3:-3, 3:-3, 3:-3] = rng.normal(0, 0.3, (4, 30, 34, 24)).astype(np.float16)
    sets = np.full(images.shape[1:], BACKGROUND, np.uint8)
    sets[10:24, 12:28, 8:20] = label_set(2, 3)
    images[:, sets != BACKGROUND] += np.float16(4)
    return images, sets


@pytest.mark.parametrize("switch", [None, "warp", "smooth_fields", "curves", "thick_slices"])
def test_labels_stay_on_their_image(sample: Sample, switch: str | None) -> None:
    """Where the image is bright, the label says tumour: a slip of a voxel would show at every border."""
    one = replace(NONE, **{switch: 1.0}) if switch else NONE
    for seed in range(6):
        x, sets = draw_patch(np.random.default_rng(seed), sample, PATCH, one)
        assert x.shape == (4, *PATCH)
        assert sets.shape == PATCH
        assert set(np.unique(sets)) <= {BACKGROUND, label_set(2, 3)}
        bright = np.median(x, axis=0) > 2
        tumour = sets != BACKGROUND
        agree = 2 * (bright & tumour).sum() / (bright.sum() + tumour.sum())
        assert agree > (0.8 if switch == "thick_slices" else 0.9), (seed, agree)


@pytest.mark.parametrize("field", [field.name for field in fields(Augmentation)])
def test_each_switch_changes_patches_and_is_off_at_zero(sample: Sample, field: str) -> None:
    plain = [draw_patch(np.random.default_rng(seed), sample, PATCH, NONE)[0] for seed in range(3)]
    again = [draw_patch(np.random.default_rng(seed), sample, PATCH, NONE)[0] for seed in range(3)]
    changed = [draw_patch(np.random.default_rng(s), sample, PATCH, replace(NONE, **{field: 1.0}))[0] for s in range(3)]
    assert all(np.array_equal(one, other) for one, other in zip(plain, again, strict=True))
    assert not any(np.array_equal(one, other) for one, other in zip(plain, changed, strict=True))


def test_a_case_that_lacks_sequences_keeps_one_and_gets_none_back(sample: Sample) -> None:
    images, sets = sample
    images[[0, 2, 3]] = 0
    for seed in range(40):
        x, _ = draw_patch(np.random.default_rng(seed), (images, sets), PATCH, replace(STRONG, fewer_sequences=1.0))
        assert x[SEQUENCES.index("t1c")].any()
        assert not x[[0, 2, 3]].any()


def test_a_case_smaller_than_the_patch_is_padded_with_background(sample: Sample) -> None:
    images, sets = sample
    for augmentation in (NONE, replace(NONE, warp=1.0)):
        x, y = draw_patch(
            np.random.default_rng(1), (images[:, :12, :12, :12], sets[:12, :12, :12]), PATCH, augmentation
        )
        assert x.shape == (4, *PATCH)
        assert (y[~(x != 0).any(axis=0)] == BACKGROUND).mean() > 0.99
        assert (y > 0).all(), "no voxel is without a set"
