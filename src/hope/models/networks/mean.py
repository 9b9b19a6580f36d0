"""Several U-Nets of one shape that answer together: the mean of their probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hope.domain.errors import BundleError
from hope.models.networks.unet import UNet

MOST_MEMBERS = 8


class MeanOfUNets(nn.Module):
    """U-Nets of one shape and other weights, of which each answers with equal weight.

    Input (n, channels, x, y, z) as of `UNet`. Output (n, classes, x, y, z): logarithms of the mean of the members'
    probabilities, so that softmax gives that mean.

    Args:
        members: how many, 2 to 8.
        channels, classes, widths, blocks, decoder_blocks: as of `UNet`.

    Raises:
        BundleError: for another number of members, or lists that do not fit one another.
    """

    def __init__(
        self,
        members: int,
        channels: int,
        classes: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        decoder_blocks: Sequence[int],
    ) -> None:
        super().__init__()
        if not 2 <= members <= MOST_MEMBERS:
            raise BundleError(f"a mean of networks has 2 to {MOST_MEMBERS} members, not {members}")
        self.members = nn.ModuleList(UNet(channels, classes, widths, blocks, decoder_blocks) for _ in range(members))

    def classes_on(self, channels: int, tile: Sequence[int]) -> int:
        """How many classes it tells apart on such a tile; see `UNet.classes_on`."""
        return cast("UNet", self.members[0]).classes_on(channels, tile)

    def forward(self, x: Tensor) -> Tensor:
        """Logits for a batch; the members run one after another, so that memory is that of one."""
        total: Tensor | None = None
        for member in self.members:
            log_probability = member(x).float().log_softmax(dim=1)
            total = log_probability if total is None else torch.logaddexp(total, log_probability)
        assert total is not None  # noqa: S101 - there are two members at least
        return total - math.log(len(self.members))
