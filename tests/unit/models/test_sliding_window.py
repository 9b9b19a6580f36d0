"""Sliding window: every voxel seen, weights that cancel out, mirroring undone."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from hope.models.sliding_window import gaussian_weight, sliding_window, tile_starts


class Pointwise(nn.Module):
    """A network whose answer at a voxel depends on that voxel alone, so tiling must not change it."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, :1], -x[:, :1], 0.3 * x[:, 1:2]], dim=1)


class LeftRight(nn.Module):
    """A network that answers by position in the tile: mirroring must be undone for the answer to even out."""

    def forward(self, x: Tensor) -> Tensor:
        ramp = torch.linspace(-4, 4, x.shape[2])[None, None, :, None, None].expand(1, 1, *x.shape[2:])
        return torch.cat([ramp, -ramp], dim=1)


def ignore(done: int, total: int) -> None:
    assert 1 <= done <= total


@given(st.integers(1, 300), st.integers(1, 128), st.floats(0, 0.9))
def test_tiles_cover_the_axis_without_leaving_it(length: int, tile: int, overlap: float) -> None:
    starts = tile_starts(length, tile, overlap)
    covered = {i for s in starts for i in range(s, min(s + tile, length))}
    assert covered == set(range(length))
    assert all(s == 0 or s + tile <= length for s in starts)
    steps = [b - a for a, b in pairwise(starts)]
    assert all(step <= max(1, int(tile * (1 - overlap))) + 1 for step in steps)


def test_gaussian_weight_is_positive_symmetric_and_highest_in_the_middle() -> None:
    weight = gaussian_weight((8, 9, 10))
    assert float(weight.min()) > 0
    assert torch.allclose(weight, weight.flip([0, 1, 2]))
    assert float(weight[3, 4, 4]) == pytest.approx(float(weight.max()))


@pytest.mark.parametrize("shape", [(20, 17, 23), (8, 30, 9), (5, 6, 7)])
def test_a_pointwise_network_gives_the_same_as_without_tiles(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, *shape)
    whole = Pointwise()(x[None])[0].softmax(dim=0)
    tiled = sliding_window(Pointwise(), x, (8, 8, 8), 0.5, ignore)
    assert tiled.shape == whole.shape
    assert torch.allclose(tiled, whole, atol=1e-5)
    assert torch.allclose(sliding_window(Pointwise(), x, (8, 8, 8), 0.5, ignore, (0,)), whole, atol=1e-5)


def test_mirroring_is_undone_before_averaging() -> None:
    answer = sliding_window(LeftRight(), torch.zeros(1, 8, 8, 8), (8, 8, 8), 0.5, ignore, (0,))
    assert torch.allclose(answer, torch.full_like(answer, 0.5), atol=1e-5)
