"""What looks like tumour and is not: demyelination, change along the ventricles, plexus, flow voids, edge artefacts.

Each function takes an anatomy and returns it with one more look-alike; labels stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from hope.domain.case import MRSequence
from hope.synthesis.anatomy import Anatomy, Overlay
from hope.synthesis.fields import Field, FieldMaker, blur
from hope.synthesis.tumours import TumourSpec, ellipsoid, random_rotation

T1N, T1C, T2W, T2F = MRSequence.T1N, MRSequence.T1C, MRSequence.T2W, MRSequence.T2F


def demyelination(anatomy: Anatomy, fields: FieldMaker) -> Anatomy:
    """Some to many ovoid lesions of 2 to 9 mm in white matter, more of them near the ventricles; some enhance."""
    u, spacing = fields.uniform, fields.spacing_mm
    near = blur(anatomy.ventricle, 10.0, spacing) + np.float32(0.02)
    weight = np.where(anatomy.wm > 0.6, near, 0).ravel().astype(np.float64)
    if weight.sum() <= 0:
        return anatomy
    position = fields.positions_mm()
    spots, rims = np.zeros(fields.shape, np.float32), anatomy.vessels.copy()
    for _ in range(int(fields.rng.integers(3, 25))):
        at = np.unravel_index(int(fields.rng.choice(weight.size, p=weight / weight.sum())), fields.shape)
        radius = float(np.exp(u(np.log(2.0), np.log(9.0))))
        spec = TumourSpec(
            "lookalike",
            np.array(at, dtype=np.float64) * spacing,
            radius * np.array([1.0, u(0.5, 1), u(0.5, 1)]),
            random_rotation(fields.rng),
            "",
        )
        phi = ellipsoid(spec, position)
        ball = np.clip((1.2 - phi) / 0.4, 0, 1) * np.float32(u(0.5, 1.0))
        np.maximum(spots, ball, out=spots)
        if radius > 3 and fields.chance(0.12):
            rims = np.maximum(rims, np.exp(-(((phi - 1) / 0.35) ** 2)) * np.float32(u(0.4, 0.9)))
    inside = anatomy.wm + anatomy.gm
    return replace(
        anatomy,
        spots=np.maximum(anatomy.spots, spots * np.clip(inside, 0, 1)).astype(np.float32),
        vessels=np.asarray(rims, dtype=np.float32),
    )


def periventricular_change(anatomy: Anatomy, fields: FieldMaker) -> Anatomy:
    """Caps and bands along both lateral ventricles, as wide as 3 to 12 mm, about as strong left as right."""
    u, spacing = fields.uniform, fields.spacing_mm
    inside = (anatomy.ventricle > 0.5) | (anatomy.csf * (blur(anatomy.ventricle, 3, spacing) > 0.2) > 0.6)
    if not inside.any():
        return anatomy
    distance = ndimage.distance_transform_edt(~inside, sampling=spacing).astype(np.float32)
    uneven = np.clip(1 + 0.4 * fields.fractal(25, 2, 0.5), 0.2, 2)
    band = np.clip(1.5 - distance / (np.float32(u(3, 12)) * uneven), 0, 1) * (anatomy.wm > 0.4)
    band = blur(band.astype(np.float32), 1.0, spacing) * np.float32(u(0.4, 1.0))
    return replace(anatomy, spots=np.maximum(anatomy.spots, band))


def choroid_plexus(anatomy: Anatomy, fields: FieldMaker) -> Anatomy:
    """Enhancing plexus: clumps of 4 to 9 mm inside the ventricles."""
    u = fields.uniform
    clumps = (anatomy.ventricle > 0.3) & (fields.fractal(u(5, 11), 2, 0.5) > u(0.3, 1.2))
    plexus = blur(clumps.astype(np.float32), 0.8, fields.spacing_mm) * np.float32(u(0.6, 1.1))
    return replace(anatomy, vessels=np.maximum(anatomy.vessels, np.clip(plexus, 0, 1)))


def flow_voids(anatomy: Anatomy, fields: FieldMaker) -> Anatomy:
    """Vessels without signal on T2 and FLAIR; on T1 dark, or bright where blood flows in."""
    u, spacing = fields.uniform, fields.spacing_mm
    first, second = fields.fractal(u(16, 30), 2, 0.4), fields.fractal(u(16, 30), 2, 0.4)
    fluid = blur(anatomy.csf, 1.5, spacing) > u(0.1, 0.4)
    tubes = ((first**2 + second**2) < u(0.02, 0.1) * max(1.0, spacing / 1.5)) & fluid
    weight = blur(tubes.astype(np.float32), 0.7, spacing) * np.float32(u(0.6, 1.0)) * (anatomy.brain > 0.05)
    inflow = fields.chance(0.4)
    level = {
        T1N: u(0.7, 1.2) if inflow else u(0.02, 0.2),
        T1C: u(0.9, 1.6) if inflow or fields.chance(0.5) else u(0.02, 0.3),
        T2W: u(0.02, 0.2),
        T2F: u(0.02, 0.2),
    }
    return replace(anatomy, overlays=(*anatomy.overlays, Overlay(weight, level)))


def frontal_edges(anatomy: Anatomy, fields: FieldMaker) -> Anatomy:
    """Borders of the brain above the frontal sinuses or the ears that are too bright (or dark) for what lies there."""
    u, spacing = fields.uniform, fields.spacing_mm
    x, y, z = (p / np.float32(n * spacing) for p, n in zip(fields.positions_mm(), fields.shape, strict=True))
    if fields.chance(0.7):
        place = (y > u(0.68, 0.82)) & (z < u(0.35, 0.7))
    else:
        place = (np.abs(x - 0.5) > u(0.25, 0.35)) & (z < u(0.25, 0.5))
    reach = u(0.35, 0.75)
    rim = (anatomy.brain > 0.3) & (blur(anatomy.brain, u(2.0, 5.0), spacing) < reach) & place
    patchy = np.clip(0.7 + 0.6 * fields.fractal(18, 2, 0.5), 0, 1)
    weight: Field = np.asarray(
        blur(rim.astype(np.float32), u(0.8, 2.5), spacing) * patchy * (anatomy.brain > 0.05), dtype=np.float32
    )
    bright = fields.chance(0.75)
    level = {
        T1N: u(0.5, 1.1) if bright else u(0.1, 0.4),
        T1C: u(0.6, 1.5) if bright else u(0.1, 0.4),
        T2W: u(0.5, 1.3) if bright else u(0.1, 0.4),
        T2F: u(0.9, 1.7) if bright else u(0.1, 0.4),
    }
    return replace(anatomy, overlays=(*anatomy.overlays, Overlay(weight, level)))
