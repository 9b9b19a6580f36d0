"""Bias correction: flattens a smooth drift, keeps thick slices, changes nothing about the grid."""

from __future__ import annotations

import numpy as np
import pytest

from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.stages.preprocess.bias import _upsampled, correct_bias, head_threshold


def drifting_ball(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> tuple[Volume, np.ndarray]:
    """A ball of two tissues under a drift of a factor 2 from one side to the other."""
    grid = Grid(shape, np.diag([*spacing, 1.0]))
    world = grid.to_world(np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1))
    middle = grid.centre_ras_mm()
    inside = np.linalg.norm(world - middle, axis=-1) < 70
    tissue = np.where(np.sin(world / 9.0).prod(axis=-1) > 0, 100.0, 140.0)
    drift = np.exp(0.35 * (world[..., 0] - middle[0]) / 70)
    return Volume((inside * tissue * drift).astype(np.float32), grid), inside & (tissue < 120)


@pytest.mark.parametrize(("shape", "spacing"), [((80, 80, 30), (2, 2, 5.5)), ((30, 80, 80), (5.5, 2, 2))])
def test_the_drift_is_flattened_even_on_thick_slices(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    scan, one_tissue = drifting_ball(shape, spacing)

    corrected = correct_bias(scan)

    def spread(volume: Volume) -> float:
        return float(volume.data[one_tissue].std() / volume.data[one_tissue].mean())

    assert corrected.grid == scan.grid
    assert corrected.data.dtype == np.float32
    assert spread(corrected) < 0.5 * spread(scan)


@pytest.mark.parametrize(("count", "factor"), [(17, 3), (16, 4), (5, 1)])
def test_the_field_is_spread_linearly_and_to_the_edges(count: int, factor: int) -> None:
    blocks = -(-count // factor)
    middles = (np.arange(blocks) + 0.5) * factor - 0.5
    values = np.random.default_rng(count).normal(size=blocks).astype(np.float32)
    thin = np.stack([values, 2 * values])
    expected = np.interp(np.arange(count), middles, values)
    np.testing.assert_allclose(_upsampled(thin, 1, count, factor), np.stack([expected, 2 * expected]), atol=1e-6)


def test_scans_too_small_or_empty_for_a_fit_come_back_as_they_are() -> None:
    grid = Grid((40, 40, 3), np.diag([1.0, 1.0, 6.0, 1.0]))

    for data in (np.zeros(grid.shape, np.float32), np.full(grid.shape, 7.0, np.float32)):
        np.testing.assert_array_equal(correct_bias(Volume(data, grid)).data, data)


def test_the_head_is_told_from_air() -> None:
    rng = np.random.default_rng(0)
    data = np.concatenate([rng.normal(5, 2, 6000), rng.normal(100, 15, 4000)]).astype(np.float32)

    assert 12 < head_threshold(data) < 60
