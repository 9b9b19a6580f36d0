"""The box around a mask, against the plain definition."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hope.domain.box import bounding_box, box_of, used_slices

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6)
MASKS = hnp.arrays(np.bool_, SHAPES, elements=st.integers(0, 9).map(lambda n: n == 0))


@given(MASKS, st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)))
def test_it_is_the_smallest_box_and_its_margin_ends_at_the_border(
    mask: npt.NDArray[np.bool_], margin: tuple[int, int, int]
) -> None:
    where = np.argwhere(mask)
    if not len(where):
        assert bounding_box(mask, margin) is None
        with pytest.raises(ValueError, match="empty mask"):
            box_of(mask)
        return
    low, high = where.min(axis=0), where.max(axis=0) + 1
    assert box_of(mask) == tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    grown = zip(low, high, margin, mask.shape, strict=True)
    assert bounding_box(mask, margin) == tuple(slice(max(a - m, 0), min(b + m, n)) for a, b, m, n in grown)


def test_one_number_is_a_margin_on_all_sides() -> None:
    mask = np.zeros((9, 9, 9), dtype=np.uint8)
    mask[4, 5, 8] = 3
    assert bounding_box(mask, 2) == (slice(2, 7), slice(3, 8), slice(6, 9))


def test_ranges_of_any_number_of_axes() -> None:
    array = np.zeros((3, 4, 5, 6), dtype=np.uint16)
    assert used_slices(array) is None
    array[1, 2, 0, 5] = array[2, 2, 4, 5] = 7
    assert used_slices(array) == (slice(1, 3), slice(2, 3), slice(0, 5), slice(5, 6))
