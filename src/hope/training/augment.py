"""Patches and their augmentation: crops that favour tumour, warps, flips, contrast changes, missing sequences."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from hope.domain.labels import label_set
from hope.synthesis.fields import FieldMaker, thicken
from hope.training.stored import Sample
from hope.training.turns import small_turn

Patch = tuple[int, int, int]
_BACKGROUND = label_set(0)
_ZERO_SIGNAL = -3.5
"""About where the signal of air lies in z-scores of a brain: a coil's shading scales what is above it."""


@dataclass(frozen=True)
class Augmentation:
    """Probabilities per patch (or per sequence where it says so); 0 turns one off.

    Attributes:
        warp: rotation by up to 12 degrees, size 0.85 to 1.15, and a smooth deformation.
        smooth_fields: a smooth shading field, per sequence.
        curves: a random rising intensity curve, per sequence.
        thick_slices: slices of two to three voxels, per sequence.
        fewer_sequences: one, two or three sequences are dropped.
    """

    warp: float = 0.0
    smooth_fields: float = 0.0
    curves: float = 0.0
    thick_slices: float = 0.0
    fewer_sequences: float = 0.3

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def _crop_start(rng: np.random.Generator, sets: npt.NDArray[np.uint8], patch: Patch) -> Patch:
    """Where to cut: in two of three cases around a random voxel of a random label, else anywhere."""
    slack = [max(n - p, 0) for n, p in zip(sets.shape, patch, strict=True)]
    present = [code for code in np.unique(sets) if code != _BACKGROUND]
    if present and rng.random() < 0.67:
        where = np.flatnonzero(sets == rng.choice(present))
        centre = np.unravel_index(int(where[rng.integers(len(where))]), sets.shape)
        jitter = [int(rng.integers(-p // 4, p // 4 + 1)) for p in patch]
        start = [min(max(int(c) - p // 2 + j, 0), r) for c, p, j, r in zip(centre, patch, jitter, slack, strict=True)]
    else:
        start = [int(rng.integers(r + 1)) for r in slack]
    return start[0], start[1], start[2]


def draw_patch(
    rng: np.random.Generator, sample: Sample, patch: Patch, augmentation: Augmentation
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """One augmented patch: images (4, *patch) float32 and bit sets of labels (*patch) uint8.

    Args:
        rng: all randomness.
        sample: normalised images and bit sets; smaller than the patch is padded with background.
        patch: its size in voxels.
        augmentation: how it is changed.
    """
    images, sets = sample
    start = _crop_start(rng, sets, patch)
    if rng.random() < augmentation.warp:
        x, y = _warped(rng, images, sets, start, patch)
    else:
        x, y = _cut(images, sets, start, patch)
    if rng.random() < 0.5:  # left-right; the axes are RAS
        x, y = x[:, ::-1], y[::-1]
    x = _change_contrast(rng, np.ascontiguousarray(x), augmentation)
    if rng.random() < augmentation.fewer_sequences:
        present = [channel for channel in range(4) if x[channel].any()]
        lost = rng.choice(
            4, size=int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15])), replace=False, p=[0.3, 0.15, 0.2, 0.35]
        )
        if set(present) <= set(lost.tolist()):
            lost = np.setdiff1d(lost, present[:1])
        x[lost] = 0
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def _cut(
    images: npt.NDArray[np.float16], sets: npt.NDArray[np.uint8], start: Patch, patch: Patch
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    box = tuple(slice(s, s + p) for s, p in zip(start, patch, strict=True))
    x, y = images[(slice(None), *box)].astype(np.float32), sets[box]
    short = [p - n for p, n in zip(patch, y.shape, strict=True)]
    if any(short):
        pads = [(0, s) for s in short]
        x, y = np.pad(x, [(0, 0), *pads]), np.pad(y, pads, constant_values=_BACKGROUND)
    return x, y


def _warped(
    rng: np.random.Generator, images: npt.NDArray[np.float16], sets: npt.NDArray[np.uint8], start: Patch, patch: Patch
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """The patch read from turned, scaled and bent places of the whole case: images linearly, labels by the nearest."""
    linear = small_turn(rng, 12) @ np.diag(rng.uniform(0.94, 1.06, 3)) / rng.uniform(0.85, 1.15)
    axes = [torch.arange(p, dtype=torch.float32) - (p - 1) / 2 for p in patch]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    moved = torch.einsum("ab,bxyz->axyz", torch.tensor(linear, dtype=torch.float32), place)
    knots = rng.normal(0, rng.uniform(0.3, 1.6), (1, 3, 4, 5, 4)).astype(np.float32)
    moved += F.interpolate(torch.from_numpy(knots), size=patch, mode="trilinear", align_corners=True)[0]
    size = torch.tensor(sets.shape, dtype=torch.float32).view(3, 1, 1, 1)
    corner = torch.tensor([s + (p - 1) / 2 for s, p in zip(start, patch, strict=True)]).view(3, 1, 1, 1)
    # grid_sample counts from -1 to 1 between the first and last voxel, the last axis first.
    grid = (2 * (moved + corner) / (size - 1).clamp(min=1) - 1).flip(0).movedim(0, -1)[None]
    source = torch.from_numpy(images.astype(np.float32))[None]
    x = F.grid_sample(source, grid, mode="bilinear", padding_mode="zeros", align_corners=True)[0]
    coded = torch.from_numpy(sets.astype(np.float32))[None, None]
    y = F.grid_sample(coded, grid, mode="nearest", padding_mode="zeros", align_corners=True)[0, 0]
    labels = y.round().to(torch.uint8).numpy()
    return x.numpy(), np.where(labels == 0, np.uint8(_BACKGROUND), labels)


def _change_contrast(
    rng: np.random.Generator, x: npt.NDArray[np.float32], augmentation: Augmentation
) -> npt.NDArray[np.float32]:
    """Each sequence that is there with another gain, offset, exponent, noise, curve, shading or slice thickness."""
    brain = (x != 0).any(axis=0)
    fields = FieldMaker(rng, (x.shape[1], x.shape[2], x.shape[3]), 2.0)
    axis = int(rng.choice(3, p=[0.15, 0.15, 0.7]))
    for channel in range(x.shape[0]):
        image = x[channel]
        there = bool(image.any())
        if rng.random() < augmentation.thick_slices:
            image = thicken(image, float(rng.uniform(1.5, 3.2)), axis)
        if rng.random() < augmentation.curves:
            image = _curved(rng, image)
        if rng.random() < augmentation.smooth_fields:
            shading = fields.smooth(float(rng.uniform(45, 110))) * np.float32(rng.uniform(0, 0.25))
            image = (image - np.float32(_ZERO_SIGNAL)) * np.exp(shading) + np.float32(_ZERO_SIGNAL)
        if rng.random() < 0.7:
            image = image * np.float32(rng.uniform(0.8, 1.25)) + np.float32(rng.normal(0, 0.15))
            if rng.random() < 0.3:
                image = np.sign(image) * np.abs(image) ** np.float32(rng.uniform(0.8, 1.25))
            if rng.random() < 0.2:
                image = image + rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0, 0.25))
        if there:  # what a case of the user's lacks stays absent
            x[channel] = np.where(brain, image, 0)
    return x


def _curved(rng: np.random.Generator, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A rising curve through 0 with random slopes between z-scores of -3 and 5."""
    knots = np.array([-20, -3, -2, -1, 0, 1, 2, 3.5, 5, 20], np.float32)
    slopes = np.exp(np.clip(rng.normal(0, 0.3, len(knots) - 1), -0.6, 0.6))
    values = np.concatenate([[0], np.cumsum(slopes * np.diff(knots))])
    values -= values[4]
    return np.asarray(np.interp(image, knots, values), dtype=np.float32)
