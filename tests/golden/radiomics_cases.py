"""Made-up cases for the radiomics: whole-number formulas, so that they are the same on every machine.

Only numpy is imported, because the reference values were computed by pyradiomics in an environment of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

SEQUENCES = ("t1n", "t1c", "t2w", "t2f")

Array = npt.NDArray[Any]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class MadeUpCase:
    """Labels and four images on one grid, axes (i, j, k) of a file in LPS, and the settings of the features."""

    labels: Array
    images: Mapping[str, Array]
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bin_width: float = 25.0
    normalise: bool = True
    tumour: Array = field(init=False)
    """The part of the labels that pyradiomics was given as its mask."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tumour", self.labels > 0)


def scramble(shape: Shape, seed: int, top: int) -> Array:
    """Whole numbers from 0 to ``top`` - 1 that look random: a multiplicative hash of the voxel's place."""
    place = np.arange(np.prod(shape), dtype=np.uint64).reshape(shape) + np.uint64(seed * 1_000_003)
    mixed = place * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    return (mixed % np.uint64(top)).astype(np.int64)


def waves(shape: Shape, seed: int, top: int) -> Array:
    """Slowly varying whole numbers from about 0 to ``top``, with a little noise."""
    i, j, k = np.indices(shape)
    triangle = [np.abs((axis * (3 + seed + n) + 5 * seed) % 40 - 20) for n, axis in enumerate((i, j, k))]
    return sum(triangle) * top // 60 + scramble(shape, seed, max(top // 20, 2))


def images(shape: Shape, make: Callable[[Shape, int, int], Array], top: int) -> dict[str, Array]:
    """Four images of one kind, each its own."""
    return {name: make(shape, seed, top).astype(np.float32) for seed, name in enumerate(SEQUENCES, start=1)}


def ellipsoid(shape: Shape, centre: tuple[float, ...], radii: tuple[float, ...]) -> Array:
    """Mask of an ellipsoid, in voxels."""
    parts = [((axis - c) / r) ** 2 for axis, c, r in zip(np.indices(shape), centre, radii, strict=True)]
    return sum(parts) <= 1.0


def voxels(shape: Shape, places: list[Shape]) -> Array:
    """Labels with single voxels set, of changing label."""
    labels = np.zeros(shape, dtype=np.uint8)
    for number, place in enumerate(places):
        labels[place] = number % 4 + 1
    return labels


def _painted(mask: Array, seed: int = 7) -> Array:
    """Labels 1 to 4 by turns inside a mask: the features look at their union only."""
    return np.where(mask, scramble(mask.shape, seed, 4) + 1, 0).astype(np.uint8)


def _largest_of_several() -> MadeUpCase:
    shape = (20, 18, 16)
    ball = ellipsoid(shape, (6, 6, 6), (4.2, 3.6, 5.1))
    ball[6, 6, 4:8] = False  # a hole
    other = ellipsoid(shape, (15, 13, 12), (2.9, 2.2, 2.6))
    case = MadeUpCase(_painted(ball | other), images(shape, waves, 900))
    object.__setattr__(case, "tumour", ball)
    return case


def _sponge(**settings: Any) -> MadeUpCase:
    """A third of all voxels: one part through corners, and every way in which a cube can be cut."""
    shape = (15, 13, 12)
    mask = scramble(shape, 3, 100) < 36
    mask[:, :, 5] = True  # joins nearly everything
    labels = _painted(mask)
    case = MadeUpCase(labels, images(shape, scramble, 700), **settings)
    return _with_tumour(case)


def _with_tumour(case: MadeUpCase) -> MadeUpCase:
    """Grow the part that holds the most of the joining slice, in plain steps."""
    mask = case.labels > 0
    part = np.zeros_like(mask)
    part[:, :, 5] = True
    while True:
        padded = np.pad(part, 1)
        grown = part.copy()
        for di in range(3):
            for dj in range(3):
                for dk in range(3):
                    grown |= padded[di : di + mask.shape[0], dj : dj + mask.shape[1], dk : dk + mask.shape[2]]
        grown &= mask
        if (grown == part).all():
            break
        part = grown
    object.__setattr__(case, "tumour", part)
    return case


