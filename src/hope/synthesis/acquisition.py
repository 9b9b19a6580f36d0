"""A scanner's faults: coil shading, thick slices, noise, blur, motion, slight misalignment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hope.synthesis.fields import Field, FieldMaker, blur, thicken


@dataclass(frozen=True)
class Faults:
    """Upper limits of what may go wrong; each case draws its own amounts below them.

    Attributes:
        shading: strength of the coil's shading, natural-log units.
        noise: noise as a share of the brightest brain tissue.
        thick_probability: probability that a sequence has thick slices.
        thick_mm: largest slice thickness.
        shift_mm: residual misalignment between sequences after registration.
        gamma: range of the contrast exponent is 1/gamma to gamma.
    """

    shading: float = 0.3
    noise: float = 0.05
    thick_probability: float = 0.5
    thick_mm: float = 6.0
    shift_mm: float = 0.8
    gamma: float = 1.2


def degrade(image: Field, fields: FieldMaker, faults: Faults, slice_axis: int) -> Field:
    """One sequence as a scanner might have given it, on the same block.

    Args:
        image: ideal image (i, j, k), zero outside the head.
        fields: randomness and shape.
        faults: upper limits.
        slice_axis: the axis along which slices may be thick.
    """
    u, spacing = fields.uniform, fields.spacing_mm
    if faults.shift_mm > 0 and fields.chance(0.6):
        image = ndimage.shift(image, fields.rng.normal(0, faults.shift_mm / 2, 3) / spacing, order=1, output=np.float32)
    shading = fields.smooth(u(60, 110)) * np.float32(u(0, faults.shading))
    image = image * np.exp(shading)
    if fields.chance(faults.thick_probability):
        thickness = u(min(3.0, faults.thick_mm), faults.thick_mm)
        if thickness > spacing * 1.2:
            image = thicken(image, thickness / spacing, slice_axis)
    image = blur(image, u(0, 1.3), spacing)
    level = max(float(np.quantile(image[::2, ::2, ::2], 0.98)), 1e-3)
    sigma = level * u(0.004, faults.noise)
    real = image + fields.rng.standard_normal(image.shape, dtype=np.float32) * np.float32(sigma)
    imaginary = fields.rng.standard_normal(image.shape, dtype=np.float32) * np.float32(sigma)
    image = np.sqrt(real**2 + imaginary**2)
    exponent = u(1 / faults.gamma, faults.gamma)
    return np.asarray((image / level) ** np.float32(exponent), dtype=np.float32)
