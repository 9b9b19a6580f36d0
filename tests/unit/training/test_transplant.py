"""Transplants: the tumour arrives whole with its labels, the host keeps its own, edges are blended."""

from __future__ import annotations

import numpy as np

from hope.domain.labels import label_set
from hope.training.stored import Sample
from hope.training.transplant import transplant

BACKGROUND = label_set(0)
CORE = label_set(2, 3)


def a_brain(level: float, seed: int, tumour: tuple[slice, slice, slice] | None = None) -> Sample:
    rng = np.random.default_rng(seed)
    images = np.zeros((4, 40, 44, 36), np.float16)
    images[:, 2:-2, 2:-2, 2:-2] = rng.normal(level, 0.1, (4, 36, 40, 32)).astype(np.float16)
    sets = np.full(images.shape[1:], BACKGROUND, np.uint8)
    if tumour:
        sets[tumour] = CORE
        images[(slice(None), *tumour)] += np.float16(3)
    return images, sets


DONOR = a_brain(0.2, 1, (slice(15, 23), slice(14, 24), slice(12, 18)))


def test_the_tumour_arrives_with_its_labels_and_its_contrast() -> None:
    host = a_brain(0.0, 2)
    sizes = []
    for seed in range(5):
        made = transplant(np.random.default_rng(seed), DONOR, host)
        assert made is not None
        images, sets = made
        tumour = sets == CORE
        sizes.append(int(tumour.sum()))
        assert set(np.unique(sets)) == {BACKGROUND, CORE}
        assert np.median(images[0][tumour]) > 2
        far = ~tumour & (images[0] != 0)
        assert abs(float(np.median(images[0][far]))) < 0.1
        assert ((images != 0).any(axis=0) == (host[0] != 0).any(axis=0)).all(), "the brain keeps its outline"
    assert all(0.8 * 480 < size < 1.2 * 480 for size in sizes), sizes


def test_a_tumour_of_the_host_stays() -> None:
    own = (slice(6, 12), slice(6, 12), slice(6, 12))
    host = a_brain(0.0, 3, own)
    host[1][own] = label_set(4)
    for seed in range(6):
        made = transplant(np.random.default_rng(seed), DONOR, host)
        if made is None:
            continue
        assert (made[1][own] == label_set(4)).all()
        assert np.array_equal(made[0][(slice(None), *own)], host[0][(slice(None), *own)])


def test_a_sequence_that_one_lacks_is_lacking() -> None:
    donor, host = (DONOR[0].copy(), DONOR[1]), a_brain(0.0, 4)
    donor[0][1], host[0][3] = 0, 0
    made = transplant(np.random.default_rng(0), donor, host)
    assert made is not None
    assert [bool(channel.any()) for channel in made[0]] == [True, False, True, False]


def test_there_may_be_nothing_to_take_or_no_place() -> None:
    assert transplant(np.random.default_rng(0), a_brain(0, 5), a_brain(0, 6)) is None
    small = (np.zeros((4, 6, 6, 6), np.float16), np.full((6, 6, 6), BACKGROUND, np.uint8))
    small[0][:, 2:4, 2:4, 2:4] = 1
    assert transplant(np.random.default_rng(0), DONOR, small) is None


def test_the_same_numbers_give_the_same_case() -> None:
    host = a_brain(0.0, 7)
    one, other = (transplant(np.random.default_rng(9), DONOR, host) for _ in range(2))
    assert one is not None
    assert other is not None
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])
