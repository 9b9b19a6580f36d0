"""Sliding a network over its grid as nnU-Net and as MONAI do it, in batches of tiles and mirrorings.

Memory is bounded by the volume and one batch. Everything is added in a fixed order, so two runs give the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from hope.models.ensemble.spec import Average, Tiles, Tiling

Network = Callable[[Tensor], Tensor]
"""Maps (n, channels, *patch) to (n, classes, *patch), float32."""

_SIGMA = 1 / 8
"""Of the Gaussian weight, as a share of the patch."""
_V2_PEAK = 10.0
"""nnU-Net v2 scales its weights to this maximum before it rounds them to half precision."""


def nnunet_starts(length: int, tile: int, step: float) -> list[int]:
    """Where tiles begin along one axis (at least as long as a tile): evenly spread, at most ``step`` tiles apart."""
    count = math.ceil((length - tile) / (tile * step)) + 1
    apart = (length - tile) / max(count - 1, 1)
    return [int(np.round(apart * i)) for i in range(count)]


def monai_starts(length: int, tile: int, step: float) -> list[int]:
    """Where tiles begin along one axis (at least as long as a tile): ``step`` apart, the last moved back inside."""
    stride = max(int(tile * step), 1)
    count = math.ceil((length - tile) / stride) + 1
    return [min(i * stride, length - tile) for i in range(count)]


def tile_weights(tiling: Tiling) -> Tensor:
    """Weight of each voxel of a tile (*patch), positive everywhere, in the precision that sums are to be kept in."""
    if tiling.tiles is Tiles.MONAI:
        return torch.ones(tiling.patch)
    profiles = []
    for n in tiling.patch:
        peak = np.zeros(n)
        peak[n // 2] = 1
        profiles.append(gaussian_filter1d(peak, n * _SIGMA, mode="constant"))
    weight = np.einsum("i,j,k->ijk", *profiles)
    weight /= weight.max()
    if tiling.mean is Average.LOGITS:
        rounded = torch.from_numpy(weight * _V2_PEAK).half()
    else:
        rounded = torch.from_numpy(weight).float()
    rounded[rounded == 0] = rounded[rounded > 0].min()
    return rounded


@dataclass(frozen=True)
class TilePlan:
    """Which tiles of a volume are seen, and how often mirrored.

    Attributes:
        tiling: whose plan it is.
        places: first voxel of every tile in the padded volume.
        flips: axes (0, 1, 2) to mirror, one entry per look at a tile; the first is no mirroring.
        padding: voxels of 0 to add before and after, per axis; half on either side, the odd one after.
    """

    tiling: Tiling
    places: tuple[tuple[int, int, int], ...]
    flips: tuple[tuple[int, ...], ...]
    padding: tuple[tuple[int, int], ...]

    @property
    def evaluations(self) -> int:
        """How often the network is asked."""
        return len(self.places) * len(self.flips)


def plan_tiles(shape: Sequence[int], tiling: Tiling, mirroring: bool) -> TilePlan:
    """Plan for a volume of ``shape``; without ``mirroring`` every tile is seen once."""
    lacking = [max(t - n, 0) for t, n in zip(tiling.patch, shape, strict=True)]
    find = monai_starts if tiling.tiles is Tiles.MONAI else nnunet_starts
    starts = [find(max(n, t), t, tiling.step) for n, t in zip(shape, tiling.patch, strict=True)]
    axes = tiling.mirror_axes if mirroring else ()
    flips = tuple(chosen for count in range(len(axes) + 1) for chosen in combinations(axes, count))
    return TilePlan(
        tiling,
        tuple((i, j, k) for i, j, k in product(*starts)),
        flips,
        tuple((n // 2, n - n // 2) for n in lacking),
    )


@torch.inference_mode()
def slide(
    network: Network,
    device: torch.device,
    volume: Tensor,
    plan: TilePlan,
    classes: int,
    batch: int,
    on_tile: Callable[[int], None],
) -> Tensor:
    """Mean answer over all tiles that see a voxel and all their mirrorings.

    Args:
        network: what to ask.
        device: where it wants its batches.
        volume: (channels, i, j, k) float32; sums are kept on its device.
        plan: for this volume.
        classes: channels of the network's answer.
        batch: tiles and mirrorings that are asked at once.
        on_tile: called with how many tiles are finished, after each.

    Returns:
        (classes, i, j, k), a view without the padding: logits, or probabilities if the tiling averages those; float32,
        but float16 for the logits of nnU-Net's tiles, see `Tiles`.
    """
    patch, flips = plan.tiling.patch, plan.flips
    if any(after for _, after in plan.padding):
        volume = F.pad(volume, [n for pair in reversed(plan.padding) for n in pair])
    weight = tile_weights(plan.tiling).to(volume.device)
    total = torch.zeros((classes, *volume.shape[1:]), dtype=weight.dtype, device=volume.device)
    seen = torch.zeros(volume.shape[1:], dtype=weight.dtype, device=volume.device)
    evaluations = list(product(plan.places, flips))
    tile = torch.empty(0)
    for first in range(0, len(evaluations), batch):
        chunk = evaluations[first : first + batch]
        x = torch.stack([_mirrored(volume[_part(place, patch)], flip) for place, flip in chunk]).to(device)
        output = network(x)
        if plan.tiling.mean is Average.PROBABILITIES:
            output = output.softmax(dim=1)
        for number, (place, flip), one in zip(range(first, first + batch), chunk, output, strict=False):
            tile = _mirrored(one, flip) if number % len(flips) == 0 else tile.add_(_mirrored(one, flip))
            if (number + 1) % len(flips) == 0:
                here = _part(place, patch)
                total[here].add_(tile.div_(len(flips)).to(volume.device).mul_(weight))
                seen[here[1:]].add_(weight)
                on_tile((number + 1) // len(flips))
    total /= seen
    kept = [slice(before, n - after) for n, (before, after) in zip(volume.shape[1:], plan.padding, strict=True)]
    return total[(slice(None), *kept)]


def _part(place: Sequence[int], patch: Sequence[int]) -> tuple[slice, ...]:
    return (slice(None), *(slice(start, start + n) for start, n in zip(place, patch, strict=True)))


def _mirrored(tile: Tensor, flip: tuple[int, ...]) -> Tensor:
    """The tile (channels, *patch) mirrored along axes 0 to 2; itself for none."""
    return tile.flip([axis + 1 for axis in flip]) if flip else tile