def _brain(bright_voxels: int) -> MadeUpCase:
    """A head-sized image, zero outside the brain, with a tumour of about 20,000 voxels, as the published cases are."""
    shape = (96, 100, 80)
    brain = ellipsoid(shape, (48, 50, 40), (40, 44, 34))
    tumour = ellipsoid(shape, (55, 42, 36), (19, 16, 14)) | ellipsoid(shape, (66, 50, 44), (9, 12, 11))
    pictures = {}
    for seed, name in enumerate(SEQUENCES, start=1):
        picture = waves(shape, seed, 600) + 300 + (seed - 2) * 150 * tumour
        picture[~brain] = 0
        for n in range(bright_voxels):
            picture[50 + 2 * n, 40 + n, 36] = 60_000 // (1 + n % 2)
        pictures[name] = picture.astype(np.float32)
    return MadeUpCase(_painted(tumour), pictures)


def _one_value_in_the_tumour() -> MadeUpCase:
    shape = (14, 14, 14)
    mask = ellipsoid(shape, (7, 6, 7), (3.3, 4.4, 2.2))
    pictures = images(shape, waves, 500)
    for number, picture in enumerate(pictures.values()):
        picture[mask] = 100 * number + 77
    return MadeUpCase(_painted(mask), pictures)


CASES: dict[str, Callable[[], MadeUpCase]] = {
    "anisotropic": lambda: MadeUpCase(
        _painted(ellipsoid((18, 16, 10), (8, 7, 5), (6.4, 5.2, 3.3))),
        images((18, 16, 10), waves, 1000),
        spacing_mm=(0.9, 1.1, 3.0),
    ),
    "three voxels": lambda: MadeUpCase(
        voxels((8, 8, 8), [(3, 3, 3), (4, 3, 3), (4, 4, 3)]), images((8, 8, 8), scramble, 500)
    ),
    "slanted line": lambda: MadeUpCase(
        voxels((9, 9, 9), [(n, n + 1, 7 - n) for n in range(1, 7)]), images((9, 9, 9), scramble, 500)
    ),
    "plane": lambda: MadeUpCase(
        voxels((10, 9, 8), [(4, j, k) for j in range(2, 7) for k in range(2, 7) if (j, k) != (4, 4)]),
        images((10, 9, 8), scramble, 500),
        spacing_mm=(2.0, 0.7, 1.3),
    ),
    "slanted plane": lambda: MadeUpCase(
        voxels((10, 9, 8), [(j, j, k) for j in range(2, 7) for k in range(1, 6)]), images((10, 9, 8), scramble, 500)
    ),
    "at the border": lambda: MadeUpCase(
        _painted(ellipsoid((14, 12, 11), (0, 11, 10), (6.2, 7.1, 4.7))), images((14, 12, 11), waves, 800)
    ),
    "all voxels but one": lambda: MadeUpCase(
        voxels((6, 5, 4), [(i, j, k) for i in range(6) for j in range(5) for k in range(4) if (i, j, k) != (5, 0, 2)]),
        images((6, 5, 4), scramble, 300),
    ),
    "largest of several": _largest_of_several,
    "one value in the tumour": _one_value_in_the_tumour,
    "brain": lambda: _brain(0),
    "brain with bright voxels": lambda: _brain(5),
    "sponge": lambda: _sponge(spacing_mm=(0.8, 1.7, 1.2)),
    "sponge, 28 levels": lambda: _sponge(normalise=False, spacing_mm=(1.0, 1.0, 2.5)),
    "sponge, narrow bins": lambda: _sponge(bin_width=0.07),
    "waves, 40 levels": lambda: MadeUpCase(
        _painted(ellipsoid((22, 20, 18), (10, 9, 9), (8.4, 7.7, 6.9))),
        {name: picture - 300 for name, picture in images((22, 20, 18), waves, 1200).items()},
        normalise=False,
    ),
    "gaps between levels": lambda: MadeUpCase(
        _painted(ellipsoid((12, 12, 12), (6, 6, 6), (4.5, 4.5, 4.5))),
        {name: np.where(picture % 3, picture * 4, 20) for name, picture in images((12, 12, 12), waves, 150).items()},
        normalise=False,
        bin_width=3.7,
    ),
}
