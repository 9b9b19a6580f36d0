"""The published harmonizer's networks in our own code: every tensor of ``harmonization.pt`` has its place.

A slice is taken apart into what is where (beta: one of five classes for each pixel), how it looks (theta: two numbers)
and how good it is (eta: two numbers); the decoder draws a slice from the classes of the source and the
theta of the target. Nothing is sampled here: beta is the likeliest class and theta the mean, so that two runs agree.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.1
CLASSES = 5
THETA = 2
ETA = 2
SLICE = 224
"""Pixels along both sides of the slices that the two small encoders were made for."""
_DEPTH = 4
TEMPERATURE = 5.0
"""Evens out the attention between several images of one head; with one image it makes no difference."""


def _block(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.InstanceNorm2d(channels_out), nn.LeakyReLU(LEAK)]


class _Convolutions(nn.Module):
    """Convolutions with normalisation and leaky ReLU under the name ``conv``."""

    def __init__(self, *channels: int) -> None:
        super().__init__()
        pairs = pairwise(channels)
        self.conv = nn.Sequential(*(layer for i, o in pairs for layer in _block(i, o)))

    def forward(self, x: Tensor) -> Tensor:
        """The same size."""
        return torch.as_tensor(self.conv(x))


class SliceUNet(nn.Module):
    """A U-Net for slices with four halvings; sides must be multiples of 16.

    Args:
        channels, classes: in and out.
        base: channels at full size.
        positive: cut the answer off below 0.
    """

    def __init__(self, channels: int, classes: int, base: int, positive: bool) -> None:
        super().__init__()
        self.positive = positive
        self.in_conv = nn.Conv2d(channels, base, 3, padding=1)
        widths = [base * 2**level for level in range(_DEPTH + 2)]
        steps = [(widths[n], widths[n + 1], widths[n + 2]) for n in range(_DEPTH)]
        self.down_convs = nn.ModuleList(_Convolutions(i, o, o) for i, o, _ in steps)
        self.up_samples = nn.ModuleList(_Convolutions(below, o) for _, o, below in steps)
        self.up_convs = nn.ModuleList(_Convolutions(2 * o, o, o) for _, o, _ in steps)
        self.bottleneck_conv = _Convolutions(widths[_DEPTH], widths[_DEPTH + 1], widths[_DEPTH + 1])
        self.out_conv = nn.Sequential(
            nn.Conv2d(2 * base, base, 3, padding=1), nn.LeakyReLU(LEAK), nn.Conv2d(base, classes, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, classes, rows, columns) of slices (n, channels, rows, columns)."""
        x = self.in_conv(x)
        kept = []
        for down in self.down_convs:
            kept.append(down(x))
            x = F.max_pool2d(kept[-1], 2)
        x = self.bottleneck_conv(x)
        for up, join, skip in zip(reversed(self.up_samples), reversed(self.up_convs), reversed(kept), strict=True):
            x = up(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
            x = join(torch.cat([skip, x], dim=1))
        x = self.out_conv(x)
        return torch.as_tensor(F.relu(x) if self.positive else x)


class ThetaEncoder(nn.Module):
    """How a slice looks: mean and logarithm of the variance of two numbers."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, o, kernel, stride, padding in ((1, 32, 17, 9, 4), (32, 64, 4, 2, 1), (64, 64, 4, 2, 1)):
            layers += [nn.Conv2d(i, o, kernel, stride, padding), nn.InstanceNorm2d(o), nn.LeakyReLU(LEAK)]
        self.conv = nn.Sequential(*layers)
        self.mean_conv, self.logvar_conv = (
            nn.Sequential(*_block(64, 32), nn.Conv2d(32, THETA, 6, stride=6)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Mean (n, 2) of slices (n, 1, 224, 224)."""
        return torch.as_tensor(self.mean_conv(self.conv(x)).flatten(1))


class EtaEncoder(nn.Module):
    """How good a slice is: two numbers that tell artefacts."""

    def __init__(self) -> None:
        super().__init__()
        self.in_conv = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2), nn.InstanceNorm2d(16), nn.LeakyReLU(LEAK), *_block(16, 64)
        )
        self.seq = nn.Sequential(
            nn.Conv2d(65, 32, 32, stride=32), nn.InstanceNorm2d(32), nn.LeakyReLU(LEAK), nn.Conv2d(32, ETA, 7, stride=7)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2) of slices (n, 1, 224, 224)."""
        return torch.as_tensor(self.seq(torch.cat([self.in_conv(x), x], dim=1)).flatten(1))


class Attention(nn.Module):
    """Which of several images of one head to go by, from how alike their theta and eta are to those of the target."""

    def __init__(self) -> None:
        super().__init__()
        self.q_fc, self.k_fc = (
            nn.Sequential(nn.Linear(THETA + ETA, 128), nn.LeakyReLU(LEAK), nn.Linear(128, 16), nn.LayerNorm(16))
            for _ in range(2)
        )

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """Weights (n, images), which sum to 1, of a target (n, 4) and images (n, images, 4)."""
        alike = (self.k_fc(keys) @ self.q_fc(query)[:, :, None])[:, :, 0] * (THETA + ETA) ** -0.5
        return torch.as_tensor((alike / TEMPERATURE).softmax(dim=1))


class Patchifier(nn.Module):
    """Features of patches, which only its training needs; here so that a whole checkpoint has its place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 64, 32, stride=32), nn.LeakyReLU(LEAK), nn.Conv2d(64, 128, 1))


class PublishedHail(nn.Module):
    """All networks of ``harmonization.pt`` under their published names."""

    def __init__(self) -> None:
        super().__init__()
        self.beta_encoder = SliceUNet(1, CLASSES, 8, positive=False)
        self.theta_encoder = ThetaEncoder()
        self.eta_encoder = EtaEncoder()
        self.decoder = SliceUNet(1 + THETA, 1, 16, positive=True)
        self.attention_module = Attention()
        self.patchifier = Patchifier()

    def style(self, slices: Tensor) -> Tensor:
        """Mean theta and eta (4,) of slices (n, 1, 224, 224)."""
        return torch.cat([self.theta_encoder(slices), self.eta_encoder(slices)], dim=1).mean(0)

    def forward(self, images: Tensor, style: Tensor) -> Tensor:
        """Slices in another style.

        Args:
            images: (n, images, rows, columns) of one head, 0 to 1; sides are multiples of 16, at least 224.
            style: (4,) theta and eta of the target.

        Returns:
            (n, rows, columns), not negative, 0 where the first image is 0.
        """
        n, count = images.shape[:2]
        single = images.flatten(0, 1)[:, None]
        logits = self.beta_encoder(single)
        if count > 1:
            middle = _middle(single)
            keys = torch.cat([self.theta_encoder(middle), self.eta_encoder(middle)], dim=1).reshape(n, count, -1)
            weights = self.attention_module(style.expand(n, -1), keys)
            logits = (logits.reshape(n, count, *logits.shape[1:]) * weights[:, :, None, None, None]).sum(1)
        beta = logits.argmax(dim=1, keepdim=True) / CLASSES
        theta = style[:THETA, None, None].expand(n, -1, *images.shape[2:])
        drawn = self.decoder(torch.cat([beta, theta], dim=1))[:, 0]
        return torch.as_tensor(drawn * (images[:, 0] > 0))


def _middle(slices: Tensor) -> Tensor:
    rows, columns = slices.shape[2:]
    top, left = (rows - SLICE) // 2, (columns - SLICE) // 2
    return slices[:, :, top : top + SLICE, left : left + SLICE]
