"""The way to the model's grid and back keeps places: no shift, whatever the side lengths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hope.models.model_grid import from_model_grid, to_model_grid

MM = (1.0, 1.0, 1.0)


@given(st.tuples(*[st.integers(4, 23)] * 3))
def test_halving_averages_pairs_also_on_odd_sides(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
    small = to_model_grid(image, MM, 2.0)
    assert small.shape[1:] == tuple(-(-n // 2) for n in shape)
    assert small[0, 0, 0, 0] == pytest.approx(image[0, :2, :2, :2].mean(), rel=1e-5)
    assert small[0, 1, 1, 1] == pytest.approx(image[0, 2:4, 2:4, 2:4].mean(), rel=1e-5)


@pytest.mark.parametrize("shape", [(20, 22, 24), (21, 23, 25)])
@pytest.mark.parametrize("model_mm", [1.0, 2.0, 1.5])
def test_a_ramp_comes_back_where_it_was(shape: tuple[int, int, int], model_mm: float) -> None:
    """A half-voxel shift anywhere on the way would move a linear ramp."""
    ramp = np.moveaxis(np.indices(shape), 0, -1).sum(axis=-1).astype(np.float32)
    small = to_model_grid(ramp[None], MM, model_mm)
    back = from_model_grid(torch.from_numpy(small), shape, MM, model_mm)[0].numpy()
    inner = (slice(4, -4),) * 3
    assert back.shape == shape
    assert np.abs(back - ramp)[inner].max() < 0.35 * model_mm
    assert abs((back - ramp)[inner].mean()) < 0.05
