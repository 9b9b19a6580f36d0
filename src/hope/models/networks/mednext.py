"""MedNeXt (Roy et al. 2023, arXiv 2303.09975) under the names that its first published version gives to its tensors.

MONAI's network of that name cannot stand in: its downsampling blocks take the expansion of the stage before them, the
published ones that of the stage after, so shapes differ.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from hope.domain.errors import BundleError
from hope.models.networks.keys import count, shape_of

TRAINING_ONLY = re.compile(r"dummy_tensor|out_[1-9]\.conv_out\.(weight|bias)")
"""A placeholder of gradient checkpointing, and the heads of deep supervision."""


class Block(nn.Module):
    """Depthwise convolution, one normalisation group per channel, expansion and compression, beside a short cut.

    Args:
        channels: input channels.
        channels_out: output channels.
        expansion: how many times wider the middle is.
        kernel: edge of the depthwise convolution in voxels, odd.
    """

    depthwise: type[nn.Conv3d] | type[nn.ConvTranspose3d] = nn.Conv3d
    stride = 1

    def __init__(self, channels: int, channels_out: int, expansion: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = self.depthwise(channels, channels, kernel, self.stride, kernel // 2, groups=channels)
        self.norm = nn.GroupNorm(channels, channels)
        self.conv2 = nn.Conv3d(channels, expansion * channels, 1)
        self.act = nn.GELU()
        self.conv3 = nn.Conv3d(expansion * channels, channels_out, 1)
        if self.stride > 1:
            self.res_conv = self.depthwise(channels, channels_out, 1, self.stride)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same size."""
        features: Tensor = self.conv3(self.act(self.conv2(self.norm(self.conv1(x)))))
        return features + (x if self.stride == 1 else self.res_conv(x))


class Down(Block):
    """A block that halves the size."""

    stride = 2


class Up(Block):
    """A block that doubles the size."""

    depthwise = nn.ConvTranspose3d
    stride = 2

    def forward(self, x: Tensor) -> Tensor:
        """Features of twice the size: the convolutions give 2n - 1 voxels, a plane of zeros before them one more."""
        return functional.pad(super().forward(x), (1, 0, 1, 0, 1, 0))


class MedNeXt(nn.Module):
    """A U-shaped network of depthwise blocks with additive skips.

    Input (n, channels, z, y, x), output logits (n, classes, z, y, x); sizes must be multiples of 2^levels, where levels
    is half the number of stages. Published checkpoints have 9 stages.

    Args:
        channels: input channels.
        classes: output classes, background first.
        width: channels at full resolution; every level has twice as many as the one above.
        expansion: of each stage's blocks, in order of computation; a stage's resampling block has its stage's.
        blocks: number of blocks of each stage.
        kernel: edge of the depthwise convolutions in voxels.
    """

    def __init__(
        self, channels: int, classes: int, width: int, expansion: Sequence[int], blocks: Sequence[int], kernel: int
    ) -> None:
        super().__init__()
        if len(expansion) != len(blocks) or len(blocks) % 2 == 0:
            raise BundleError("a MedNeXt needs one expansion and one number of blocks for each of its stages")
        self.levels = len(blocks) // 2
        self.stem = nn.Conv3d(channels, width, 1)
        for level in range(self.levels):
            wide = width << level
            self.add_module(f"enc_block_{level}", _stage(wide, expansion[level], blocks[level], kernel))
            self.add_module(f"down_{level}", Down(wide, 2 * wide, expansion[level + 1], kernel))
        self.bottleneck = _stage(width << self.levels, expansion[self.levels], blocks[self.levels], kernel)
        for level in reversed(range(self.levels)):
            stage, wide = len(blocks) - 1 - level, width << level
            self.add_module(f"up_{level}", Up(2 * wide, wide, expansion[stage], kernel))
            self.add_module(f"dec_block_{level}", _stage(wide, expansion[stage], blocks[stage], kernel))
        self.out_0 = nn.Sequential(OrderedDict(conv_out=nn.ConvTranspose3d(width, classes, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits for a batch."""
        skips = []
        x = self.stem(x)
        for level in range(self.levels):
            skips.append(getattr(self, f"enc_block_{level}")(x))
            x = getattr(self, f"down_{level}")(skips[-1])
        x = self.bottleneck(x)
        for level in reversed(range(self.levels)):
            x = getattr(self, f"dec_block_{level}")(skips.pop() + getattr(self, f"up_{level}")(x))
        logits: Tensor = self.out_0(x)
        return logits


def _stage(channels: int, expansion: int, blocks: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(*(Block(channels, channels, expansion, kernel) for _ in range(blocks)))


def arguments_of_mednext(published: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read a network's size from a checkpoint's names and shapes.

    Two of the original's options leave no trace there and are taken to be as in all its published sizes: one
    normalisation group per channel, and short cuts in every block.

    Raises:
        BundleError: naming the first tensor that is missing or has the wrong number of dimensions.
    """
    width, channels, *_ = shape_of("MedNeXt", published, "stem.weight", 5)
    levels = count(published, "down_{}.conv1.weight")
    stages = [f"enc_block_{n}" for n in range(levels)] + ["bottleneck"]
    stages += [f"dec_block_{n}" for n in reversed(range(levels))]
    middles = [shape_of("MedNeXt", published, f"{stage}.0.conv2.weight", 5) for stage in stages]
    return {
        "channels": channels,
        "classes": shape_of("MedNeXt", published, "out_0.conv_out.weight", 5)[1],
        "width": width,
        "expansion": [wide // narrow for wide, narrow, *_ in middles],
        "blocks": [count(published, stage + ".{}.conv1.weight") for stage in stages],
        "kernel": shape_of("MedNeXt", published, f"{stages[0]}.0.conv1.weight", 5)[2],
    }
