"""The four contrasts: how bright each tissue and tumour part is in each sequence, drawn anew for every case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.labels import CC, ED, ET, NET
from hope.synthesis.anatomy import Anatomy
from hope.synthesis.fields import Field, FieldMaker, blur


@dataclass(frozen=True)
class Brightness:
    """Mean signal of each tissue in one sequence; 1 is about the brightest normal brain tissue.

    Attributes:
        csf, gm, wm: normal tissue.
        parts: per peds label.
        vessels: what enhancing non-tumour reaches (0 = invisible).
        spots: what white-matter lesions reach.
    """

    csf: float
    gm: float
    wm: float
    parts: Mapping[int, float]
    vessels: float
    spots: float


def draw_brightness(rng: np.random.Generator, rim: bool) -> dict[MRSequence, Brightness]:
    """Choose the contrasts of one case.

    Args:
        rng: all randomness.
        rim: the tumour has a necrotic core, which is darker on T1 and brighter on T2 than solid tumour.
    """

    def u(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    infant = u(0, 1) < 0.12  # white matter not yet myelinated: darker than grey matter on T1, brighter on T2
    t1_gm = u(0.5, 0.75)
    t1_wm = t1_gm * (u(0.8, 1.02) if infant else u(1.15, 1.55))
    t1_csf = t1_gm * u(0.15, 0.6)
    t1_et, t1_net = t1_gm * u(0.72, 1.25), t1_gm * (u(0.35, 0.85) if rim else u(0.55, 1.05))
    t1_cc, t1_ed = t1_csf + (t1_gm - t1_csf) * u(-0.05, 0.45), t1_gm * u(0.75, 1.15)
    t1n = Brightness(t1_csf, t1_gm, t1_wm, {ET: t1_et, NET: t1_net, CC: t1_cc, ED: t1_ed}, 0.0, t1_gm * u(0.8, 1.0))
    gain = u(0.92, 1.1)
    brightest = max(t1_gm, t1_wm) * gain
    weak = u(0, 1) < 0.25
    enhanced = brightest * (u(0.98, 1.2) if weak else u(1.1, 1.85))
    t1c = Brightness(
        t1_csf * gain,
        t1_gm * gain * u(1.0, 1.08),
        t1_wm * gain,
        {ET: enhanced, NET: t1_net * gain * u(0.92, 1.15), CC: t1_cc * gain, ED: t1_ed * gain * u(0.95, 1.05)},
        max(enhanced, brightest * 1.2) * u(0.8, 1.2),
        t1n.spots * gain,
    )
    t2_gm = u(0.42, 0.68)
    t2_wm = t2_gm * (u(1.0, 1.3) if infant else u(0.55, 0.9))
    t2_csf = u(0.9, 1.3)
    t2_tumour = max(t2_gm, t2_wm)
    t2w = Brightness(
        t2_csf,
        t2_gm,
        t2_wm,
        {
            ET: t2_tumour * u(1.1, 1.7),
            NET: t2_tumour + (t2_csf - t2_tumour) * (u(0.35, 1.0) if rim else u(0.15, 0.8)),
            CC: t2_csf * u(0.88, 1.1),
            ED: t2_tumour + (t2_csf - t2_tumour) * u(0.28, 0.85),
        },
        0.0,
        t2_tumour + (t2_csf - t2_tumour) * u(0.3, 0.8),
    )
    fl_gm = u(0.5, 0.72)
    fl_wm = fl_gm * (u(0.95, 1.15) if infant else u(0.68, 0.98))
    fl_csf = fl_gm * u(0.05, 0.45)
    top = max(fl_gm, fl_wm)
    fl_ed = top * u(1.12, 1.75)
    t2f = Brightness(
        fl_csf,
        fl_gm,
        fl_wm,
        {
            ET: top * u(0.9, 1.55),
            NET: top * u(0.45, 1.3) if rim else top * u(1.0, 1.65),
            CC: fl_csf + (fl_ed - fl_csf) * u(0.0, 0.8),
            ED: fl_ed,
        },
        0.0,
        top * u(1.1, 1.5),
    )
    return {MRSequence.T1N: t1n, MRSequence.T1C: t1c, MRSequence.T2W: t2w, MRSequence.T2F: t2f}


def brighten_core(given: Mapping[MRSequence, Brightness], factor: float) -> dict[MRSequence, Brightness]:
    """The same contrasts with the NET core on T1 (and T1 with contrast) at ``factor`` times white matter."""
    changed = dict(given)
    for sequence in (MRSequence.T1N, MRSequence.T1C):
        b = given[sequence]
        changed[sequence] = replace(b, parts={**b.parts, NET: b.wm * factor})
    return changed


def _part_weights(labels: npt.NDArray[np.uint8], fields: FieldMaker) -> dict[int, Field]:
    """How much of each voxel belongs to each tumour part: sharp for the core, soft for oedema; sums to at most 1."""
    core_edge, oedema_edge = fields.uniform(0.5, 1.3), fields.uniform(0.8, 2.6)
    weights = {
        value: blur((labels == value).astype(np.float32), core_edge, fields.spacing_mm) for value in (ET, NET, CC)
    }
    core = np.clip(sum(weights.values()), 0, 1)
    oedema = blur((labels > 0).astype(np.float32), oedema_edge, fields.spacing_mm)
    # Oedema fades outward, but the tumour's own edge stays where the label says.
    weights[ED] = np.clip(
        np.minimum(oedema, blur((labels == ED).astype(np.float32), oedema_edge, fields.spacing_mm)), 0, 1 - core
    )
    return weights


def _special_spots(anatomy: Anatomy, fields: FieldMaker) -> tuple[Field, float]:
    """Haemorrhage-like or calcified spots inside the core, and their factor on the signal."""
    core = (anatomy.labels > 0) & (anatomy.labels < ED)
    if not core.any() or not fields.chance(0.25):
        return np.zeros(fields.shape, dtype=np.float32), 1.0
    spots = core & (fields.fractal(8, 2, 0.5) > fields.uniform(1.0, 2.2))
    return blur(spots.astype(np.float32), 0.7, fields.spacing_mm), fields.uniform(0.15, 1.9)


def has_rim(anatomy: Anatomy) -> bool:
    """Whether one of the tumours is of a kind whose core may be necrotic."""
    return any(spec.kind in ("rim_enhancing", "tiny") for spec in anatomy.tumours)


def render(
    anatomy: Anatomy, fields: FieldMaker, given: Mapping[MRSequence, Brightness] | None = None
) -> dict[MRSequence, Field]:
    """Ideal images of all four sequences: right contrast, no scanner faults; (i, j, k) float32, zero outside the brain.

    Args:
        anatomy: tissues, tumour parts and distractors.
        fields: randomness and shape.
        given: how bright everything is; None draws it.
    """
    rim = has_rim(anatomy) and fields.chance(0.75)
    brightness = draw_brightness(fields.rng, rim) if given is None else given
    weights = _part_weights(anatomy.labels, fields)
    covered = np.clip(sum(weights.values()), 0, 1)
    infiltration = np.clip(0.5 + 0.35 * fields.fractal(10, 3, 0.6), 0, 1)
    see_through = np.clip(weights[ED], 0, 1) * infiltration * np.float32(fields.uniform(0, 0.5))
    blood, blood_factor = _special_spots(anatomy, fields)
    inner = {value: fields.fractal(fields.uniform(3.5, 9), 2, 0.6) for value in weights}
    images = {}
    for sequence in SEQUENCES:
        b = brightness[sequence]
        texture = 1 + np.float32(fields.uniform(0, 0.05)) * fields.fractal(fields.uniform(4, 14), 2, 0.5)
        image = (anatomy.csf * b.csf + anatomy.gm * b.gm + anatomy.wm * b.wm) * texture
        tumour = sum(
            weight * np.float32(b.parts[value]) * (1 + np.float32(fields.uniform(0.02, 0.16)) * inner[value])
            for value, weight in weights.items()
        )
        image = image * (1 - covered + see_through) + tumour * (1 - see_through / np.maximum(covered, 1e-3))
        image += anatomy.spots * (1 - covered) * (np.float32(b.spots) - image)
        if b.vessels:
            image += anatomy.vessels * (1 - covered) * np.maximum(np.float32(b.vessels) - image, 0)
        for overlay in anatomy.overlays:
            image += overlay.weight * (np.float32(overlay.level[sequence]) - image)
        image *= 1 + blood * np.float32(
            (blood_factor if sequence is not MRSequence.T2W else min(blood_factor, 0.8)) - 1
        )
        images[sequence] = np.maximum(image, 0).astype(np.float32)
    return images
