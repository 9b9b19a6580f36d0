"""Our one-shot harmonizer: a style encoder, and a network that turns two styles into bounded intensity maps.

It makes no voxels. Per sequence it predicts one rising curve, and a smooth field of the coil's shading that is divided
out before. At a place p the map is ``curve(x * exp(-shading(p)))``: monotone at every place, with slopes between
``1 / STEEPEST`` and ``STEEPEST`` (times the shading), so that an edge keeps its sign and cannot appear from nowhere or
vanish.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hope.models.hail.coarse import VIEW_PERCENTILES

KNOTS = (0.0, 0.3, 0.5, 0.7, 0.85, 1.0, 1.15, 1.3, 1.5, 1.8, 2.2, 2.8, 3.6)
"""Where the curve may bend, in units of the brain's median; beyond the last knot it goes on straight."""
STEEPEST = 2.5
"""A contrast may grow or shrink by this factor at most. In the synthesis the contrast between two tissues differs by up
to 1.6 times from a common start, so by 2.5 times from scanner to scanner; more would be noise."""
MOST_SHADING = 0.5
"""Largest logarithm of the shading that is divided out. Coils of the synthesis stay within it but for rare corners."""
SEQUENCES = 4
TISSUES = 3
"""A code begins with what fluid, grey and white matter show, in units of the brain's median."""
VIEW_CHANNELS = 12
HEADS = 12
VOXELS = 4000
"""Single voxels that the style encoder looks at; a brain has about 20,000 at 4 mm."""


def _inside_mean(x: Tensor, mask: Tensor) -> Tensor:
    return (x * mask).sum((2, 3, 4)) / mask.sum((2, 3, 4)).clamp_min(1)


def _statistics(x: Tensor, mask: Tensor) -> Tensor:
    """Mean and deviation of each channel over the mask, (n, 2 c)."""
    mean = _inside_mean(x, mask)
    spread = _inside_mean((x - mean[:, :, None, None, None]) ** 2, mask)
    return torch.cat([mean, (spread + 1e-5).sqrt()], dim=1)


class StyleEncoder(nn.Module):
    """From the coarse view of a scan to one code per sequence.

    It looks at single voxels: their four intensities together, and where in the brain they lie. Each of several heads
    decides which voxels count for it (those of one tissue, say) and keeps their mean and spread alone: what is where is
    lost, which is what makes it a style.

    Args:
        code: numbers per sequence.
        width: channels.
    """

    def __init__(self, code: int, width: int) -> None:
        super().__init__()
        self.code = code
        self.voxel = nn.Linear(VIEW_CHANNELS, width)
        self.context = nn.Linear(SEQUENCES * len(VIEW_PERCENTILES), width)
        self.attention = nn.Sequential(
            nn.LeakyReLU(0.1), nn.Linear(width, width), nn.LeakyReLU(0.1), nn.Linear(width, HEADS)
        )
        pooled = 2 * HEADS * SEQUENCES + SEQUENCES * len(VIEW_PERCENTILES)
        self.out = nn.Sequential(nn.Linear(pooled, 128), nn.LeakyReLU(0.1), nn.Linear(128, SEQUENCES * code))

    def forward(self, view: Tensor, percentiles: Tensor) -> Tensor:
        """Codes (n, 4, code) of views (n, 12, i, j, k) and percentiles (n, 4, p); 0 for a missing sequence."""
        mask = view[:, 4:5] >= 0.5
        single = torch.stack([_some_voxels(v, m) for v, m in zip(view.flatten(2), mask.flatten(1), strict=True)])
        return self.of_voxels(single, percentiles)

    def of_voxels(self, single: Tensor, percentiles: Tensor) -> Tensor:
        """Codes of some voxels of the brain, (n, voxels, 12)."""
        context = self.context(percentiles.flatten(1))[:, None]
        weight = self.attention(self.voxel(single) + context).softmax(dim=1).transpose(1, 2)
        seen = single[:, :, :SEQUENCES]
        mean = weight @ seen
        spread = ((weight @ seen**2 - mean**2).clamp_min(0) + 1e-5).sqrt()
        parts = (mean.flatten(1), spread.flatten(1), percentiles.flatten(1))
        codes: Tensor = self.out(torch.cat(parts, dim=1)).reshape(-1, SEQUENCES, self.code)
        # The first heads are those of the tissues; what they find is corrected for mixture and shading.
        tissues = F.relu(mean[:, :TISSUES].transpose(1, 2) + 0.2 * codes[:, :, :TISSUES])
        codes = torch.cat([tissues, codes[:, :, TISSUES:]], dim=2)
        there = (percentiles[:, :, -1:] > 0).to(codes.dtype)
        return codes * there


