"""Synthetic cases as they leave a scanner: skull on, each sequence on its own oblique, often thick-sliced grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.grid import ALL_ORIENTATIONS, ATLAS_GRID, Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.synthesis.anatomy import Anatomy, brain_mask, make_anatomy
from hope.synthesis.contrast import render
from hope.synthesis.fields import Field, FieldMaker
from hope.synthesis.head import surround
from hope.synthesis.template import Template, load_template

_BLOCK_MM, _BLOCK_START_MM = (160, 192, 160), (40, 15, -6)
_MARGIN = 24


@dataclass(frozen=True)
class RawOptions:
    """How hard to make it.

    Attributes:
        kind: kind of tumour (see ``tumours.plan_tumours``), or None to draw one.
        skull: keep the head around the brain.
        thick_slices: t2w and t2f have slices of 3 to 6 mm, t1n and t1c sometimes.
        misaligned: the child moved between sequences, by up to 6 degrees and 8 mm.
        any_orientation: files are stored in any of the 48 orientations.
        noise: noise as a share of white matter's signal.
        drawn_mm: side of the voxels that the brain is drawn in, and about the side of the scans' own; 2 costs an eighth
            of 1 and is for brains without their skull.
    """

    kind: str | None = None
    skull: bool = True
    thick_slices: bool = True
    misaligned: bool = False
    any_orientation: bool = True
    noise: float = 0.03
    drawn_mm: int = 1


@dataclass(frozen=True)
class RawCase:
    """One synthetic raw case with its truth.

    Attributes:
        scans: per sequence float32 on its own grid.
        labels: uint8 peds labels on the grid of t1c.
        brain: bool brain mask on the grid of t1c.
        scan_to_head: per sequence the true rigid map from that scan's world to the head's own (atlas-like) world.
        kinds: kinds of tumour drawn.
    """

    scans: Mapping[MRSequence, Volume]
    labels: Volume
    brain: Volume
    scan_to_head: Mapping[MRSequence, Transform]
    kinds: tuple[str, ...]


def rigid(rng: np.random.Generator, degrees: float, millimetres: float, about: npt.ArrayLike) -> Transform:
    """A random rotation of up to ``degrees`` about each axis through a point, and a shift of up to ``millimetres``."""
    angle = np.deg2rad(rng.uniform(-degrees, degrees, 3))
    (cx, cy, cz), (sx, sy, sz) = np.cos(angle), np.sin(angle)
    rotation = (
        np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    centre = np.asarray(about, dtype=np.float64)
    matrix[:3, 3] = centre - rotation @ centre + rng.uniform(-millimetres, millimetres, 3)
    return Transform(matrix)


def block_template(drawn_mm: int) -> Template:
    """The template on the block that holds a head, in voxels of a whole number of millimetres."""
    x, y, z = (side // drawn_mm for side in _BLOCK_MM)
    return load_template(drawn_mm, (x, y, z), _BLOCK_START_MM)


def _scan_grid(rng: np.random.Generator, centre: npt.NDArray[np.float64], thickness: float, drawn_mm: int = 1) -> Grid:
    """An axial, slightly oblique grid that holds the head, slices along its third axis."""
    in_plane = float(rng.uniform(0.85, 1.0)) * drawn_mm
    slices = int(np.ceil(186 / thickness))
    shape = (round(208 / in_plane), round(236 / in_plane), slices)
    tilt = rigid(rng, 6, 0, (0, 0, 0)).fixed_to_moving_ras_mm[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag([in_plane, in_plane, thickness])
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def _read(image: npt.NDArray[Any], source: Grid, target: Grid, to_source: Transform, order: int) -> npt.NDArray[Any]:
    matrix = np.linalg.inv(source.affine_ras_mm) @ to_source.fixed_to_moving_ras_mm @ target.affine_ras_mm
    read = ndimage.affine_transform(image, matrix[:3, :3], matrix[:3, 3], target.shape, order=order, output=image.dtype)
    return np.asarray(read)


def _acquire(
    image: Field, source: Grid, target: Grid, to_head: Transform, rng: np.random.Generator, noise: float
) -> Volume:
    """One sequence: averaged through the slice, shaded by the coil, noisy; scaled like scanner units."""
    parts = max(1, round(target.spacing_mm[2]))
    fine = Grid((*target.shape[:2], target.shape[2] * parts), _finer(target, parts))
    sampled = _read(image, source, fine, to_head, 1)
    data = sampled.reshape(*target.shape, parts).mean(axis=3)
    shading = FieldMaker(rng, target.shape, 1.0).smooth(max(target.shape) / 2) * np.float32(rng.uniform(0, 0.2))
    data = data * np.exp(shading)
    sigma = np.float32(noise * rng.uniform(0.3, 1))
    real = data + sigma * rng.standard_normal(data.shape, dtype=np.float32)
    imaginary = sigma * rng.standard_normal(data.shape, dtype=np.float32)
    return Volume((np.sqrt(real**2 + imaginary**2) * np.float32(rng.uniform(300, 900))).astype(np.float32), target)


def _finer(grid: Grid, parts: int) -> npt.NDArray[np.float64]:
    """Affine of the same slab cut into ``parts`` as many slices."""
    affine = np.array(grid.affine_ras_mm)
    affine[:3, 2] /= parts
    affine[:3, 3] = grid.to_world([0, 0, -(parts - 1) / (2 * parts)])
    return affine


def _whole_head(
    anatomy: Anatomy, fields: FieldMaker, grid: Grid, options: RawOptions
) -> tuple[dict[MRSequence, Field], Grid]:
    ideal = render(anatomy, fields)
    if not options.skull:
        mask = brain_mask(anatomy, fields)
        return {s: image * mask for s, image in ideal.items()}, grid
    head = surround(anatomy.brain, grid, _MARGIN, fields.rng)
    inside = np.clip(1.6 * ndimage.gaussian_filter(anatomy.brain, 2.0), 0, 1)
    inner = tuple(slice(_MARGIN, _MARGIN + n) for n in grid.shape)
    images = {}
    for sequence, image in ideal.items():
        whole = np.array(head.images[sequence])
        whole[inner] = whole[inner] * (1 - inside) + image
        images[sequence] = whole
    return images, head.grid


def raw_case(seed: int, index: int, options: RawOptions | None = None) -> RawCase:
    """The ``index``-th raw-like case of a reproducible series.

    Args:
        seed: of the whole series.
        index: which case; cases do not depend on one another.
        options: how hard to make it.
    """
    chosen = options or RawOptions()
    rng = np.random.default_rng(np.random.SeedSequence([seed, 77, index]))
    template = block_template(chosen.drawn_mm)
    return scan_head(make_anatomy(template, rng, chosen.kind), template, rng, chosen)


def scan_head(anatomy: Anatomy, template: Template, rng: np.random.Generator, chosen: RawOptions) -> RawCase:
    """Lay a head askew in a scanner and take the four sequences of it.

    Args:
        anatomy: with its labels, on the template's grid.
        template: whose grid that is.
        rng: brightness, pose, grids and noise.
        chosen: how hard to make it.

    Raises:
        ValueError: for a skull in voxels of more than 1 mm.
    """
    if chosen.skull and chosen.drawn_mm != 1:
        raise ValueError("a head with its skull is drawn in voxels of 1 mm")
    fields = FieldMaker(rng, template.grid.shape, float(chosen.drawn_mm))
    images, source = _whole_head(anatomy, fields, template.grid, chosen)
    centre = template.grid.centre_ras_mm()
    # The scanner's world has its origin near the head's centre, and the head lies a little askew in it.
    to_origin = np.eye(4)
    to_origin[:3, 3] = centre
    pose = rigid(rng, 8, 12, (0, 0, 0)).then(Transform(to_origin))
    scans, poses = {}, {}
    thick_t1 = bool(chosen.thick_slices and rng.random() < 0.4)
    for sequence in SEQUENCES:
        thick = chosen.thick_slices and (sequence in (MRSequence.T2W, MRSequence.T2F) or thick_t1)
        moved = (
            rigid(rng, 6, 8, (0, 0, 0))
            if chosen.misaligned and sequence is not MRSequence.T1C
            else Transform.identity()
        )
        poses[sequence] = moved.then(pose)
        slice_mm = float(rng.uniform(3, 6)) if thick else float(rng.uniform(0.95, 1.2)) * chosen.drawn_mm
        grid = _scan_grid(rng, np.zeros(3), slice_mm, chosen.drawn_mm)
        scan = _acquire(images[sequence], source, grid, poses[sequence], rng, chosen.noise)
        scans[sequence] = scan.reoriented(str(rng.choice(ALL_ORIENTATIONS)) if chosen.any_orientation else "RAS")
    on = scans[MRSequence.T1C].grid
    labels = _read(anatomy.labels, template.grid, on, poses[MRSequence.T1C], 0)
    brain = _read(anatomy.brain, template.grid, on, poses[MRSequence.T1C], 1) > 0.5
    kinds = tuple(spec.kind for spec in anatomy.tumours)
    return RawCase(scans, Volume(labels, on), Volume(brain, on), poses, kinds)


def preprocessed_case(
    seed: int, index: int, kind: str | None = None
) -> tuple[dict[MRSequence, Volume], Volume, tuple[str, ...]]:
    """A case as a BraTS release would hold it: stripped, 1 mm, on ATLAS_GRID; images, peds labels, kinds of tumour."""
    raw = raw_case(seed, index, RawOptions(kind=kind, skull=False, thick_slices=False, any_orientation=False))
    images = {}
    for sequence, scan in raw.scans.items():
        back = raw.scan_to_head[sequence].inverse()
        images[sequence] = Volume(_read(np.asarray(scan.data), scan.grid, ATLAS_GRID, back, 1), ATLAS_GRID)
    back = raw.scan_to_head[MRSequence.T1C].inverse()
    labels = _read(np.asarray(raw.labels.data), raw.labels.grid, ATLAS_GRID, back, 0)
    brain = _read(np.asarray(raw.brain.data).astype(np.uint8), raw.brain.grid, ATLAS_GRID, back, 0) | (labels > 0)
    return {s: v.with_data(v.data * brain) for s, v in images.items()}, Volume(labels, ATLAS_GRID), raw.kinds
