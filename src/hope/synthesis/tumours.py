"""Synthetic tumours: what kinds there are, where they grow, and how their parts are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hope.domain.labels import CC, ED, ET, NET
from hope.synthesis.fields import Field, FieldMaker, Mask, blur

Sites = Mapping[str, tuple[npt.NDArray[np.float64], ...]]


@dataclass(frozen=True)
class Kind:
    """A kind of tumour.

    Attributes:
        sites: where it grows, with weights; ``anywhere`` is any place in the brain.
        radius_mm: smallest and largest core radius.
        oedema: probability that there is oedema, and its largest reach as a share of the radius.
        weight: how often the kind is drawn.
    """

    sites: Mapping[str, float]
    radius_mm: tuple[float, float]
    oedema: tuple[float, float]
    weight: float


KINDS: Mapping[str, Kind] = {
    "rim_enhancing": Kind({"anywhere": 0.85, "thalamus": 0.15}, (6, 30), (0.94, 2.2), 0.30),
    "solid_enhancing": Kind(
        {"anywhere": 0.45, "fourth_ventricle": 0.2, "suprasellar": 0.15, "pineal": 0.08, "cerebellum": 0.12},
        (5, 26),
        (0.65, 1.5),
        0.16,
    ),
    "infiltrating": Kind({"anywhere": 0.75, "thalamus": 0.25}, (9, 34), (0.55, 0.8), 0.20),
    "pontine": Kind({"pons": 1.0}, (11, 22), (0.35, 0.5), 0.10),
    "cystic_with_nodule": Kind({"cerebellum": 0.5, "anywhere": 0.4, "suprasellar": 0.1}, (8, 28), (0.5, 0.6), 0.12),
    "tiny": Kind({"anywhere": 0.9, "ventricle": 0.1}, (2.5, 7), (0.75, 3.0), 0.12),
}


@dataclass(frozen=True)
class TumourSpec:
    """One lesion to be drawn: kind, centre and half axes in millimetres of the block, rotation, site name."""

    kind: str
    centre_mm: npt.NDArray[np.float64]
    half_axes_mm: npt.NDArray[np.float64]
    rotation: npt.NDArray[np.float64]
    site: str

    @property
    def radius_mm(self) -> float:
        """Mean half axis."""
        return float(np.prod(self.half_axes_mm) ** (1 / 3))


def random_rotation(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A rotation matrix, uniform over all rotations."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    if np.linalg.det(q) < 0:
        q[:, 0] *= -1
    return np.asarray(q)


def plan_tumours(
    rng: np.random.Generator, brain: Field, spacing_mm: float, sites: Sites, kind: str | None = None
) -> list[TumourSpec]:
    """Choose kind, number, sites and sizes for one case.

    Args:
        rng: source of randomness.
        brain: (i, j, k) brain fraction of the undeformed block; centres lie inside.
        spacing_mm: voxel size of ``brain``.
        sites: candidate centres per named site, millimetres of the block.
        kind: a name in ``KINDS``, ``multifocal``, ``none``, or None to draw one.
    """
    names = list(KINDS)
    weights = np.array([KINDS[name].weight for name in names])
    if kind == "none":
        return []
    multifocal = kind == "multifocal" or (kind is None and rng.random() < 0.15)
    count = int(rng.integers(2, 5)) if multifocal else 1
    drawn = kind if kind is not None and kind in KINDS else str(rng.choice(names, p=weights / weights.sum()))
    specs = []
    inside = np.argwhere(brain > 0.9)
    for index in range(count):
        choice = KINDS[drawn]
        site = str(rng.choice(list(choice.sites), p=np.array(list(choice.sites.values()))))
        if index > 0 or site == "anywhere":
            site, centre = "anywhere", inside[rng.integers(len(inside))] * spacing_mm
        else:
            centre = sites[site][rng.integers(len(sites[site]))] + rng.normal(0, 2.5, 3)
        low, high = choice.radius_mm
        radius = float(np.exp(rng.uniform(np.log(low), np.log(high)))) * (1.0 if index == 0 else rng.uniform(0.3, 0.8))
        axes = radius * rng.uniform(0.72, 1.35, 3)
        specs.append(TumourSpec(drawn, np.asarray(centre, dtype=np.float64), axes, random_rotation(rng), site))
    return specs


def ellipsoid(spec: TumourSpec, position_mm: npt.NDArray[np.float32]) -> Field:
    """Distance from the centre in units of the half axes: 1 on the surface."""
    total = np.zeros(position_mm.shape[1:], dtype=np.float32)
    offset = position_mm - spec.centre_mm.astype(np.float32)[:, None, None, None]
    for row, half in zip(spec.rotation.astype(np.float32), spec.half_axes_mm, strict=True):
        along = row[0] * offset[0] + row[1] * offset[1] + row[2] * offset[2]
        total += (along / np.float32(half)) ** 2
    return np.sqrt(total)


def _parts(spec: TumourSpec, phi: Field, texture: Field, fields: FieldMaker, ball: Field) -> tuple[Mask, Mask]:
    """Which voxels inside the core enhance, and which are cyst."""
    u = fields.uniform
    depth = 1 - phi
    core = phi < 1
    rim = core & (depth < u(0.14, 0.55))
    none = np.zeros_like(core)
    if spec.kind == "rim_enhancing":
        enhancing = core & ((rim & (texture > u(-2.2, -0.3))) | (texture > u(0.7, 1.8)))
        cyst = core & ~enhancing & (texture < u(-2.0, -0.2)) if fields.chance(0.35) else none
    elif spec.kind == "solid_enhancing":
        enhancing = core & (texture > u(-2.5, 0.2))
        cyst = core & ~enhancing & (texture < u(-2.5, -1.2)) if fields.chance(0.5) else none
    elif spec.kind == "infiltrating":
        enhancing = core & (texture > u(0.9, 3.0)) if fields.chance(0.6) else none
        cyst = core & ~enhancing & (texture < u(-2.6, -1.3)) if fields.chance(0.35) else none
    elif spec.kind == "pontine":
        enhancing = core & (texture > u(1.3, 3.0)) & (depth > 0.15) if fields.chance(0.6) else none
        cyst = core & ~enhancing & (texture < u(-3.0, -1.8)) if fields.chance(0.25) else none
    elif spec.kind == "cystic_with_nodule":
        wall = core & (depth < u(0.05, 0.2))
        nodule = core & (ball < 1)
        enhancing = nodule & (texture > u(-2.5, -0.5))
        if fields.chance(0.5):
            enhancing = enhancing | (wall & (texture > u(-2, 0.5)))
        cyst = core & ~wall & ~nodule
    else:
        enhancing = core & (texture > u(-3.0, 0.5)) if fields.chance(0.75) else none
        cyst = none
    return enhancing, cyst & ~enhancing


def draw(spec: TumourSpec, brain: Field, wm: Field, ventricle: Field, fields: FieldMaker) -> npt.NDArray[np.uint8]:
    """Draw one tumour's parts in peds labels, (i, j, k) uint8, inside the brain.

    Args:
        spec: the lesion.
        brain: deformed brain fraction on the block of ``fields``.
        wm: white-matter fraction.
        ventricle: fraction of ventricular fluid.
        fields: source of randomness and shape.
    """
    u, radius = fields.uniform, spec.radius_mm
    position = fields.positions_mm()
    phi = ellipsoid(spec, position)
    phi += fields.fractal(max(radius * 1.1, 5), 3, 0.55) * np.float32(u(0.04, 0.2))
    inside = (brain > 0.5) & ((ventricle < 0.5) | fields.chance(0.15))
    texture = fields.fractal(max(radius * u(0.5, 1.1), 3.5), 3, 0.6)
    nodule_at = spec.centre_mm + spec.rotation @ (spec.half_axes_mm * fields.rng.uniform(-0.75, 0.75, 3))
    nodule = TumourSpec(
        spec.kind, nodule_at, spec.half_axes_mm * fields.rng.uniform(0.25, 0.6, 3), spec.rotation, spec.site
    )
    enhancing, cyst = _parts(spec, phi, texture, fields, ellipsoid(nodule, position))
    labels = np.zeros(phi.shape, dtype=np.uint8)
    chance, reach = KINDS[spec.kind].oedema
    if fields.chance(chance):
        reach_here = u(0.12, reach) * (1.0 if radius < 22 else 0.6)
        fingers = fields.fractal(max(radius * 1.3, 9), 3, 0.55) * np.float32(u(0.1, 0.35))
        follows_wm = np.float32(0.35) + np.float32(0.95) * blur(wm, 2.0, fields.spacing_mm)
        labels[(phi + fingers < 1 + reach_here * follows_wm) & inside] = ED
    labels[(phi < 1) & inside] = NET
    labels[cyst & inside] = CC
    labels[enhancing & inside] = ET
    return labels
