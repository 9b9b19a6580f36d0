"""The plain 3D U-Net of this project's own models."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hope.domain.errors import BundleError


class ConvBlock(nn.Sequential):
    """3x3x3 convolution, instance normalisation, leaky ReLU; keeps the size unless ``stride`` is 2."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv3d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
            nn.InstanceNorm3d(channels_out, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        )


class UNet(nn.Module):
    """A plain 3D U-Net.

    Input (n, channels, x, y, z), output logits (n, classes, x, y, z); x, y and z must be multiples of
    2^(stages - 1).

    Args:
        channels: input channels.
        classes: output classes, background first.
        widths: feature channels per stage, from full resolution downward.
        blocks: convolutions per stage on the way down.
        decoder_blocks: convolutions per stage on the way up.
    """

    def __init__(
        self, channels: int, classes: int, widths: Sequence[int], blocks: Sequence[int], decoder_blocks: Sequence[int]
    ) -> None:
        super().__init__()
        if not len(widths) == len(blocks) == len(decoder_blocks) + 1:
            raise BundleError("a UNet needs one number of blocks per stage, and one fewer for the decoder")
        self.channels, self.classes = channels, classes
        self.encoder = nn.ModuleList()
        previous = channels
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            first = ConvBlock(previous, width, stride=1 if stage == 0 else 2)
            self.encoder.append(nn.Sequential(first, *(ConvBlock(width, width) for _ in range(count - 1))))
            previous = width
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for stage in reversed(range(len(widths) - 1)):
            width, count = widths[stage], decoder_blocks[stage]
            self.up.append(nn.ConvTranspose3d(widths[stage + 1], width, 2, stride=2))
            self.decoder.append(
                nn.Sequential(ConvBlock(2 * width, width), *(ConvBlock(width, width) for _ in range(count - 1)))
            )
        self.head = nn.Conv3d(widths[0], classes, 1)

    def classes_on(self, channels: int, tile: Sequence[int]) -> int:
        """How many classes it tells apart on a tile of such a size, without a run.

        Raises:
            ValueError: if it has another number of input channels, or cannot take a tile of that size.
        """
        if channels != self.channels:
            raise ValueError(f"the network has {self.channels} input channels, expected {channels}")
        step = 2 ** (len(self.encoder) - 1)
        # Normalisation needs more than one voxel at the lowest stage.
        if any(edge % step for edge in tile) or math.prod(tile) <= step**3:
            raise ValueError(f"a tile of {' x '.join(map(str, tile))} voxels does not fit steps of {step} voxels")
        return self.classes

    def forward(self, x: Tensor) -> Tensor:
        """Logits for a batch."""
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for up, stage in zip(self.up, self.decoder, strict=True):
            x = stage(torch.cat([up(x), skips.pop()], dim=1))
        logits: Tensor = self.head(x)
        return logits
