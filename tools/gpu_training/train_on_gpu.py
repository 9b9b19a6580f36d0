"""Train the network on one GPU in a few minutes from a file that ``pack.py`` made; only torch and numpy are needed.

python train_on_gpu.py cases.npz --out OUT --minutes 9

Augmentation, lesion transplants and synthesis run on the device. Every minute a checkpoint in half precision
(safetensors) and a line of ``log.jsonl`` go to OUT; ``to_bundle.py`` makes a bundle of a checkpoint. The network and
the loss are those of ``hope.models.networks.unet`` and ``hope.training.losses``; they are repeated here so that this
file stands alone.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

STARTED = time.monotonic()
FORMAT = "hope-gpu-pack/1"
MOST_MINUTES, MOST_FILES, MOST_BYTES, MOST_BYTES_TOGETHER = 9.0, 8, 16 * 2**20, 60 * 2**20
LOG, BEST = "log.jsonl", "best.safetensors"
ET, NET, CC, ED, BRAIN = 2, 4, 8, 16, 32
"""Bits of a voxel's label set; bit 0 is background, the bit of the brain is only used inside this file."""
LESION = ET | NET | CC | ED
SCORED = ((1,), (2,), (3,), (4,), (2, 3), (1, 2, 3), (1, 2, 3, 4))
"""Labels and regions whose Dice is part of the loss: ET, NET, CC, ED, NET with CC, TC, WT."""
REGIONS = {"WT": LESION, "TC": ET | NET | CC, "ET": ET}
SHARES = {
    "ring": 0.16,
    "non_enhancing": 0.16,
    "tumour_free": 0.08,
    "transplant": 0.2,
    "synthetic": 0.2,
    "painted": 0.1,
    "drawn": 0.1,
}
"""How often a patch is: a real case of a kind, a brain without tumour, a lesion in another brain, a packed synthetic
case, a drawn lesion in a tumour-free brain, or one in a brain that is itself drawn from the template's tissue maps."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """What the command line chose; see ``--help``."""

    minutes: float = MOST_MINUTES
    steps: int = 0
    fold: int = -1
    batch: int = 0
    crop: tuple[int, int, int] = (80, 96, 64)
    rate: float = 1e-3
    seed: int = 1
    save_seconds: float = 60.0


# --- the network: state dict keys as in hope.models.networks.unet


class ConvBlock(nn.Sequential):
    """3x3x3 convolution, instance normalisation, leaky ReLU; halves the size if ``stride`` is 2."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv3d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
            nn.InstanceNorm3d(channels_out, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        )


class UNet(nn.Module):
    """A plain 3D U-Net: (n, channels, x, y, z) to logits (n, classes, x, y, z)."""

    def __init__(
        self, channels: int, classes: int, widths: Sequence[int], blocks: Sequence[int], decoder_blocks: Sequence[int]
    ) -> None:
        super().__init__()
        self.encoder, self.up, self.decoder = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        previous = channels
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            first = ConvBlock(previous, width, stride=1 if stage == 0 else 2)
            self.encoder.append(nn.Sequential(first, *(ConvBlock(width, width) for _ in range(count - 1))))
            previous = width
        for stage in reversed(range(len(widths) - 1)):
            width, count = widths[stage], decoder_blocks[stage]
            self.up.append(nn.ConvTranspose3d(widths[stage + 1], width, 2, stride=2))
            more = (ConvBlock(width, width) for _ in range(count - 1))
            self.decoder.append(nn.Sequential(ConvBlock(2 * width, width), *more))
        self.head = nn.Conv3d(widths[0], classes, 1)

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


# --- the loss: as in hope.training.losses


def set_loss(logits: Tensor, sets: Tensor) -> Tensor:
    """Cross-entropy of the set's summed probability, plus one minus the mean soft Dice of labels and regions.

    A voxel counts for the Dice of a label or region only where its set decides it. The members of a set get the same
    gradient, so that a set never teaches how its members share the probability.

    Args:
        logits: (n, classes, x, y, z) float32.
        sets: (n, x, y, z) uint8 bit sets, none empty.
    """
    bits = torch.arange(logits.shape[1], device=sets.device, dtype=torch.int32).view(1, -1, 1, 1, 1)
    member = (sets[:, None].int() >> bits) & 1 == 1
    count = member.sum(dim=1, keepdim=True)
    mean = (logits * member).sum(dim=1, keepdim=True) / count
    # The value of each member's logit with the gradient of the members' mean.
    logits = torch.where(member & (count > 1), logits.detach() + mean - mean.detach(), logits)
    log_probability = logits.log_softmax(dim=1)
    entropy = -log_probability.masked_fill(~member, -math.inf).logsumexp(dim=1).mean()
    probability = log_probability.exp()
    scores, counted = [], []
    for values in SCORED:
        inside = sum(1 << value for value in values)
        truth = (sets & (0xFF ^ inside)) == 0
        decided = truth | ((sets & inside) == 0)
        predicted = probability[:, list(values)].sum(dim=1) * decided
        present = truth.sum()
        scores.append((2 * (predicted * truth).sum() + 1) / (predicted.sum() + present + 1))
        counted.append(present > 0)
    weight = torch.stack(counted).float()
    return entropy + (weight * (1 - torch.stack(scores))).sum() / weight.sum().clamp_min(1)


# --- the packed cases


