"""MONAI's SwinUNETR as MONAI up to 1.4 computed it: the published checkpoints were trained with 1.3.

MONAI 1.5 changed which voxels patch merging gathers, and in what order. Tensors kept their names and shapes, so an
older checkpoint still loads there, and then answers wrongly. Here the older merging is passed to MONAI's own network.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hope.domain.errors import BundleError
from hope.models.networks.keys import count, shape_of

DERIVED = re.compile(r"swinViT\.layers\d+\.0\.blocks\.\d+\.attn\.relative_position_index")
"""Tables that follow from the window's size."""

# Offsets (depth, height, width) within each 2x2x2 cell, in the order of the merged channels. Two offsets come twice and
# two never: an oversight of MONAI, but weights trained with it need it.
_MERGED = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1))
_LEVELS = 4


class EarlyPatchMerging(nn.Module):
    """Halves the size of (n, d, h, w, c) features and doubles their channels, as MONAI up to 1.4 did.

    Args:
        dim: channels c.
        norm_layer: normalisation over the last axis.
        spatial_dims: 3.
    """

    def __init__(self, dim: int, norm_layer: type[nn.LayerNorm] = nn.LayerNorm, spatial_dims: int = 3) -> None:
        super().__init__()
        if spatial_dims != 3:
            raise BundleError(f"patch merging is for 3 spatial axes, got {spatial_dims}")
        self.reduction = nn.Linear(len(_MERGED) * dim, 2 * dim, bias=False)
        self.norm = norm_layer(len(_MERGED) * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, d / 2, h / 2, w / 2, 2 c), rounded up; odd sizes are filled up with zeros."""
        _, d, h, w, _ = x.shape
        x = functional.pad(x, (0, 0, 0, w % 2, 0, h % 2, 0, d % 2))
        merged = torch.cat([x[:, i::2, j::2, k::2] for i, j, k in _MERGED], dim=-1)
        features: Tensor = self.reduction(self.norm(merged))
        return features


def attention_mask(shape: Sequence[int], window: Sequence[int], shift: Sequence[int], device: torch.device) -> Tensor:
    """What MONAI's `compute_mask` returns for three axes, without its dozens of passes over it.

    It is the network's largest tensor (470 MB for tiles of 128^3). On the CPU torch does not see how it is made: so a
    recording holds the values and not the way to them, which takes longer than the network's answer.

    Args:
        shape: tokens (d, h, w), multiples of the window.
        window: of the attention, in tokens.
        shift: of the windows, in tokens.
        device: where it is wanted.

    Returns:
        (windows, tokens of a window, the same): 0 within one region of the shifted volume, -100 between two.
    """
    sides = [(slice(-w), slice(-w, -s), slice(-s, None)) for w, s in zip(window, shift, strict=True)]
    region = np.zeros(shape, dtype=np.int32)
    for number, place in enumerate(product(*sides)):
        region[place] = number
    (d, h, w), (a, b, c) = shape, window
    windows = region.reshape(d // a, a, h // b, b, w // c, c).transpose(0, 2, 4, 1, 3, 5).reshape(-1, a * b * c)
    if device.type == "cpu":
        return torch.from_numpy(np.where(windows[:, None] != windows[:, :, None], np.float32(-100), np.float32(0)))
    given = torch.from_numpy(windows).to(device)
    return torch.where(given[:, None] != given[:, :, None], -100.0, 0.0)


def _layer_forward(layer: Any, x: Tensor) -> Tensor:
    """MONAI's `BasicLayer.forward` of (n, c, d, h, w) features, with `attention_mask`."""
    n, _, *shape = (int(size) for size in x.shape)
    # Along an axis that one window covers nothing is shifted.
    window = [min(size, edge) for size, edge in zip(shape, layer.window_size, strict=True)]
    shift = [step if size > edge else 0 for size, edge, step in zip(shape, window, layer.shift_size, strict=True)]
    x = x.permute(0, 2, 3, 4, 1)
    padded = [math.ceil(size / edge) * edge for size, edge in zip(shape, window, strict=True)]
    mask = attention_mask(padded, window, shift, x.device) if any(shift) else None
    for block in layer.blocks:
        x = block(x, mask)
    x = x.view(n, *shape, -1)
    if layer.downsample is not None:
        x = layer.downsample(x)
    return x.permute(0, 4, 1, 2, 3)


def build_swinunetr(
    channels: int, classes: int, feature_size: int, depths: Sequence[int], heads: Sequence[int], window: int
) -> nn.Module:
    """Build a SwinUNETR with the older patch merging.

    Input (n, channels, x, y, z), output logits (n, classes, x, y, z); sizes must be multiples of 32.

    Args:
        channels: input channels.
        classes: output classes, background first.
        feature_size: channels at full resolution, a multiple of 12.
        depths: attention blocks of each of the four levels.
        heads: attention heads of each level.
        window: edge of the attention window in tokens.
    """
    if len(depths) != _LEVELS or len(heads) != _LEVELS:
        raise BundleError(f"a SwinUNETR has {_LEVELS} levels, got {len(depths)} depths and {len(heads)} heads")
    # MONAI reads values while it builds, so how large the network would be cannot be tried without memory.
    if not 0 < feature_size <= 192 or not 0 < window <= 16 or max(*depths, *heads, channels, classes) > 64:
        raise BundleError("the SwinUNETR is far larger than any that is known; its tensors' shapes are wrong")
    # Takes seconds, which other networks can do without.
    from monai.networks.nets.swin_unetr import BasicLayer, SwinUNETR

    network = SwinUNETR(
        in_channels=channels,
        out_channels=classes,
        feature_size=feature_size,
        depths=tuple(depths),
        num_heads=tuple(heads),
        window_size=window,
        downsample=cast(Any, EarlyPatchMerging),  # MONAI wants the class, and says it wants a module
    )
    for layer in network.modules():
        if isinstance(layer, BasicLayer):
            cast(Any, layer).forward = partial(_layer_forward, layer)
    return network


def arguments_of_swinunetr(published: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read a network's size from a checkpoint's names and shapes.

    Raises:
        BundleError: naming the first tensor that is missing or makes no sense.
    """
    feature_size, channels, *_ = shape_of("SwinUNETR", published, "swinViT.patch_embed.proj.weight", 5)
    levels = [f"swinViT.layers{n}.0.blocks." for n in range(1, _LEVELS + 1)]
    table = ".attn.relative_position_bias_table"
    tables = [shape_of("SwinUNETR", published, f"{level}0{table}", 2) for level in levels]
    edge = round(math.cbrt(tables[0][0]))
    if edge**3 != tables[0][0] or edge % 2 == 0:
        raise BundleError(
            f"SwinUNETR: the tensor {levels[0]}0{table} has shape {tables[0]}, expected (2 x window - 1)^3 rows"
        )
    return {
        "channels": channels,
        "classes": shape_of("SwinUNETR", published, "out.conv.conv.weight", 5)[0],
        "feature_size": feature_size,
        "depths": [count(published, level + "{}" + table) for level in levels],
        "heads": [heads for _, heads in tables],
        "window": (edge + 1) // 2,
    }
