"""Deformed anatomy: a child's or adult's brain made from the template, pushed aside by its tumours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.case import MRSequence
from hope.synthesis.fields import Field, FieldMaker, Mask, blur, sample
from hope.synthesis.shapes import LesionShape
from hope.synthesis.template import Template
from hope.synthesis.tumours import TumourSpec, draw, plan_tumours


@dataclass(frozen=True)
class Overlay:
    """Something painted over the finished tissue of every sequence.

    Attributes:
        weight: (i, j, k) float32, 0 leaves what is there, 1 replaces it.
        level: signal per sequence; 1 is about the brightest normal brain tissue.
    """

    weight: Field
    level: Mapping[MRSequence, float]


@dataclass(frozen=True)
class Anatomy:
    """One synthetic head, before any contrast.

    Attributes:
        gm, wm, csf, brain: (i, j, k) float32 fractions.
        ventricle: float32 fraction of ventricular fluid.
        labels: uint8 peds labels.
        vessels: what enhances without being tumour (vessels, sinuses, choroid plexus, dura), 0 to 1.
        spots: small bright white-matter lesions that are not tumour, 0 to 1.
        tumours: what was planned, in the block's millimetres.
        overlays: painted over everything else, in order.
    """

    gm: Field
    wm: Field
    csf: Field
    brain: Field
    ventricle: Field
    labels: npt.NDArray[np.uint8]
    vessels: Field
    spots: Field
    tumours: tuple[TumourSpec, ...]
    overlays: tuple[Overlay, ...] = ()


def _affine(
    rng: np.random.Generator, centre: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Random output-to-template linear part and offset: small rotation, anisotropic size, shear, left-right flip."""
    angle = np.deg2rad(rng.normal(0, 5, 3))
    (cx, cy, cz), (sx, sy, sz) = np.cos(angle), np.sin(angle)
    rotation = (
        np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    )
    size = rng.uniform(0.82, 1.1) * rng.uniform(0.94, 1.06, 3)
    shear = np.eye(3) + np.triu(rng.normal(0, 0.03, (3, 3)), 1)
    flip = np.diag([rng.choice([-1.0, 1.0]), 1, 1])
    linear = flip @ rotation @ shear @ np.diag(1 / size)
    return linear, centre - linear @ (centre + rng.normal(0, 3, 3))