def _some_voxels(view: Tensor, brain: Tensor) -> Tensor:
    """The channels (voxels, 12) of evenly spread voxels of the brain, always the same number of them."""
    inside = brain.nonzero()[:, 0]
    return view[:, inside[torch.arange(VOXELS, device=inside.device) * len(inside) // VOXELS]].T


class Modulated(nn.Module):
    """Convolution, instance normalisation inside the brain, then scale and offset that the styles decide (AdaIN)."""

    def __init__(self, conv: nn.Conv3d, style: int) -> None:
        super().__init__()
        self.conv = conv
        self.style = nn.Linear(style, 2 * conv.out_channels)

    def forward(self, x: Tensor, mask: Tensor, style: Tensor) -> Tensor:
        """Features; ``mask`` has their size."""
        x = self.conv(x)
        mean, spread = _statistics(x, mask).chunk(2, dim=1)
        scale, offset = self.style(style).chunk(2, dim=1)
        gain = (1 + scale) / spread
        x = x * gain[:, :, None, None, None] + (offset - mean * gain)[:, :, None, None, None]
        return F.leaky_relu(x, 0.1)


class HailNetwork(nn.Module):
    """Style encoder, modulated trunk at 8 mm, and heads for curves and shading.

    Args:
        code: numbers that the encoder makes per sequence, of which the first are ``TISSUES``; a style's code holds the
            percentiles behind them.
        width: channels of the style encoder.
        widths: channels of the trunk.
    """

    def __init__(self, code: int = 16, width: int = 48, widths: tuple[int, int] = (32, 48)) -> None:
        super().__init__()
        self.encoder = StyleEncoder(code, width)
        style = 2 * SEQUENCES * (code + len(VIEW_PERCENTILES))
        self.near = Modulated(nn.Conv3d(VIEW_CHANNELS, widths[0], 3, stride=2, padding=1), style)
        self.each = Modulated(nn.Conv3d(widths[0], widths[1], 1), style)
        self.shading = nn.Conv3d(widths[1], 2 * SEQUENCES, 1)
        self.curve = nn.Sequential(
            nn.Linear(style, 192),
            nn.LeakyReLU(0.1),
            nn.Linear(192, 128),
            nn.LeakyReLU(0.1),
            nn.Linear(128, SEQUENCES * (len(KNOTS) - 1)),
        )
        for parameter in (*self.shading.parameters(), *self.curve[-1].parameters()):
            nn.init.zeros_(parameter)

    def code(self, view: Tensor, percentiles: Tensor) -> Tensor:
        """A scan's style (n, 4, code + percentiles): what the encoder makes of it, and its percentiles."""
        return torch.cat([self.encoder(view, percentiles), percentiles], dim=2)

    def code_of_voxels(self, voxels: Tensor, percentiles: Tensor) -> Tensor:
        """As ``code``, from some voxels of the brain (n, voxels, 12)."""
        return torch.cat([self.encoder.of_voxels(voxels, percentiles), percentiles], dim=2)

    def forward(self, view: Tensor, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Maps from one style to another.

        Args:
            view: (n, 12, i, j, k) coarse view of the source; sizes are multiples of 8.
            source: the style that it has, see ``code``.
            target: the style that it is to get.

        Returns:
            Values of the curves at ``KNOTS`` (n, 4, knots), rising from 0, in units of the target's median; and the
            logarithm of the shading (n, 4, i, j, k) on the grid of the view, zero on average over the brain.
        """
        style = torch.cat([source.flatten(1), target.flatten(1)], dim=1)
        brain = (view[:, 4:5] >= 0.5).to(view.dtype)
        mask = F.max_pool3d(brain, 2)
        x = self.each(self.near(view, mask, style), mask, style)
        field = F.interpolate(self._field(x, mask), size=view.shape[2:], mode="trilinear", align_corners=False)
        return self.curves(source, target), field - _inside_mean(field, brain)[:, :, None, None, None]

    def curves(self, source: Tensor, target: Tensor) -> Tensor:
        """Values at ``KNOTS`` (n, 4, knots) of the curves from one style to another."""
        style = torch.cat([source.flatten(1), target.flatten(1)], dim=1)
        slopes = self.curve(style).reshape(-1, SEQUENCES, len(KNOTS) - 1)
        slopes = slopes + _tissue_slopes(source[:, :, :TISSUES], target[:, :, :TISSUES]).log()
        steps = STEEPEST ** torch.tanh(slopes / math.log(STEEPEST)) * _knots(style).diff()
        return F.pad(steps.cumsum(-1), (1, 0))

    def _field(self, x: Tensor, mask: Tensor) -> Tensor:
        """Shading on cells of 16 mm: what single places say of it, weighed by how much they can tell, and smoothed."""
        said, trust = self.shading(x).chunk(2, dim=1)
        trust = F.softplus(trust) * mask
        both = F.avg_pool3d(torch.cat([said * trust, trust], dim=1), 2)
        kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=x.dtype, device=x.device) / 16
        for axis in range(3):
            shape = [1, 1, 1, 1, 1]
            shape[2 + axis] = 5
            padding = [2 * int(axis == a) for a in range(3)]
            weight = kernel.reshape(shape).expand(2 * SEQUENCES, -1, -1, -1, -1)
            both = F.conv3d(both, weight, padding=padding, groups=2 * SEQUENCES)
        total, weight = both.chunk(2, dim=1)
        return MOST_SHADING * torch.tanh(total / (weight + 1e-3) / MOST_SHADING)


def _knots(like: Tensor) -> Tensor:
    return torch.tensor(KNOTS, dtype=like.dtype, device=like.device)


def _tissue_slopes(source: Tensor, target: Tensor) -> Tensor:
    """Slopes (n, 4, knots - 1) of the curve that sends each tissue of the source to that of the target.

    What else the network learns is how far to go from there. Where either is missing nothing is said of the slopes.
    """
    x, order = source.sort(dim=2)
    y = target.gather(2, order)
    gap = 0.04 * torch.arange(1, TISSUES + 1, dtype=x.dtype, device=x.device)
    # Tissues that cannot be told apart would ask for any slope; target values that fall ask for one that cannot be.
    x = (x - gap).cummax(2).values + gap
    y = (y - gap / 2).cummax(2).values + gap / 2
    x, y = (F.pad(torch.cat([v, 3 * v[:, :, -1:]], dim=2), (1, 0)) for v in (x, y))
    knots = _knots(source).expand(*source.shape[:2], -1).contiguous()
    place = torch.searchsorted(x.detach().contiguous(), knots, right=True).clamp(1, TISSUES + 1)
    x0, x1, y0, y1 = (v.gather(2, p) for v in (x, y) for p in (place - 1, place))
    slopes = (y0 + (knots - x0) * (y1 - y0) / (x1 - x0)).diff(dim=2) / _knots(source).diff()
    there = (source[:, :, -1:] > 0) & (target[:, :, -1:] > 0)
    return torch.where(there, slopes.clamp(0.1, 10), 1.0)


def apply_curve(x: Tensor, curve: Tensor) -> Tensor:
    """Send intensities through curves.

    Args:
        x: (n, 4, m) intensities, not negative, in units of the source's median.
        curve: (n, 4, knots) values at ``KNOTS``.
    """
    return between_knots(curve, *places_on_curve(x))


def places_on_curve(x: Tensor) -> tuple[Tensor, Tensor]:
    """Where intensities (n, 4, m) lie: the number of the knot below each, and the share of the way to the next one."""
    knots = _knots(x)
    place = torch.bucketize(x.detach().contiguous(), knots[1:-1], right=True)
    return place, (x - knots[place]) / (knots[place + 1] - knots[place])


def between_knots(curve: Tensor, place: Tensor, share: Tensor) -> Tensor:
    """The values (n, 4, m) of curves (n, 4, knots) at places that `places_on_curve` found."""
    low, high = curve.gather(2, place), curve.gather(2, place + 1)
    return low + share * (high - low)
