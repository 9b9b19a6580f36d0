"""Pairs of styles: the same anatomy, other intensities, and a truth that is exactly known."""

from __future__ import annotations

import numpy as np
import pytest

from hope.domain.case import SEQUENCES
from hope.domain.labels import CC, ED, ET, NET
from hope.synthesis.contrast import Brightness
from hope.synthesis.style_pairs import StylePair, draw_styles, restyled, style_pair, styled_cases


@pytest.fixture(scope="module")
def pair() -> StylePair:
    return style_pair(11, 0)


def test_a_pair_depends_on_its_seed_and_index_alone(pair: StylePair) -> None:
    again = style_pair(11, 0)
    assert np.array_equal(pair.source, again.source)
    assert np.array_equal(pair.target, again.target)
    assert np.array_equal(pair.truth, again.truth)
    assert not np.array_equal(pair.source_case.tissue, styled_cases(11, 1, anatomies=1)[0].tissue)


def test_source_and_truth_show_one_anatomy_and_the_target_another(pair: StylePair) -> None:
    inside = pair.source_case.mask
    for channel in range(len(SEQUENCES)):
        one, other = (image[channel][inside] for image in pair.source_case.images)
        between = np.corrcoef(np.argsort(np.argsort(one)), np.argsort(np.argsort(other)))[0, 1]
        assert between > 0.9, SEQUENCES[channel]
        assert not np.allclose(one / np.median(one), other / np.median(other), rtol=0.01)
    assert np.array_equal(pair.truth, pair.source_case.images[1])
    assert not np.array_equal(pair.source_case.labels, pair.target_case.labels)
    assert not pair.source[:, ~inside].any()
    assert not pair.target[:, ~pair.target_case.mask].any()


def test_tissues_are_what_their_images_show() -> None:
    (case,) = styled_cases(11, 2, anatomies=1, styles=2, kind="none")
    for image, tissue in zip(case.images, case.tissue, strict=True):
        for channel in range(len(SEQUENCES)):
            low, high = np.percentile(image[channel][case.mask], [0.5, 99])
            assert low - 0.05 <= tissue[channel, 1] <= high + 0.05
            assert low - 0.05 <= tissue[channel, 2] <= high + 0.05


@pytest.mark.parametrize("seed", range(5))
def test_styles_keep_the_order_of_tissues_and_do_not_stretch_them_without_bound(seed: int) -> None:
    base, styles = draw_styles(np.random.default_rng(seed), 6)
    for sequence in SEQUENCES:
        start = np.array([base[sequence].csf, base[sequence].gm, base[sequence].wm])
        order = np.argsort(start)
        steps = [np.diff(np.array(style.tissue[sequence])[order], prepend=0) for style in styles]
        assert all((step > 0).all() for step in steps)
        for step, style in zip(steps, styles, strict=True):
            ratio = step / np.diff(start[order], prepend=0) / (style.tissue[sequence][1] / start[1])
            assert ratio.max() < 1.6**2 * 1.01
            assert ratio.min() > 1 / 1.6**2 / 1.01


def test_what_lies_between_tissues_stays_between_them_and_what_is_brighter_stays_brighter() -> None:
    own = Brightness(0.2, 0.6, 0.9, {ET: 1.5, NET: 0.5, CC: 0.2, ED: 0.75}, vessels=1.8, spots=0.6)
    moved = restyled(own, (0.3, 0.5, 1.2))
    assert (moved.csf, moved.gm, moved.wm) == (0.3, 0.5, 1.2)
    assert moved.parts[CC] == pytest.approx(0.3)
    assert moved.parts[NET] == pytest.approx(0.3 + 0.2 * 3 / 4)
    assert moved.parts[ED] == pytest.approx((0.5 + 1.2) / 2)
    assert moved.parts[ET] == pytest.approx(1.5 * 1.2 / 0.9)
    assert moved.vessels == pytest.approx(1.8 * 1.2 / 0.9)
    assert moved.spots == pytest.approx(0.5)
