"""Patches and their augmentation: crops that favour tumour, flips, contrast changes, missing sequences."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hope.training.config import TrainingConfig
from hope.training.pool import Sample


def _crop_start(
    rng: np.random.Generator, labels: npt.NDArray[np.uint8], patch: tuple[int, int, int]
) -> tuple[int, int, int]:
    """Where to cut: in two of three cases around a random voxel of a random label, else anywhere."""
    room = [max(n - p, 0) for n, p in zip(labels.shape, patch, strict=True)]
    present = [value for value in (1, 2, 3, 4) if (labels == value).any()]
    if present and rng.random() < 0.67:
        where = np.flatnonzero(labels == rng.choice(present))
        centre = np.unravel_index(int(where[rng.integers(len(where))]), labels.shape)
        jitter = [int(rng.integers(-p // 4, p // 4 + 1)) for p in patch]
        start = [min(max(int(c) - p // 2 + j, 0), r) for c, p, j, r in zip(centre, patch, jitter, room, strict=True)]
    else:
        start = [int(rng.integers(r + 1)) for r in room]
    return start[0], start[1], start[2]


def draw_patch(
    rng: np.random.Generator, sample: Sample, config: TrainingConfig
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """One augmented patch: images (4, *patch) float32 and labels (*patch) int64.

    Args:
        rng: all randomness.
        sample: normalised images and labels; smaller than the patch is padded with background.
        config: patch size and channel dropout.
    """
    images, labels = sample
    start = _crop_start(rng, labels, config.patch)
    box = tuple(slice(s, s + p) for s, p in zip(start, config.patch, strict=True))
    x = images[(slice(None), *box)].astype(np.float32)
    y = labels[box].astype(np.int64)
    short = [p - n for p, n in zip(config.patch, y.shape, strict=True)]
    if any(short):
        pads = [(0, s) for s in short]
        x, y = np.pad(x, [(0, 0), *pads]), np.pad(y, pads)
    if rng.random() < 0.5:  # left-right; the axes are RAS
        x, y = x[:, ::-1], y[::-1]
    brain = (x != 0).any(axis=0)
    present = [channel for channel in range(4) if x[channel].any()]
    for channel in range(4):
        if rng.random() < 0.7:
            image = x[channel] * np.float32(rng.uniform(0.8, 1.25)) + np.float32(rng.normal(0, 0.15))
            if rng.random() < 0.3:
                image = np.sign(image) * np.abs(image) ** np.float32(rng.uniform(0.8, 1.25))
            if rng.random() < 0.2:
                image = image + rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0, 0.25))
            if channel in present:  # what a case of the user's lacks stays absent
                x[channel] = np.where(brain, image, 0)
    if rng.random() < config.channel_dropout:
        lost = rng.choice(
            4, size=int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15])), replace=False, p=[0.3, 0.15, 0.2, 0.35]
        )
        if set(present) <= set(lost.tolist()):
            lost = np.setdiff1d(lost, present[:1])
        x[lost] = 0
    return np.ascontiguousarray(x), np.ascontiguousarray(y)
