"""Sliding and adding up: MONAI's tiles and answers, batches that change nothing, boxes that leave nothing out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hope.models.ensemble.combine import Place, ProbabilityAccumulator
from hope.models.ensemble.spec import Average, Outside, Tiles, Tiling
from hope.models.ensemble.window import monai_starts, nnunet_starts, plan_tiles, slide, tile_weights

CPU = torch.device("cpu")


def quiet(tile: int) -> None:
    assert tile >= 1


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv3d(6, 5, 3, padding=1)).eval()


@given(st.integers(1, 90), st.integers(1, 40), st.sampled_from([0.25, 0.375, 0.5, 0.7, 1.0]))
def test_tiles_begin_where_nnunet_and_monai_begin_them(longer: int, tile: int, step: float) -> None:
    from monai.data.utils import dense_patch_slices
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    length = tile + longer - 1
    assert nnunet_starts(length, tile, step) == compute_steps_for_sliding_window((length,), (tile,), step)[0]
    interval = tile if length == tile else max(int(tile * step), 1)
    assert monai_starts(length, tile, step) == [s[0].start for s in dense_patch_slices((length,), (tile,), (interval,))]


@pytest.mark.parametrize("patch", [(16, 16, 16), (5, 20, 31), (1, 8, 8)])
def test_weights_are_those_of_nnunet(patch: tuple[int, int, int]) -> None:
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian

    expected = compute_gaussian(patch, value_scaling_factor=10, device=CPU)
    assert torch.equal(tile_weights(Tiling(patch)), expected)
    single = tile_weights(Tiling(patch, mean=Average.PROBABILITIES))
    assert single.dtype == torch.float32 and float(single.min()) > 0 and float(single.max()) == 1
    assert torch.allclose(single, expected.float() / 10, atol=1e-3)


@pytest.mark.parametrize("shape", [(20, 17, 23), (8, 30, 9), (5, 6, 20)])
def test_monai_tiles_give_monais_answer(shape: tuple[int, int, int]) -> None:
    from monai.inferers import sliding_window_inference

    torch.manual_seed(1)
    volume, net = torch.randn(2, *shape), network()
    tiling = Tiling((8, 8, 8), step=1 - 0.625, tiles=Tiles.MONAI)
    with torch.inference_mode():
        expected = sliding_window_inference(volume[None], (8, 8, 8), 1, net, overlap=0.625)
    ours = slide(net, CPU, volume, plan_tiles(shape, tiling, True), 5, 1, quiet)
    assert torch.allclose(ours, expected[0], atol=1e-5)


@pytest.mark.parametrize("tiles", list(Tiles))
@pytest.mark.parametrize("mean", list(Average))
def test_batches_change_nothing_and_every_tile_is_told(tiles: Tiles, mean: Average) -> None:
    torch.manual_seed(2)
    volume, net, reported = torch.randn(2, 11, 9, 7), network(), list[int]()
    plan = plan_tiles((11, 9, 7), Tiling((8, 8, 8), tiles=tiles, mirror_axes=(0, 2), mean=mean), True)
    assert len(plan.flips) == 4 and plan.padding == ((0, 0), (0, 0), (0, 1))
    one = slide(net, CPU, volume, plan, 5, 1, quiet)
    three = slide(net, CPU, volume, plan, 5, 3, reported.append)
    assert one.shape == (5, 11, 9, 7)
    half = (tiles, mean) == (Tiles.NNUNET, Average.LOGITS)
    assert one.dtype == three.dtype == (torch.float16 if half else torch.float32)
    assert torch.allclose(one, three, atol=2e-3 if half else 1e-5)
    assert reported == list(range(1, len(plan.places) + 1))
    if mean is Average.PROBABILITIES:
        assert torch.allclose(one.sum(dim=0), torch.ones(11, 9, 7), atol=1e-5)


def test_mirroring_is_the_mean_over_all_combinations() -> None:
    volume, net = torch.randn(2, 8, 8, 8), network()
    plan = plan_tiles((8, 8, 8), Tiling((8, 8, 8), tiles=Tiles.MONAI, mirror_axes=(0, 1, 2)), True)
    assert sorted(plan.flips) == sorted([(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
    with torch.inference_mode():
        evaluations = [
            net(volume[None].flip([a + 2 for a in flip])).flip([a + 2 for a in flip])[0] for flip in plan.flips
        ]
    assert torch.allclose(slide(net, CPU, volume, plan, 5, 5, quiet), sum(evaluations) / 8, atol=1e-5)
    assert plan_tiles((8, 8, 8), plan.tiling, False).flips == ((),)


SLICES = st.tuples(st.integers(0, 5), st.integers(1, 5)).map(lambda pair: slice(pair[0], min(pair[0] + pair[1], 6)))


@settings(deadline=None)
@given(SLICES, SLICES, SLICES, st.permutations([0, 1, 2]), st.sampled_from(list(Outside)))
def test_every_voxel_outside_of_a_box_gets_what_its_group_says(
    i: slice, j: slice, k: slice, order: list[int], outside: Outside
) -> None:
    probability = torch.rand(5, *(s.stop - s.start for s in (i, j, k))).softmax(dim=0)
    place = Place((order[0], order[1], order[2]), (i, j, k), (0, 1, 2, 3, 4))
    accumulator = ProbabilityAccumulator((6, 6, 6), CPU)
    accumulator.add(probability, place, 2.0, outside)
    sums = accumulator._probability.permute(0, *(axis + 1 for axis in order)) / 2
    assert torch.allclose(sums[:, i, j, k], probability)
    beyond = torch.ones(6, 6, 6, dtype=torch.bool)
    beyond[i, j, k] = False
    assert bool((sums[0][beyond] == (1.0 if outside is Outside.BACKGROUND else 0.0)).all())
    assert not bool(sums[1:, beyond].any())


def test_classes_are_renumbered_and_votes_are_shares() -> None:
    scores: Tensor = torch.tensor([[0.1, 0.1, 0.8], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1]])[:, :, None, None]
    place = Place((0, 1, 2), (slice(1, 4), slice(0, 1), slice(0, 1)), (0, 4, 2))
    accumulator = ProbabilityAccumulator((5, 1, 1), CPU)
    for weight, shown in ((3.0, scores), (1.0, scores.roll(1, dims=1))):
        accumulator.add(shown, place, weight, Outside.BACKGROUND)
        accumulator.vote(shown, place, weight)
    combined = accumulator.finish(4.0)
    assert combined.labels.ravel().tolist() == [0, 4, 2, 0, 0]
    assert combined.agreement["ED"].ravel().tolist() == [0, 0.75, 0.25, 0, 0]
    assert combined.agreement["NET"].ravel().tolist() == [0, 0, 0.75, 0.25, 0]
    assert combined.agreement["WT"].ravel().tolist() == [0, 0.75, 1.0, 0.25, 0]
    assert np.allclose(combined.probability["TC"].ravel(), combined.probability["NET"].ravel())


def test_of_equal_probabilities_the_lowest_label_wins() -> None:
    probability = torch.randint(0, 3, (5, 6, 6, 6), generator=torch.Generator().manual_seed(3)).float() / 2
    accumulator = ProbabilityAccumulator((6, 6, 6), CPU)
    accumulator.add(probability, Place((0, 1, 2), (slice(0, 6),) * 3, (0, 1, 2, 3, 4)), 1.0, Outside.ZERO)
    assert np.array_equal(accumulator.finish(1.0).labels, probability.numpy().argmax(axis=0))