@dataclass(frozen=True)
class Pack:
    """Cases on the device, all on one block with the brain in its middle.

    Attributes:
        meta: what the file says of itself; ``meta["cases"]`` has id, kind, fold and so on of each case.
        codes: (n + 1, 4, x, y, z) uint8; 0 outside the brain, else z = (code - 128) / ``steps``. The last one holds the
            template's grey matter, white matter and brain.
        sets: (n + 1, x, y, z) uint8 label sets; the bit ``BRAIN`` is set inside the brain.
        places: per case voxels (m, 3) of every set that holds a lesion, and under 0 of the brain.
        steps: codes a unit of z.
        weights: starting weights.
    """

    meta: dict[str, Any]
    codes: Tensor
    sets: Tensor
    places: list[dict[int, npt.NDArray[np.int64]]]
    steps: float
    weights: dict[str, Tensor]

    @property
    def block(self) -> Floats:
        """Shape of the block."""
        return np.array(self.sets.shape[1:], dtype=np.float64)

    def has_lesion(self, index: int) -> bool:
        """Whether a case has a tumour."""
        return len(self.places[index]) > 1

    def chosen(self, fold: int, held_out: bool) -> list[int]:
        """Cases that are held out (real ones of ``fold``, and those marked so), or all others."""
        cases = enumerate(self.meta["cases"])
        return [i for i, c in cases if (c["held_out"] or (fold >= 0 and c["fold"] == fold)) == held_out]