def _mass_effect(
    specs: Sequence[TumourSpec], position_mm: npt.NDArray[np.float32], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Where tissue came from before the tumours pushed it outward: positions (3, i, j, k) in millimetres."""
    source = np.array(position_mm, dtype=np.float32)
    for spec in specs:
        strength = np.float32(rng.uniform(0.0, 0.4))
        offset = source - spec.centre_mm.astype(np.float32)[:, None, None, None]
        distance = np.sqrt((offset**2).sum(axis=0)) / np.float32(spec.radius_mm)
        source = source - offset * (strength * np.exp(-(distance**2) / 3)).astype(np.float32)
    return source


def _individual(gm: Field, wm: Field, brain: Field, fields: FieldMaker) -> tuple[Field, Field, Field]:
    """Undo some of the template's averaging: crisper tissue borders, wider sulci, a rim of fluid around the brain."""
    around = np.clip(1.6 * blur(brain, 2.0, fields.spacing_mm), 0, 1)
    csf = np.clip(around - gm - wm, 0, 1) * np.float32(fields.uniform(0.9, 3.0))
    crisp = np.float32(fields.uniform(1.0, 2.4))
    sharp = [np.power(tissue, crisp) for tissue in (gm, wm, csf)]
    scale = around / np.maximum(sharp[0] + sharp[1] + sharp[2], 1e-3)
    gm, wm, csf = (np.asarray(tissue * scale, dtype=np.float32) for tissue in sharp)
    return gm, wm, csf


def _enhancing_non_tumour(fields: FieldMaker, brain: Field, csf: Field, ventricle: Field) -> Field:
    """Vessels as thin curves where two fields cross zero, choroid plexus, dura and sinuses; 0 to 1."""
    u = fields.uniform
    first, second = fields.fractal(u(14, 26), 2, 0.4), fields.fractal(u(14, 26), 2, 0.4)
    width = u(0.02, 0.09) * max(1.0, fields.spacing_mm / 1.5)
    tubes = (first**2 + second**2 < width) & (blur(csf, 1.5, fields.spacing_mm) > u(0.05, 0.25))
    total = tubes.astype(np.float32) * np.float32(u(0.4, 1.0))
    if fields.chance(0.8):
        plexus = (ventricle > 0.4) & (fields.fractal(7, 2, 0.5) > u(0.8, 2.2))
        total = np.maximum(total, plexus * np.float32(u(0.4, 1.0)))
    if fields.chance(0.6):
        edge = (
            (brain > 0.3)
            & (blur(brain, 2.0, fields.spacing_mm) < u(0.45, 0.75))
            & (fields.fractal(25, 2, 0.5) > u(-0.5, 1.5))
        )
        total = np.maximum(total, edge * np.float32(u(0.2, 0.9)))
    return blur(total.astype(np.float32), u(0.4, 0.9), fields.spacing_mm)


def _white_matter_spots(fields: FieldMaker, wm: Field, ventricle: Field) -> Field:
    """Small lesions and caps around the ventricles that are bright on T2 and FLAIR and are not tumour; 0 to 1."""
    u = fields.uniform
    total: Field = np.zeros(fields.shape, dtype=np.float32)
    if fields.chance(0.5):
        spots = (fields.fractal(6, 2, 0.5) > u(2.2, 3.4)) & (wm > 0.6)
        total = np.asarray(spots * np.float32(u(0.3, 1)), dtype=np.float32)
    if fields.chance(0.5):
        halo = blur(ventricle, u(2, 4), fields.spacing_mm)
        caps = np.clip((halo - u(0.2, 0.5)) * 3, 0, 1) * (ventricle < 0.5) * np.float32(u(0.2, 0.9))
        total = np.asarray(np.maximum(total, caps), dtype=np.float32)
    return blur(total, 0.7, fields.spacing_mm)


def make_anatomy(
    template: Template, rng: np.random.Generator, kind: str | None = None, shape: LesionShape | None = None
) -> Anatomy:
    """Draw one synthetic anatomy with its tumours, on the template's block.

    Args:
        template: tissue maps and sites.
        rng: all randomness.
        kind: kind of tumour, see ``plan_tumours``.
        shape: the parts of a real tumour, drawn in place of the first lesion's; None draws all of them.
    """
    spacing = template.grid.spacing_mm[0]
    fields = FieldMaker(rng, template.grid.shape, spacing)
    position = fields.positions_mm()
    centre = (np.array(template.grid.shape) - 1) / 2 * spacing
    linear, offset = _affine(rng, centre)
    inverse = np.linalg.inv(linear)
    sites = {name: tuple(inverse @ (p - offset) for p in points) for name, points in template.sites_mm.items()}
    rough_brain = ndimage.affine_transform(template.brain, linear, offset / spacing, order=1, output=np.float32)
    specs = plan_tumours(rng, rough_brain, spacing, sites, kind)
    source = _mass_effect(specs, position, rng)
    linear32 = linear.astype(np.float32)
    moved = np.tensordot(linear32, source, axes=(1, 0)) + offset.astype(np.float32)[:, None, None, None]
    for scale, amplitude in ((50.0, rng.uniform(0, 5)), (22.0, rng.uniform(0, 2.5)), (10.0, rng.uniform(0, 1.2))):
        moved += np.stack([fields.smooth(scale) for _ in range(3)]) * np.float32(amplitude)
    if rng.random() < 0.5:
        swelling = np.stack(np.gradient(blur(template.ventricle, 8, spacing), spacing)).astype(np.float32)
        pull = sample(list(swelling), moved / np.float32(spacing))
        moved += np.stack(pull) * np.float32(rng.uniform(-20, 140))
    maps = [template.gm, template.wm, template.brain, template.ventricle]
    gm, wm, brain, ventricle = sample(maps, moved / np.float32(spacing))
    gm, wm, csf = _individual(gm, wm, brain, fields)
    labels = np.zeros(brain.shape, dtype=np.uint8)
    for number, spec in enumerate(specs):
        if shape is not None and number == 0:
            drawn = shape.placed(spec.centre_mm, brain, fields)
        else:
            drawn = draw(spec, brain, wm, ventricle, fields)
        # A later lesion's oedema never covers an earlier lesion's core.
        takes = (drawn > 0) & ((labels == 0) | (drawn < 4) | (labels == 4))
        labels[takes] = drawn[takes]
    vessels = _enhancing_non_tumour(fields, brain, csf, ventricle)
    spots = _white_matter_spots(fields, wm, ventricle)
    return Anatomy(gm, wm, csf, brain, ventricle, labels, vessels, spots, tuple(specs))


def brain_mask(anatomy: Anatomy, fields: FieldMaker) -> Mask:
    """What a brain extraction would leave: sometimes generous, sometimes tight, never cutting the tumour."""
    smooth = blur(anatomy.brain, 1.5, fields.spacing_mm)
    mask = smooth > fields.uniform(0.15, 0.6)
    return np.asarray(ndimage.binary_fill_holes(mask | (anatomy.labels > 0)), dtype=np.bool_)
