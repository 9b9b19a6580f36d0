"""Lesion transplants: a tumour from one case, blended at its edge into the brain of another."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.labels import label_set
from hope.training.stored import Sample

_MARGIN: Final = 3
"""Voxels around the tumour that come along and fade into the other brain."""
_TRIES: Final = 10
_LEAST_INSIDE: Final = 0.85
"""Share of the tumour that has to find brain without tumour where it is put."""
_MOST_SHIFT: Final = 0.6
"""z-scores by which a lesion is brightened or darkened at most to meet its new surroundings."""

BACKGROUND = np.uint8(label_set(0))
Graft = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.float32]]


def transplant(rng: np.random.Generator, donor: Sample, host: Sample) -> Sample | None:
    """Put the donor's whole tumour into the host's brain.

    It is mirrored and turned at random. A tumour that the host has stays, and is not covered. A sequence that one of
    the two lacks is lacking afterwards.

    Returns:
        None if the donor has no tumour, or no place for it was found.
    """
    graft = _cut_out(rng, donor)
    if graft is None:
        return None
    images, sets = host[0].astype(np.float32), host[1].copy()
    brain = (images != 0).any(axis=0)
    free = brain & (sets == BACKGROUND)
    at = _find_place(rng, graft[1], free)
    if at is None:
        return None
    lesion, lesion_sets, alpha = graft
    there, here = _overlap(at, lesion_sets.shape, sets.shape)
    alpha = np.where(free[there], alpha[here], 0).astype(np.float32)
    shell = (alpha > 0) & (lesion_sets[here] == BACKGROUND)
    for channel in range(images.shape[0]):
        target, source = images[channel][there], lesion[channel][here]
        if not source.any():
            images[channel] = 0
        if not images[channel].any():
            continue
        shift = float((target[shell] - source[shell]).mean()) if shell.any() else 0.0
        moved = source + np.float32(np.clip(shift, -_MOST_SHIFT, _MOST_SHIFT))
        images[channel][there] = target + alpha * (moved - target)
    takes = (lesion_sets[here] != BACKGROUND) & free[there]
    sets[there][takes] = lesion_sets[here][takes]
    return images.astype(np.float16), sets


def _cut_out(rng: np.random.Generator, donor: Sample) -> Graft | None:
    """The tumour with a margin: images (4, i, j, k), bit sets, and how much of each voxel is taken."""
    images, sets = donor
    where = np.argwhere(sets != BACKGROUND)
    if not len(where):
        return None
    low = np.maximum(where.min(axis=0) - _MARGIN, 0)
    box = tuple(slice(int(a), int(b) + 1 + _MARGIN) for a, b in zip(low, where.max(axis=0), strict=True))
    lesion, parts = images[(slice(None), *box)].astype(np.float32), sets[box]
    if rng.random() < 0.5:
        lesion, parts = lesion[:, ::-1], parts[::-1]
    lesion, parts = _turned(rng, lesion, parts)
    near = ndimage.distance_transform_edt(parts == BACKGROUND)
    brain = (lesion != 0).any(axis=0)
    alpha = np.clip(1 - near / (_MARGIN + 0.5), 0, 1) * brain
    return lesion, np.where(brain, parts, BACKGROUND), alpha.astype(np.float32)


def _turned(
    rng: np.random.Generator, lesion: npt.NDArray[np.float32], parts: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Both turned about the vertical axis by up to 180 degrees: the axis along which thick slices usually lie."""
    angle = float(rng.uniform(-180, 180))
    turned = np.stack([ndimage.rotate(image, angle, axes=(0, 1), order=1, output=np.float32) for image in lesion])
    sets = ndimage.rotate(parts, angle, axes=(0, 1), order=0, cval=int(BACKGROUND))
    return turned, np.asarray(sets, dtype=np.uint8)


def _find_place(
    rng: np.random.Generator, parts: npt.NDArray[np.uint8], free: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64] | None:
    """Where the graft's first corner goes; None if it fits nowhere that was tried."""
    tumour = parts != BACKGROUND
    total, places = int(tumour.sum()), np.argwhere(free)
    if not total or not len(places):
        return None
    middle = np.round(np.argwhere(tumour).mean(axis=0)).astype(np.int64)
    for _ in range(_TRIES):
        at = places[rng.integers(len(places))] - middle
        there, here = _overlap(at, parts.shape, free.shape)
        if (tumour[here] & free[there]).sum() >= _LEAST_INSIDE * total:
            return np.asarray(at)
    return None


def _overlap(
    at: npt.NDArray[np.int64], size: tuple[int, ...], whole: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The part of the host, and of the graft, where both are."""
    there, here = [], []
    for first, length, end in zip(at.tolist(), size, whole, strict=True):
        low, high = max(first, 0), min(first + length, end)
        there.append(slice(low, max(high, low)))
        here.append(slice(low - first, max(high, low) - first))
    return tuple(there), tuple(here)