def read_pack(path: Path, device: torch.device, seed: int = 0) -> Pack:
    """Read a packed file and bring its cases to the device.

    Raises:
        SystemExit: if it is none.
    """
    with np.load(path, allow_pickle=False) as content:
        meta: dict[str, Any] = json.loads(content["meta"].tobytes()) if "meta" in content else {}
        if meta.get("format") != FORMAT:
            raise SystemExit(f"{path.name} is not a packed file; expected {FORMAT}, got {meta.get('format')}")
        count = len(meta["cases"])
        shapes = [content[f"{i}/shape"].astype(int) for i in range(count)] + [np.array(content["tissue"].shape[1:])]
        block = np.max(shapes, axis=0)
        codes = np.zeros((count + 1, 4, *block), dtype=np.uint8)
        sets = np.zeros((count + 1, *block), dtype=np.uint8)
        for i, shape in enumerate(shapes[:-1]):
            box = tuple(slice(start, start + n) for start, n in zip((block - shape) // 2, shape, strict=True))
            mask = np.unpackbits(content[f"{i}/mask"], count=int(shape.prod())).reshape(shape).astype(bool)
            values = np.cumsum(content[f"{i}/image"], axis=1, dtype=np.uint8)
            for channel in range(4):
                codes[i, channel][box][mask] = values[channel]
            sets[i][box][mask] = content[f"{i}/sets"] | BRAIN
        tissue = content["tissue"]
        box = tuple(slice(s, s + n) for s, n in zip((block - shapes[-1]) // 2, shapes[-1], strict=True))
        codes[-1] = 1
        codes[-1][(slice(0, 3), *box)] = np.maximum(tissue, 1)
        sets[-1][box] = np.where(tissue[2] > 127, 1 | BRAIN, 0)
        names = [name for name in content.files if name.startswith("weights/")]
        weights = {name.removeprefix("weights/"): torch.from_numpy(content[name]).float() for name in names}
    rng = np.random.default_rng(seed)
    places = [_places(rng, case) for case in sets]
    on_device = torch.from_numpy(codes).to(device), torch.from_numpy(sets).to(device)
    return Pack(meta, *on_device, places, float(meta["steps"]), weights)


def _places(rng: np.random.Generator, sets: npt.NDArray[np.uint8]) -> dict[int, npt.NDArray[np.int64]]:
    """Voxels of each lesion set, and of the brain, at most 4,000 of each."""
    found = {}
    for code in [0, *(int(c) for c in np.unique(sets & LESION) if c)]:
        where = np.argwhere(sets > 0 if code == 0 else (sets & LESION) == code)
        found[code] = rng.permutation(where)[:4000]
    return found


# --- what is drawn, on the host: which case, where, turned how


@dataclass(frozen=True)
class Views:
    """Where crops come from: crop voxel u shows the case's voxel ``origin + matrix @ (u - pivot)``.

    Attributes:
        case: (n,) index.
        origin, pivot: (n, 3) voxels of the case's block and of the crop.
        matrix: (n, 3, 3).
        target: (n, 3) the chosen voxel as a crop voxel.
    """

    case: npt.NDArray[np.int64]
    origin: Floats
    pivot: Floats
    matrix: Floats
    target: Floats


def random_matrix(rng: np.random.Generator) -> Floats:
    """A small rotation, a size, and a left-right flip in half of the draws."""
    x, y, z = np.deg2rad(rng.normal(0, 20 if rng.random() < 0.15 else 7, 3))
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    size = np.exp(rng.normal(0, 0.1) + rng.normal(0, 0.04, 3))
    flip = np.array([rng.choice([-1.0, 1.0]), 1.0, 1.0])
    return np.asarray(flip[:, None] * (about_x @ about_y @ about_z) * size)


def draw_views(rng: np.random.Generator, pack: Pack, cases: Sequence[int], crop: Sequence[int]) -> Views:
    """A view of each case; two of three show a voxel of a label drawn by chance near their middle."""
    size, block = np.array(crop, dtype=np.float64), pack.block
    low, high = np.minimum(size, block) / 2 - 0.5, np.maximum(block - size / 2, block / 2) - 0.5
    rows = []
    for case in cases:
        places = pack.places[case]
        codes = [code for code in places if code]
        voxels = places[int(rng.choice(codes))] if codes and rng.random() < 0.67 else places[0]
        chosen = voxels[rng.integers(len(voxels))].astype(np.float64)
        centre = np.clip(chosen + rng.uniform(-size / 4, size / 4), low, high)
        matrix = random_matrix(rng)
        middle = (size - 1) / 2
        rows.append((centre, middle, matrix, middle + np.linalg.solve(matrix, chosen - centre)))
    origin, pivot, matrices, target = (np.stack(parts) for parts in zip(*rows, strict=True))
    return Views(np.array(cases), origin, pivot, matrices, target)


def donor_views(rng: np.random.Generator, pack: Pack, cases: Sequence[int], hosts: Views, crop: Sequence[int]) -> Views:
    """Views of lesions to be set into ``hosts``, about where they grew, or anywhere in every third."""
    size = np.array(crop, dtype=np.float64)
    lesions = []
    for case in cases:
        places = pack.places[case]
        code = int(rng.choice([code for code in places if code]))
        lesions.append(places[code][rng.integers(len(places[code]))].astype(np.float64))
    origin = np.stack(lesions)
    spread = np.where(rng.random((len(cases), 1)) < 0.33, 16.0, 4.0)
    wanted = origin - hosts.origin + hosts.pivot + rng.normal(0, 1, origin.shape) * spread
    pivot = np.clip(wanted, np.minimum(8, size / 4), np.maximum(size - 8, size * 0.75))
    return Views(np.array(cases), origin, pivot, np.stack([random_matrix(rng) for _ in cases]), pivot)


def kept_sequences(rng: np.random.Generator, present: Sequence[bool]) -> list[float]:
    """1 for each sequence that the network sees, 0 for others; three of ten views lose one, two or three."""
    keep = np.array(present, dtype=float)
    if rng.random() < 0.3:
        number = int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))
        lost = rng.choice(4, size=number, replace=False, p=[0.3, 0.15, 0.2, 0.35])
        less = keep.copy()
        less[lost] = 0
        keep = less if less.any() else keep
    return [float(value) for value in keep]


# --- what is done to it, on the device


class Randomness:
    """Random numbers on the device, the same for the same seed and step on the same device."""

    def __init__(self, device: torch.device, seed: int, step: int) -> None:
        self.device = device
        self._generator = torch.Generator(device).manual_seed((seed * 1_000_003 + step) % 2**63)

    def uniform(self, low: float | Tensor, high: float | Tensor, *shape: int) -> Tensor:
        """Numbers between ``low`` and ``high``."""
        return torch.rand(*shape, generator=self._generator, device=self.device) * (high - low) + low

    def chance(self, probability: float, *shape: int) -> Tensor:
        """1 with this probability, else 0."""
        return (self.uniform(0, 1, *shape) < probability).float()

    def normal(self, *shape: int) -> Tensor:
        """Gaussian numbers."""
        return torch.randn(*shape, generator=self._generator, device=self.device)

    def smooth(self, count: int, channels: int, crop: Sequence[int], scale: float) -> Tensor:
        """Gaussian values on knots ``scale`` voxels apart, linear between them; (n, c, x, y, z)."""
        knots = [max(2, math.ceil(n / scale) + 1) for n in crop]
        values = self.normal(count, channels, *knots)
        return F.interpolate(values, size=list(crop), mode="trilinear", align_corners=True)

    def fractal(self, count: int, crop: Sequence[int], scale: float) -> Tensor:
        """Three octaves of ``smooth`` with unit deviation; (n, 1, x, y, z)."""
        octaves = [0.55**octave * self.smooth(count, 1, crop, scale / 2**octave) for octave in range(3)]
        total = torch.stack(octaves).sum(dim=0)
        return (total - total.mean((2, 3, 4), True)) / total.std((2, 3, 4), keepdim=True).clamp_min(1e-6)


def blur(x: Tensor, times: int = 1) -> Tensor:
    """Mean of 3x3x3 voxels, ``times`` times."""
    for _ in range(times):
        x = F.avg_pool3d(x, 3, stride=1, padding=1)
    return x


def standardised(x: Tensor, mask: Tensor) -> Tensor:
    """Zero mean and unit deviation of each channel inside ``mask`` (n, 1, x, y, z), clipped as at inference."""
    count = mask.sum((2, 3, 4), keepdim=True).clamp_min(1)
    mean = (x * mask).sum((2, 3, 4), keepdim=True) / count
    deviation = (((x - mean) * mask).square().sum((2, 3, 4), keepdim=True) / count).sqrt()
    return ((x - mean) / deviation.clamp_min(1e-3)).clamp(-6, 6) * mask


def show(pack: Pack, views: Views, crop: Sequence[int], random: Randomness) -> tuple[Tensor, Tensor]:
    """Sample the views, deformed by smooth fields: images (n, 4, x, y, z), and sets (n, 1, x, y, z) uint8."""
    device, count = random.device, len(views.case)
    origin, pivot, matrix = (
        torch.from_numpy(values).to(device, torch.float32) for values in (views.origin, views.pivot, views.matrix)
    )
    axes = [torch.arange(n, device=device, dtype=torch.float32) for n in crop]
    voxels = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(1, -1, 3)
    place = origin[:, None] + torch.bmm(voxels - pivot[:, None], matrix.transpose(1, 2))
    displacement = random.smooth(count, 3, crop, 22) * random.uniform(0, 2.5, count, 1, 1, 1, 1)
    displacement = displacement + random.smooth(count, 3, crop, 9) * random.uniform(0, 0.8, count, 1, 1, 1, 1)
    displacement = displacement * random.chance(0.8, count, 1, 1, 1, 1)
    place = place.reshape(count, *crop, 3) + displacement.permute(0, 2, 3, 4, 1)
    block = torch.tensor(pack.block, device=device, dtype=torch.float32)
    grid = ((2 * place + 1) / block - 1).flip(-1)  # grid_sample counts from the last axis
    case = torch.from_numpy(views.case).to(device)
    codes = pack.codes[case].float()
    scores = (codes - 128) * (codes > 0) / pack.steps
    x = F.grid_sample(scores, grid, mode="bilinear", align_corners=False)
    sets = F.grid_sample(pack.sets[case][:, None].float(), grid, mode="nearest", align_corners=False).to(torch.uint8)
    return x * ((sets & BRAIN) > 0), sets


def transplant(x: Tensor, sets: Tensor, donor: Tensor, donor_sets: Tensor) -> tuple[Tensor, Tensor]:
    """Blend the donors' lesions into the hosts, at the host's brightness and contrast of healthy tissue."""
    brain = ((sets & BRAIN) > 0).float()
    lesion = ((donor_sets & LESION) > 0).float()
    near = F.max_pool3d(lesion, 5, stride=1, padding=2)
    soft = torch.maximum(blur(near, 2), lesion) * brain
    healthy_host = brain * ((sets & LESION) == 0)
    healthy_donor = ((donor_sets & BRAIN) > 0).float() * (1 - near)
    moments = []
    for image, mask in ((x, healthy_host), (donor, healthy_donor)):
        count = mask.sum((2, 3, 4), keepdim=True).clamp_min(1)
        mean = (image * mask).sum((2, 3, 4), keepdim=True) / count
        spread = (((image - mean) * mask).square().sum((2, 3, 4), keepdim=True) / count).sqrt().clamp_min(0.1)
        moments.append((mean, spread))
    (mean, spread), (donor_mean, donor_spread) = moments
    fitted = (donor - donor_mean) / donor_spread * spread + mean
    takes = (lesion * brain) > 0
    return x * (1 - soft) + fitted * soft, torch.where(takes, (donor_sets & LESION) | BRAIN, sets)


STYLES = torch.tensor(
    [  # rim width, rim above, inside above, cyst below: lowest and highest of each (texture has unit deviation)
        [[0.14, 0.55], [-2.2, -0.3], [0.7, 1.8], [-4.0, -0.8]],  # ring that enhances
        [[0.0, 0.1], [3.0, 5.0], [-2.5, 0.2], [-4.0, -1.2]],  # solid, enhances
        [[0.0, 0.1], [3.0, 5.0], [0.9, 5.0], [-4.0, -1.3]],  # solid, hardly enhances
        [[0.05, 0.2], [-2.0, 4.0], [1.2, 4.0], [6.0, 7.0]],  # cyst with a wall
        [[0.05, 0.3], [-2.0, 4.0], [0.5, 4.0], [-1.0, 0.5]],  # cystic in part
    ]
)
BRIGHTNESS = torch.tensor(
    [  # z-scores of t1n, t1c, t2w, t2f: lowest and highest of each
        [[-1.0, 0.5], [1.2, 5.0], [0.2, 2.2], [0.4, 3.0]],  # ET
        [[-2.2, 0.4], [-1.8, 0.6], [0.3, 3.5], [-0.8, 3.2]],  # NET
        [[-3.2, -0.8], [-3.0, -0.6], [1.8, 5.0], [-2.8, 1.8]],  # CC
        [[-1.2, 0.2], [-1.0, 0.3], [0.6, 3.0], [0.9, 3.8]],  # ED
    ]
)


def paint(x: Tensor, sets: Tensor, target: Tensor, random: Randomness) -> tuple[Tensor, Tensor]:
    """Draw one lesion of random shape, parts and contrast into each brain.

    Args:
        x: (n, 4, x, y, z) z-scores.
        sets: (n, 1, x, y, z).
        target: (n, 3) where, in crop voxels.
        random: all randomness.
    """
    count, crop = len(x), x.shape[2:]
    one = (count, 1, 1, 1, 1)
    axes = torch.meshgrid(*(torch.arange(n, device=x.device).float() for n in crop), indexing="ij")
    turn = torch.linalg.qr(random.normal(count, 3, 3)).Q
    offset = torch.stack(axes)[None] - target.view(count, 3, 1, 1, 1)
    radius = torch.exp(random.uniform(math.log(1.5), math.log(15), count, 1))
    half = (radius * random.uniform(0.7, 1.35, count, 3)).view(count, 3, 1, 1, 1)
    phi = (torch.einsum("nij,njxyz->nixyz", turn, offset) / half).square().sum(1, keepdim=True).sqrt()
    phi = phi + random.fractal(count, crop, 9) * random.uniform(0.04, 0.25, *one)
    texture = random.fractal(count, crop, 6)
    limits = STYLES.to(x.device)[(random.uniform(0, 1, count) * len(STYLES)).long()]
    width, rim_above, above, below = random.uniform(limits[..., 0], limits[..., 1], count, 4).T.reshape(4, *one)
    core = phi < 1
    enhancing = core & (((1 - phi < width) & (texture > rim_above)) | (texture > above))
    cyst = core & ~enhancing & (1 - phi >= width) & (texture < below)
    reach = random.uniform(0, 1.5, *one) * random.chance(0.7, *one)
    oedema = ~core & (phi + random.fractal(count, crop, 7) * 0.2 * (reach > 0) < 1 + reach)
    brain = (sets & BRAIN) > 0
    parts = torch.cat([enhancing, core & ~enhancing & ~cyst, cyst, oedema], dim=1) & brain
    weights = blur(parts.float())
    level = random.uniform(BRIGHTNESS[..., 0].to(x.device), BRIGHTNESS[..., 1].to(x.device), count, 4, 4)
    grain = 1 + random.fractal(count, crop, 4) * random.uniform(0.02, 0.16, *one)
    drawn = torch.einsum("npc,npxyz->ncxyz", level, weights) * grain
    through = weights[:, 3:] * random.uniform(0, 0.5, *one)  # tissue shows through oedema
    covered = weights.sum(1, keepdim=True)
    x = x * (1 - covered + through) + drawn * (1 - through / covered.clamp_min(1e-3))
    bits = torch.tensor([ET, NET, CC, ED], device=x.device).view(1, 4, 1, 1, 1)
    label = (parts * bits).sum(1, keepdim=True).to(torch.uint8)
    return x, torch.where(label > 0, label | BRAIN, sets)


def brains_from_tissue(maps: Tensor, brain: Tensor, steps: float, random: Randomness) -> Tensor:
    """Z-scores of brains drawn from the template's tissue maps, with a contrast for each sequence.

    Args:
        maps: (n, 4, x, y, z) grey matter, white matter and brain as sampled from the pack.
        brain: (n, 1, x, y, z) mask.
        steps: codes a unit of z.
        random: all randomness.
    """
    count, one = len(maps), (len(maps), 1, 1, 1, 1)
    share = ((maps * steps + 128) / 255).clamp(0, 1) * brain
    crisp = random.uniform(1, 2.2, *one)
    gm, wm = share[:, :1] ** crisp, share[:, 1:2] ** crisp
    csf = (brain - share[:, :1] - share[:, 1:2]).clamp(0, 1) ** crisp
    infant = random.chance(0.15, *one)  # white matter not yet myelinated
    t1_wm = random.uniform(1.15, 1.55, *one) * (1 - infant) + random.uniform(0.8, 1.02, *one) * infant
    t2_wm = random.uniform(0.55, 0.9, *one) * (1 - infant) + random.uniform(1.0, 1.3, *one) * infant
    t2f_wm = random.uniform(0.68, 0.98, *one) * (1 - infant) + random.uniform(0.95, 1.15, *one) * infant
    t1_csf, t2_csf, t2f_csf = (random.uniform(low, high, *one) for low, high in ((0.15, 0.6), (1.5, 2.6), (0.05, 0.45)))
    levels = ((t1_csf, t1_wm), (t1_csf, t1_wm * random.uniform(0.95, 1.05, *one)), (t2_csf, t2_wm), (t2f_csf, t2f_wm))
    image = torch.cat([gm + fluid * csf + white * wm for fluid, white in levels], dim=1)
    grain = torch.cat([random.fractal(count, maps.shape[2:], 4) for _ in range(4)], dim=1)
    return standardised(image * (1 + grain * random.uniform(0.0, 0.06, *one)), brain)


def degrade(x: Tensor, brain: Tensor, random: Randomness, rng: np.random.Generator) -> Tensor:
    """Other scanners: intensity curves, shading, blur, thick slices and noise, of each sequence by itself."""
    count, channels, *crop = x.shape
    each = (count, channels, 1, 1, 1)
    width = random.uniform(0.7, 2.0, *each)
    bump = torch.tanh((x - random.uniform(-2, 2, *each)) / width) * width * random.uniform(-0.5, 0.8, *each)
    x = x + bump * random.chance(0.4, *each)
    power = random.uniform(0.8, 1.25, *each)
    x = torch.where(random.chance(0.3, *each) > 0, x.sign() * (x.abs() + 1e-6) ** power, x)
    gain, shift = random.uniform(0.8, 1.25, *each), random.normal(*each) * 0.15
    x = torch.where(random.chance(0.7, *each) > 0, x * gain + shift, x)
    scale = float(rng.uniform(16, 48))
    field = random.smooth(count, channels, crop, scale) * random.uniform(0, 0.3, *each) * random.chance(0.5, *each)
    x = x * (1 + field) + random.smooth(count, channels, crop, scale) * 0.2 * random.chance(0.3, *each)
    soft = random.uniform(0, 1, *each) * random.chance(0.25, *each)
    x = x * (1 - soft) + blur(x) * soft
    axis, thick = int(rng.choice(3, p=[0.15, 0.15, 0.7])), int(rng.integers(2, 4))
    kernel = [thick if a == axis else 1 for a in range(3)]
    slices = F.interpolate(F.avg_pool3d(x, kernel, ceil_mode=True), size=crop, mode="trilinear", align_corners=False)
    x = torch.where(random.chance(0.3, *each) > 0, slices, x)
    x = x + random.normal(*x.shape) * random.uniform(0, 0.25, *each) * random.chance(0.3, *each)
    return x * brain


class Sampler:
    """Draws batches.

    Args:
        pack: the cases.
        train: those that may be drawn.
        settings: crop and seed.
    """

    def __init__(self, pack: Pack, train: Sequence[int], settings: Settings) -> None:
        self.pack, self.settings, self.device = pack, settings, pack.codes.device
        kinds = {i: pack.meta["cases"][i]["kind"] for i in train}
        sick = [i for i in train if pack.has_lesion(i)]
        empty = [i for i in train if not pack.has_lesion(i)]
        by_kind = {k: [i for i in sick if kinds[i] == k] for k in ("ring", "non_enhancing", "synthetic")}
        whole = {k: [i for i in c if all(pack.meta["cases"][i]["present"])] for k, c in by_kind.items()}
        self.donors = [cases for cases in whole.values() if cases]
        self.hosts = [cases for cases in (empty, list(train)) if cases]
        self.cases = {**by_kind, "tumour_free": empty, "painted": empty, "drawn": [len(pack.places) - 1]}
        self.cases["transplant"] = list(train) if self.donors else []
        self.roles = [role for role in SHARES if self.cases[role]]
        shares = np.array([SHARES[role] for role in self.roles])
        self.shares = shares / shares.sum()

    def _case(self, rng: np.random.Generator, role: str) -> int:
        cases = self.hosts[int(rng.integers(len(self.hosts)))] if role == "transplant" else self.cases[role]
        return int(cases[rng.integers(len(cases))])

    @torch.no_grad()
    def batch(self, step: int, count: int) -> tuple[Tensor, Tensor]:
        """Images (n, 4, x, y, z) float32 and label sets (n, x, y, z) uint8 of one step."""
        pack, crop = self.pack, self.settings.crop
        rng = np.random.default_rng([self.settings.seed, step])
        random = Randomness(self.device, self.settings.seed, step)
        roles = [str(role) for role in rng.choice(self.roles, size=count, p=self.shares)]
        views = draw_views(rng, pack, [self._case(rng, role) for role in roles], crop)
        x, sets = show(pack, views, crop, random)
        if drawn := [i for i, role in enumerate(roles) if role == "drawn"]:
            brain = ((sets[drawn] & BRAIN) > 0).float()
            x[drawn] = brains_from_tissue(x[drawn], brain, pack.steps, random)
        if sewn := [i for i, role in enumerate(roles) if role == "transplant"]:
            groups = [self.donors[int(rng.integers(len(self.donors)))] for _ in sewn]
            hosts = Views(*(getattr(views, name)[sewn] for name in ("case", "origin", "pivot", "matrix", "target")))
            donors = donor_views(rng, pack, [int(g[rng.integers(len(g))]) for g in groups], hosts, crop)
            x[sewn], sets[sewn] = transplant(x[sewn], sets[sewn], *show(pack, donors, crop, random))
        painted = [i for i, role in enumerate(roles) if role == "painted" or (role == "drawn" and rng.random() < 0.75)]
        if painted:
            target = torch.from_numpy(views.target[painted]).to(self.device, torch.float32)
            x[painted], sets[painted] = paint(x[painted], sets[painted], target, random)
        brain = ((sets & BRAIN) > 0).float()
        if changed := sorted({*sewn, *painted}):
            x[changed] = standardised(x[changed], brain[changed])
        present = [c["present"] for c in pack.meta["cases"]] + [[True] * 4]
        keep = torch.tensor([kept_sequences(rng, present[case]) for case in views.case], device=self.device)
        x = degrade(x, brain, random, rng) * keep.view(count, 4, 1, 1, 1)
        sets = sets[:, 0] & 31
        return x, torch.where(sets == 0, torch.ones_like(sets), sets)


# --- looking at held-out cases


def half_precision(device: torch.device) -> torch.autocast:
    """Compute in bf16 on a GPU; many CPUs only emulate it, a hundred times slower."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


@torch.no_grad()
def held_out_scores(network: nn.Module, pack: Pack, cases: Sequence[int], multiple: int) -> dict[str, dict[str, float]]:
    """Mean Dice per kind of case and region whose truth is not empty; for tumour-free brains the ml that are marked.

    Args:
        network: in evaluation mode.
        pack: the cases.
        cases: which ones.
        multiple: what the network's input has to be a multiple of.
    """
    found: dict[str, dict[str, list[float]]] = {}
    pads = [(-n) % multiple for n in pack.sets.shape[1:]]
    ml = float(pack.meta["spacing_mm"]) ** 3 / 1000
    for case in cases:
        codes = pack.codes[case : case + 1].float()
        x = F.pad((codes - 128) * (codes > 0) / pack.steps, [n for p in reversed(pads) for n in (0, p)])
        with half_precision(x.device):
            prediction = network(x)[0].argmax(0)
        marked = torch.bitwise_left_shift(torch.ones_like(prediction), prediction)[
            tuple(slice(n) for n in pack.sets.shape[1:])
        ]
        truth = pack.sets[case] & 31
        kind = pack.meta["cases"][case]["kind"] if pack.has_lesion(case) else "tumour_free"
        scores = found.setdefault(kind, {})
        for region, bits in REGIONS.items():
            said, true = (marked & bits) > 0, (truth & bits) > 0
            size, overlap, total = (float(v.sum()) for v in (true, said & true, said))
            if size:
                scores.setdefault(region, []).append(2 * overlap / (size + total))
            elif region == "WT":
                scores.setdefault("false_ml", []).append(total * ml)
    return {k: {region: round(float(np.mean(v)), 4) for region, v in s.items()} for k, s in found.items()}


# --- files


def safetensors_bytes(weights: dict[str, Tensor], facts: dict[str, Any]) -> bytes:
    """Weights in half precision as a safetensors file, with ``facts`` as JSON in its header."""
    header: dict[str, Any] = {"__metadata__": {"hope": json.dumps(facts)}}
    blobs, place = [], 0
    for name, value in weights.items():
        blob = value.detach().to("cpu", torch.float16).contiguous().numpy().tobytes()
        header[name] = {"dtype": "F16", "shape": list(value.shape), "data_offsets": [place, place + len(blob)]}
        blobs.append(blob)
        place += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(blobs)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Weights of a file in half or single precision, as float32."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    types = {"F16": np.float16, "F32": np.float32}
    weights = {}
    for name, entry in header.items():
        first, end = entry["data_offsets"]
        values = np.frombuffer(content[start + first : start + end], dtype=types[entry["dtype"]])
        weights[name] = torch.from_numpy(values.reshape(entry["shape"]).astype(np.float32))
    return weights


class Output:
    """The folder of a run: a log, the best checkpoint and the newest ones, never more files than may come back."""

    def __init__(self, folder: Path, weights: dict[str, Tensor]) -> None:
        size = len(safetensors_bytes(weights, {})) + 2**16
        if size > MOST_BYTES:
            raise SystemExit(
                f"a checkpoint would have {size / 2**20:.1f} MiB; at most {MOST_BYTES / 2**20:g} may come back"
            )
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.glob("*.safetensors")) or (folder / LOG).exists():
            raise SystemExit(f"{folder} already holds a run; choose another --out")
        # Beside the newest ones there are the best one, the log and one file that is being written.
        self._newest = max(1, min(MOST_FILES - 3, MOST_BYTES_TOGETHER // size - 2))
        self.folder, self._best = folder, -1.0

    def log(self, entry: dict[str, Any]) -> None:
        """Add a line to the log and show it."""
        with (self.folder / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
        sys.stdout.write(json.dumps(entry) + "\n")
        sys.stdout.flush()

    def save(self, weights: dict[str, Tensor], facts: dict[str, Any], score: float) -> None:
        """Write a checkpoint, drop the oldest, and keep a copy of the one with the best ``score``."""
        content = safetensors_bytes(weights, facts)
        older = sorted(self.folder.glob("step-*.safetensors"))
        for path in older[: max(0, len(older) - self._newest + 1)]:
            path.unlink()
        self._write(self.folder / f"step-{facts['step']:06d}.safetensors", content)
        if score > self._best:
            self._best = score
            self._write(self.folder / BEST, content)

    def _write(self, path: Path, content: bytes) -> None:
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(content)
        temporary.replace(path)


# --- the run


class Training:
    """Network, running average and optimiser of one run."""

    def __init__(self, pack: Pack, start: dict[str, Tensor] | None, settings: Settings, output: Path) -> None:
        torch.manual_seed(settings.seed)
        self.pack, self.settings, self.device = pack, settings, pack.codes.device
        arguments = pack.meta["network"]
        self.multiple = 2 ** (len(arguments["widths"]) - 1)
        if any(n % self.multiple for n in settings.crop):
            raise SystemExit(f"--crop has to be multiples of {self.multiple}, got {settings.crop}")
        self.network, self.average = UNet(**arguments).to(self.device), UNet(**arguments).to(self.device)
        if start is not None:
            self.network.load_state_dict(start)
        self.average.load_state_dict(self.network.state_dict())
        self.average.eval()
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=settings.rate, weight_decay=1e-4)
        self.layout = torch.contiguous_format
        self.held_out = pack.chosen(settings.fold, held_out=True)
        self.trained_on = pack.chosen(settings.fold, held_out=False)
        self.sampler = Sampler(pack, self.trained_on, settings)
        self.output = Output(output, self.average.state_dict())
        self.step = 0

    def backward(self, x: Tensor, sets: Tensor) -> Tensor:
        """Loss of a batch, its gradients added to the network's."""
        with half_precision(self.device):
            logits = self.network(x.to(memory_format=self.layout))
        loss = set_loss(logits.float(), sets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def update(self, x: Tensor, sets: Tensor, done: float) -> Tensor:
        """One step; ``done`` from 0 to 1 says how much of the run is over. Returns the loss on the device."""
        steps = self.settings.steps
        warm = min(1.0, (self.step + 1) / max(1, min(50, steps // 10 if steps else 50)))
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.backward(x, sets)
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        keep = min(0.999, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(new, 1 - keep)
        return loss

    def tune(self) -> int:
        """Choose the memory layout by time and the batch by memory; on the CPU both are fixed. Returns the batch."""
        if self.device.type != "cuda":
            return self.settings.batch or 2
        peaks = []
        for count in (1, 2):
            torch.cuda.reset_peak_memory_stats(self.device)
            self.backward(*self.sampler.batch(0, count))
            peaks.append(torch.cuda.max_memory_allocated(self.device))
        spare = 0.7 * torch.cuda.get_device_properties(self.device).total_memory - peaks[0]
        batch = self.settings.batch or max(1, min(16, 1 + int(spare / max(1, peaks[1] - peaks[0]))))
        seconds = {}
        for layout in (torch.contiguous_format, torch.channels_last_3d):
            self.layout = layout
            self.network.to(memory_format=layout)
            seconds[layout] = self._seconds(*self.sampler.batch(0, batch))
        self.layout = min(seconds, key=lambda layout: seconds[layout])
        self.network.to(memory_format=self.layout)
        self.output.log({"batch": batch, "layouts": {str(k): round(v, 4) for k, v in seconds.items()}})
        return batch

    def _seconds(self, x: Tensor, sets: Tensor) -> float:
        """Seconds of one forward and backward pass."""
        for _ in range(3):
            self.backward(x, sets)
        torch.cuda.synchronize(self.device)
        start = time.perf_counter()
        for _ in range(3):
            self.backward(x, sets)
        torch.cuda.synchronize(self.device)
        return (time.perf_counter() - start) / 3

    def look(self) -> dict[str, dict[str, float]]:
        """Scores of the averaged weights on held-out cases."""
        return held_out_scores(self.average, self.pack, self.held_out, self.multiple)

    def save(self, loss: float) -> None:
        """Look at held-out cases, then write a checkpoint of the averaged weights."""
        scores = self.look()
        dice = [value for kind in scores.values() for region, value in kind.items() if region != "false_ml"]
        seconds = round(time.monotonic() - STARTED, 1)
        names = ("base", "base_synthetic", "base_sources", "network")
        cases = [self.pack.meta["cases"][i] for i in self.trained_on]
        real = [case for case in cases if case["kind"] != "synthetic"]
        facts = {
            **{name: self.pack.meta[name] for name in names},
            "step": self.step,
            "seconds": seconds,
            "settings": asdict(self.settings),
            "real_cases": [case["id"] for case in real],
            "synthetic_cases": len(cases) - len(real),
            "sources": sorted({case["source"] for case in real if case["source"]}),
            "held_out_dice": scores,
        }
        self.output.save(self.average.state_dict(), facts, float(np.mean(dice)) if dice else float(self.step))
        self.output.log({"step": self.step, "seconds": seconds, "loss": round(loss, 4), "held_out": scores})

    def run(self) -> None:
        """Train until the time or the steps are over."""
        limit, steps = self.settings.minutes * 60, self.settings.steps
        batch = self.tune()
        # The look at the start also says how long the last one will take, which has to fit before the limit.
        before = time.monotonic()
        self.output.log({"step": 0, "held_out": self.look()})
        began = time.monotonic() - STARTED
        reserve = max(5.0, 2 * (time.monotonic() - before))
        saved, saved_step, losses = began, 0, torch.zeros(0, device=self.device)
        while (now := time.monotonic() - STARTED) < limit - reserve and not (steps and self.step >= steps):
            done = max((now - began) / max(1e-6, limit - reserve - began), self.step / steps if steps else 0.0)
            loss = self.update(*self.sampler.batch(self.step + 1, batch), done)
            losses = torch.cat([losses, loss[None]])[-200:]
            if self.step % 10 == 0:
                recent = float(losses[-10:].mean())
                if not math.isfinite(recent):
                    raise SystemExit(f"the loss is no number any more at step {self.step}; lower --rate")
                rate = self.optimiser.param_groups[0]["lr"]
                entry = {"step": self.step, "seconds": round(time.monotonic() - STARTED, 1), "loss": round(recent, 4)}
                self.output.log({**entry, "rate": float(f"{rate:.3g}")})
            if time.monotonic() - STARTED - saved >= self.settings.save_seconds:
                before = time.monotonic()
                self.save(float(losses.mean()))
                reserve = max(reserve, 2 * (time.monotonic() - before))
                saved, saved_step = time.monotonic() - STARTED, self.step
        if not self.step:
            raise SystemExit(f"no step fitted into {self.settings.minutes:g} minutes")
        if saved_step != self.step:
            self.save(float(losses.mean()))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train on one GPU from a packed file.")
    parser.add_argument("pack", type=Path, help="made by pack.py")
    parser.add_argument("--out", type=Path, default=os.environ.get("OUT"), help="folder of the run [default: $OUT]")
    parser.add_argument("--minutes", type=float, default=MOST_MINUTES, help=f"at most {MOST_MINUTES:g}, start included")
    parser.add_argument("--steps", type=int, default=0, help="stop earlier, after so many steps")
    parser.add_argument("--fold", type=int, default=-1, help="hold out the real cases of this fold; -1 trains on all")
    parser.add_argument("--batch", type=int, default=0, help="0 takes up to 16, as memory allows; 2 on the CPU")
    parser.add_argument("--crop", type=int, nargs=3, default=(80, 96, 64), help="voxels of a patch")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate; falls as a cosine over the run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save-seconds", type=float, default=60.0, help="time between checkpoints")
    parser.add_argument("--start", type=Path, help="safetensors to start from instead of the packed weights")
    parser.add_argument("--scratch", action="store_true", help="start from random weights")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads")
    return parser.parse_args()


def main() -> None:
    """Run the training that the command line describes."""
    chosen = arguments()
    if not 0 < chosen.minutes <= MOST_MINUTES:
        raise SystemExit(f"--minutes has to be above 0 and at most {MOST_MINUTES:g}, got {chosen.minutes:g}")
    if chosen.out is None:
        raise SystemExit("there is no folder for the results; give --out, or set OUT")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    device = torch.device(chosen.device)
    pack = read_pack(chosen.pack, device, chosen.seed)
    names = ("minutes", "steps", "fold", "batch", "rate", "seed", "save_seconds")
    settings = Settings(crop=tuple(chosen.crop), **{name: getattr(chosen, name) for name in names})
    start = read_safetensors(chosen.start) if chosen.start else pack.weights
    Training(pack, None if chosen.scratch else start, settings, Path(chosen.out)).run()


if __name__ == "__main__":
    main()
