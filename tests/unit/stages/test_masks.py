"""The solid part of a mask, wherever in the volume it lies."""

from __future__ import annotations

import cc3d
import fill_voids
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hope.domain.errors import StageError
from hope.stages.masks import solid


@given(arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=7), elements=st.booleans()))
def test_only_the_box_around_a_mask_is_looked_at(mask: npt.NDArray[np.bool_]) -> None:
    """The largest component with its holes filled is the same as without the box."""
    if not mask.any():
        with pytest.raises(StageError, match="empty"):
            solid(mask)
        return
    parts = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=6)
    largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1

    np.testing.assert_array_equal(solid(mask), fill_voids.fill(parts == largest).astype(bool))
