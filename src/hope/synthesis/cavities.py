"""Resection cavities: fluid where an operated child's tumour was, with a thin rim that enhances or holds blood."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.case import MRSequence
from hope.domain.labels import ED
from hope.synthesis.anatomy import Anatomy, Overlay
from hope.synthesis.fields import FieldMaker, blur
from hope.synthesis.tumours import TumourSpec, ellipsoid, random_rotation

T1N, T1C, T2W, T2F = MRSequence.T1N, MRSequence.T1C, MRSequence.T2W, MRSequence.T2F


def _centre(anatomy: Anatomy, fields: FieldMaker) -> npt.NDArray[np.float64] | None:
    """Where the surgeon was: in or beside the tumour's core, else near the brain's surface; millimetres."""
    spacing = fields.spacing_mm
    core = (anatomy.labels > 0) & (anatomy.labels < ED)
    if core.any():
        places = np.argwhere(core)
        return np.asarray(places[fields.rng.integers(len(places))] * spacing + fields.rng.normal(0, 4, 3))
    depth = blur(anatomy.brain, 8.0, spacing)
    places = np.argwhere((anatomy.brain > 0.8) & (depth > 0.5) & (depth < 0.85))
    return np.asarray(places[fields.rng.integers(len(places))] * spacing) if len(places) else None


def with_cavity(anatomy: Anatomy, fields: FieldMaker) -> Anatomy:
    """Cut a cavity of 6 to 26 mm radius, fill it with fluid, and draw its rim.

    Tumour inside the cavity is gone; tumour outside stays, labelled as before: a remnant. Rim, blood and the bright
    tissue around are label 0.
    """
    u, spacing = fields.uniform, fields.spacing_mm
    centre = _centre(anatomy, fields)
    if centre is None:
        return anatomy
    radius = float(np.exp(u(np.log(6), np.log(26))))
    spec = TumourSpec("cavity", centre, radius * fields.rng.uniform(0.7, 1.35, 3), random_rotation(fields.rng), "")
    phi = ellipsoid(spec, fields.positions_mm())
    phi += fields.fractal(max(radius, 6), 2, 0.5) * np.float32(u(0.03, 0.15))
    hole = (phi < 1) & (anatomy.brain > 0.2)
    if not hole.any():
        return anatomy
    fluid = blur(hole.astype(np.float32), 0.6, spacing)
    gm, wm = anatomy.gm * (1 - fluid), anatomy.wm * (1 - fluid)
    csf = np.maximum(anatomy.csf * (1 - fluid), fluid)
    labels = np.where(hole, 0, anatomy.labels).astype(np.uint8)
    outside = ndimage.distance_transform_edt(~hole, sampling=spacing).astype(np.float32)
    tissue = np.clip(anatomy.brain, 0, 1) * ~hole
    overlays = list(anatomy.overlays)
    if fields.chance(0.5):  # a bright halo of scar and swelling, on T2 and FLAIR alone
        reach = u(3, 10)
        halo = np.clip(1 - outside / reach, 0, 1) * tissue * (labels == 0) * np.float32(u(0.3, 0.9))
        overlays.append(
            Overlay(
                halo.astype(np.float32), {T1N: u(0.45, 0.7), T1C: u(0.45, 0.75), T2W: u(0.7, 1.1), T2F: u(0.8, 1.3)}
            )
        )
    if fields.chance(0.85):
        thick = u(1.0, 3.0)
        patchy = np.clip(0.8 + 0.6 * fields.fractal(15, 2, 0.5), 0, 1)
        rim = np.clip(1.3 - outside / thick, 0, 1) * (outside > 0) * tissue * patchy
        blood = fields.chance(0.45)
        level = {
            T1N: u(0.9, 1.5) if blood else u(0.5, 0.75),
            T1C: u(1.0, 1.7),
            T2W: u(0.15, 0.6) if blood else u(0.6, 1.0),
            T2F: u(0.3, 1.4) if blood else u(0.7, 1.2),
        }
        overlays.append(Overlay(rim.astype(np.float32), level))
    if fields.chance(0.4):  # fluid with protein or blood, not as dark as CSF on T1 and FLAIR
        level = {T1N: u(0.3, 0.9), T1C: u(0.3, 0.95), T2W: u(0.8, 1.3), T2F: u(0.2, 1.2)}
        overlays.append(Overlay(fluid * np.float32(u(0.3, 1.0)), level))
    return replace(
        anatomy,
        gm=gm.astype(np.float32),
        wm=wm.astype(np.float32),
        csf=csf.astype(np.float32),
        labels=labels,
        overlays=tuple(overlays),
        vessels=(anatomy.vessels * (1 - fluid)).astype(np.float32),
        spots=(anatomy.spots * (1 - fluid)).astype(np.float32),
    )
