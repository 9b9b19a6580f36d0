"""Random smooth fields, blurs and warps: the raw material of synthetic anatomy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Field = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def _linear_weights(length: int, knots: int) -> Field:
    """(length, knots) matrix that interpolates ``knots`` equidistant values linearly at ``length`` places."""
    position = np.linspace(0, knots - 1, length, dtype=np.float32)
    left = np.minimum(position.astype(np.intp), knots - 2)
    weights = np.zeros((length, knots), dtype=np.float32)
    rows = np.arange(length)
    weights[rows, left + 1] = position - left
    weights[rows, left] = 1 - (position - left)
    return weights


class FieldMaker:
    """Draws random fields on one voxel block.

    Args:
        rng: source of all randomness.
        shape: voxels along the three axes.
        spacing_mm: isotropic voxel size.
    """

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: float) -> None:
        self.rng, self.shape, self.spacing_mm = rng, shape, spacing_mm

    def smooth(self, scale_mm: float) -> Field:
        """Gaussian values on knots ``scale_mm`` apart, linear between them; (i, j, k), about zero mean."""
        scale = max(scale_mm / self.spacing_mm, 1.0)
        knots = [max(2, int(np.ceil(n / scale)) + 1) for n in self.shape]
        block = self.rng.standard_normal(knots, dtype=np.float32)
        for axis, length in enumerate(self.shape):
            weights = _linear_weights(length, knots[axis])
            block = np.moveaxis(np.tensordot(weights, block, axes=(1, axis)), 0, axis)
        return np.ascontiguousarray(block, dtype=np.float32)

    def fractal(self, scale_mm: float, octaves: int = 3, persistence: float = 0.5) -> Field:
        """Sum of ``smooth`` fields at ``scale_mm``, half of it, ...; zero mean, unit standard deviation."""
        total = np.zeros(self.shape, dtype=np.float32)
        for octave in range(octaves):
            total += np.float32(persistence**octave) * self.smooth(scale_mm / 2**octave)
        total -= total.mean()
        total /= max(float(total.std()), 1e-6)
        return total

    def uniform(self, low: float, high: float) -> float:
        """One number between ``low`` and ``high``."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def positions_mm(self) -> npt.NDArray[np.float32]:
        """(3, i, j, k) millimetres from the first voxel's centre."""
        axes = [np.arange(n, dtype=np.float32) * np.float32(self.spacing_mm) for n in self.shape]
        return np.stack(np.meshgrid(*axes, indexing="ij"))


def blur(image: Field, sigma_mm: float, spacing_mm: float) -> Field:
    """Gaussian blur; below a quarter voxel nothing happens."""
    sigma = sigma_mm / spacing_mm
    if sigma < 0.25:
        return image
    blurred: Field = ndimage.gaussian_filter(image, sigma, truncate=3.0, mode="nearest")
    return blurred


def sample(maps: Sequence[Field], position_voxel: npt.NDArray[np.float32]) -> list[Field]:
    """Read several maps at fractional voxel positions (3, i, j, k), linearly; outside is 0."""
    return [
        ndimage.map_coordinates(m, position_voxel, order=1, mode="constant", cval=0.0, output=np.float32) for m in maps
    ]


def thicken(image: Field, factor: float, axis: int) -> Field:
    """Average ``factor`` voxels along an axis into one slice and interpolate back: a thick-slice acquisition."""
    length = image.shape[axis]
    slices = max(4, round(length / factor))
    edges = np.linspace(0, length, slices + 1)
    centre = (np.arange(length, dtype=np.float64) + 0.5)[None, :]
    low, high = edges[:-1, None], edges[1:, None]
    average = np.clip(np.minimum(high, centre + 0.5) - np.maximum(low, centre - 0.5), 0, None)
    average /= average.sum(axis=1, keepdims=True)
    place = np.clip((centre[0] - edges[1] / 2) / (edges[1] - edges[0]), 0, slices - 1)
    left = np.minimum(place.astype(np.intp), slices - 2)
    spread = np.zeros((length, slices))
    spread[np.arange(length), left + 1] = place - left
    spread[np.arange(length), left] = 1 - (place - left)
    matrix = (spread @ average).astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(np.tensordot(matrix, image, axes=(1, axis)), 0, axis), dtype=np.float32)
