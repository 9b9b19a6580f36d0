"""Sliding-window inference: overlapping tiles, Gaussian weights, memory bounded by the volume and one tile."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor, nn


def tile_starts(length: int, tile: int, overlap: float) -> list[int]:
    """Where tiles begin along one axis so that they cover it with at least this share of overlap, evenly spread."""
    if length <= tile:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    count = -(-(length - tile) // step) + 1
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def gaussian_weight(tile: tuple[int, int, int], sigma_share: float = 0.125) -> Tensor:
    """Weight of each voxel of a tile, highest in the middle; (x, y, z), positive everywhere."""
    axes = []
    for n in tile:
        offset = (torch.arange(n) - (n - 1) / 2) / (n * sigma_share)
        axes.append(torch.exp(-0.5 * offset**2))
    weight = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]
    return weight.clamp_min(1e-4 * float(weight.max()))


@torch.inference_mode()
def sliding_window(
    network: Callable[[Tensor], Tensor],
    volume: Tensor,
    tile: tuple[int, int, int],
    overlap: float,
    on_tile: Callable[[int, int], None],
    mirror_axes: tuple[int, ...] = (),
) -> Tensor:
    """Mean class probabilities over all tiles that see a voxel.

    Args:
        network: maps (1, channels, *tile) to logits (1, classes, *tile).
        volume: (channels, x, y, z); smaller than a tile is padded with zeros.
        tile: tile size in voxels.
        overlap: share of a tile that neighbours share, 0 to below 1.
        on_tile: told (done, all) after each tile.
        mirror_axes: axes (0, 1, 2) along which each tile is also seen mirrored; the two answers are averaged.

    Returns:
        (classes, x, y, z) float32 probabilities that sum to 1.
    """
    shape = volume.shape[1:]
    pad = [max(t - n, 0) for t, n in zip(tile, shape, strict=True)]
    padded = nn.functional.pad(volume, (0, pad[2], 0, pad[1], 0, pad[0]))
    starts = [tile_starts(n, t, overlap) for n, t in zip(padded.shape[1:], tile, strict=True)]
    places = list(product(*starts))
    weight = gaussian_weight(tile).to(volume.device)
    flips: list[tuple[int, ...]] = [(), *((axis,) for axis in mirror_axes)]
    total: Tensor | None = None
    seen = torch.zeros(padded.shape[1:], device=volume.device)
    for done, (i, j, k) in enumerate(places, start=1):
        box = (slice(i, i + tile[0]), slice(j, j + tile[1]), slice(k, k + tile[2]))
        x = padded[(slice(None), *box)][None]
        output: Tensor | None = None
        for flip in flips:
            dims = [axis + 2 for axis in flip]
            logits = network(x.flip(dims) if dims else x).float()
            probability = (logits.flip(dims) if dims else logits).softmax(dim=1)
            output = probability if output is None else output + probability
        assert output is not None  # noqa: S101 - flips is never empty
        if total is None:
            total = torch.zeros((output.shape[1], *padded.shape[1:]), device=volume.device)
        total[(slice(None), *box)] += output[0] * (weight / len(flips))
        seen[box] += weight
        on_tile(done, len(places))
    assert total is not None  # noqa: S101 - there is always one tile
    total /= seen
    return total[:, : shape[0], : shape[1], : shape[2]]
