"""Synthetic patients over time: one anatomy, lesions that grow by known factors, another scanner at every date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hope.domain.grid import ALL_ORIENTATIONS, Grid
from hope.domain.labels import CC, ED, ET, NET
from hope.domain.volume import Volume
from hope.synthesis.anatomy import make_anatomy
from hope.synthesis.fields import Field
from hope.synthesis.raw import RawCase, RawOptions, block_template, rigid, scan_head
from hope.synthesis.tumours import TumourSpec, ellipsoid, random_rotation

_LEAST_RADIUS_MM, _MOST_RADIUS_MM = 8.0, 18.0
_SMALLEST_CHANGE, _LARGEST_CHANGE = 0.75, 1.35
"""Factors on the radius from one date to the next."""


@dataclass(frozen=True, eq=False)
class Growth:
    """How one lesion looks and how large it is at each date.

    Attributes:
        spec: the lesion at its first size, millimetres of the block.
        factors: on its radius at each date; 0 where it is not there.
        cystic: whether its middle is cyst, else non-enhancing tumour.
        oedema: reach of its oedema as a share of the radius.
    """

    spec: TumourSpec
    factors: tuple[float, ...]
    cystic: bool
    oedema: float


@dataclass(frozen=True, eq=False)
class TimelineVisit:
    """One date of a synthetic patient.

    Attributes:
        days: since the first date.
        case: scans and mask of the date.
        true_ml: label -> volume as drawn on the block, before any scanner.
    """

    days: int
    case: RawCase
    true_ml: dict[str, float]


def draw_growth(rng: np.random.Generator, centres_mm: Sequence[npt.NDArray[np.float64]], dates: int) -> list[Growth]:
    """Draw the lesions of a patient and how they grow or shrink.

    Args:
        rng: source of randomness.
        centres_mm: where they lie.
        dates: how many dates there are.
    """
    lesions = []
    for centre_mm in centres_mm:
        axes = rng.uniform(_LEAST_RADIUS_MM, _MOST_RADIUS_MM) * rng.uniform(0.85, 1.2, 3)
        spec = TumourSpec("timeline", centre_mm, axes, random_rotation(rng), "anywhere")
        steps = np.exp(rng.uniform(np.log(_SMALLEST_CHANGE), np.log(_LARGEST_CHANGE), dates - 1))
        factors = (1.0, *np.cumprod(steps).tolist())
        lesions.append(Growth(spec, factors, bool(rng.random() < 0.3), float(rng.uniform(0, 0.5))))
    return lesions


def lesion_labels(lesions: Sequence[Growth], date: int, position_mm: Field, inside: Field) -> npt.NDArray[np.uint8]:
    """Peds labels (i, j, k) of all lesions at one date.

    Args:
        lesions: how they grow.
        date: which date, from 0.
        position_mm: (3, i, j, k) place of each voxel in the block.
        inside: (i, j, k) brain fraction; lesions keep inside the brain.
    """
    labels = np.zeros(position_mm.shape[1:], dtype=np.uint8)
    for lesion in lesions:
        factor = lesion.factors[date]
        if factor <= 0:
            continue
        phi = ellipsoid(replace(lesion.spec, half_axes_mm=lesion.spec.half_axes_mm * factor), position_mm)
        bounds = ((1 + lesion.oedema, ED), (1.0, ET), (0.7, CC if lesion.cystic else NET))
        for reach, value in bounds:
            takes = (phi < reach) & (inside > 0.5) & ((labels == 0) | (labels == ED) | (value != ED))
            labels[takes] = value
    return labels


def timeline(
    seed: int,
    index: int,
    dates: int,
    options: RawOptions | None = None,
    factors: Sequence[float] | None = None,
) -> list[TimelineVisit]:
    """A synthetic patient at several dates: other scanner, other grid, moved head each time.

    Args:
        seed: of the whole series.
        index: which patient; patients do not depend on one another.
        dates: how many dates, two or more.
        options: how hard to make the scans; its kind of tumour is not used.
        factors: on the radius of every lesion at each date; drawn for each lesion where they are not given.

    Raises:
        ValueError: for fewer than two dates, or factors of another number of dates.
    """
    if factors is not None and len(factors) != dates:
        raise ValueError("every date needs its factor")
    if dates < 2:
        raise ValueError("a timeline needs two dates or more")
    chosen = options or RawOptions()
    rng = np.random.default_rng(np.random.SeedSequence([seed, 78, index]))
    template = block_template(chosen.drawn_mm)
    anatomy = make_anatomy(template, rng, "none")
    deep = np.argwhere(anatomy.brain > 0.95)
    places = rng.integers(0, len(deep), int(rng.integers(1, 3)))
    centres = [deep[n].astype(np.float64) * chosen.drawn_mm for n in places]
    lesions = draw_growth(rng, centres, dates)
    if factors is not None:
        lesions = [replace(lesion, factors=tuple(factors)) for lesion in lesions]
    axes = (np.arange(n, dtype=np.float32) * np.float32(chosen.drawn_mm) for n in anatomy.brain.shape)
    position = np.stack(np.meshgrid(*axes, indexing="ij"))
    days = np.concatenate([[0], np.cumsum(rng.integers(30, 180, dates - 1))])
    visits = []
    for date in range(dates):
        labels = lesion_labels(lesions, date, position, anatomy.brain)
        specs = tuple(lesion.spec for lesion in lesions if lesion.factors[date] > 0)
        scanner = np.random.default_rng(np.random.SeedSequence([seed, 79, index, date]))
        case = scan_head(replace(anatomy, labels=labels, tumours=specs), template, scanner, chosen)
        names = {"ET": ET, "NET": NET, "CC": CC, "ED": ED}
        voxel_ml = chosen.drawn_mm**3 / 1000
        true_ml = {key: float(np.count_nonzero(labels == value)) * voxel_ml for key, value in names.items()}
        visits.append(TimelineVisit(int(days[date]), case, true_ml))
    return visits


def masks_in_scanners(
    lesions: Sequence[Growth], dates: int, rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: float
) -> list[tuple[Volume, npt.NDArray[np.float64]]]:
    """Only the masks of a patient, small and fast: each date drawn exactly on a turned, shifted grid of its own.

    Args:
        lesions: in the head's world, millimetres from the middle.
        dates: how many.
        rng: orientation, spacing and pose of each date.
        shape: voxels of each grid.
        spacing_mm: about the spacing of each grid.

    Returns:
        per date the mask in its scanner's world, and the (4, 4) map from that world to the head's world, RAS+ mm.
    """
    made = []
    for date in range(dates):
        sides = spacing_mm * rng.uniform(0.85, 1.15, 3)
        affine = np.diag([*sides, 1.0])
        affine[:3, 3] = -sides * (np.array(shape) - 1) / 2
        grid = Grid(shape, affine).reoriented(str(rng.choice(ALL_ORIENTATIONS)))
        pose = rigid(rng, 12, 6, (0, 0, 0))
        voxels = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
        position = np.moveaxis(pose.apply(grid.to_world(voxels)), -1, 0).astype(np.float32)
        labels = lesion_labels(lesions, date, position, np.ones(grid.shape, dtype=np.float32))
        made.append((Volume(labels, grid), np.array(pose.fixed_to_moving_ras_mm)))
    return made
