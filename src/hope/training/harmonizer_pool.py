"""Exercises for the harmonizer: a pool of synthetic anatomies in several styles, made once, varied without end."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.errors import InputError
from hope.domain.progress import Progress
from hope.formats.atomic import atomic_output, clear_partial_files
from hope.models.hail.coarse import averaged, inside, medians, places, view
from hope.models.hail.network import VOXELS
from hope.synthesis.fields import FieldMaker
from hope.synthesis.style_pairs import PAIR_FAULTS, StyledCase, styled_cases
from hope.training.harmonizer_config import HarmonizerConfig

Array = npt.NDArray[np.float32]
_MODEL_STEP = 2
"""Voxels of the synthesis in one of the coarse view, along each axis."""


@dataclass(frozen=True)
class Group:
    """Several anatomies, each in the same styles; see ``styled_cases``.

    Attributes:
        coarse: (anatomies, styles, 4, i, j, k) float16 at 4 mm.
        fraction: (anatomies, i, j, k) float16 share of brain.
        voxels: (anatomies, styles, 4, n) float16 intensities of some voxels of 2 mm.
        places: (anatomies, 3, n) int16 where those lie.
        lesion: (anatomies, n) whether they are tumour.
        tissue: (anatomies, styles, 4, 3) float32 signal of fluid, grey and white matter.
    """

    coarse: npt.NDArray[np.float16]
    fraction: npt.NDArray[np.float16]
    voxels: npt.NDArray[np.float16]
    places: npt.NDArray[np.int16]
    lesion: npt.NDArray[np.bool_]
    tissue: npt.NDArray[np.float32]


@dataclass(frozen=True)
class TrainingPair:
    """One source, one target, and the right answer at some voxels.

    Attributes:
        source, target: views (12, i, j, k); the target is another anatomy in another style.
        percentiles: (2, 4, percentiles) of these.
        x: (4, n) source intensities in units of the source's median.
        y: (4, n) the truth in units of the target's median.
        places: (3, n) of the voxels, fractional, in the coarse view.
        lesion: (n,) whether they are tumour.
        tissue: (2, 4, 3) signal of fluid, grey and white matter in source and target, in units of their medians.
        shading: (4, i, j, k) logarithm of the source's shading, zero on average over the brain.
        counts: (4,) whether the sequence is there in source and target.
    """

    source: Array
    target: Array
    percentiles: Array
    x: Array
    y: Array
    places: Array
    lesion: npt.NDArray[np.bool_]
    tissue: Array
    shading: Array
    counts: npt.NDArray[np.bool_]


def _shrunk(image: Array) -> Array:
    *rest, i, j, k = image.shape
    s = _MODEL_STEP
    blocks = image.reshape(*rest, i // s, s, j // s, s, k // s, s)
    return np.asarray(blocks.mean(axis=(-5, -3, -1)), np.float32)


def make_group(config: HarmonizerConfig, index: int) -> Group:
    """The ``index``-th group of a run, which depends on its seed alone."""
    cases = styled_cases(config.seed, index, config.anatomies, config.styles)
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, 601, index]))
    parts = [_thin(case, config.voxels, rng) for case in cases]
    return Group(*(np.stack(values) for values in zip(*parts, strict=True)))


def _thin(case: StyledCase, count: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.generic], ...]:
    fraction = _shrunk(case.mask.astype(np.float32))
    coarse = np.stack([averaged(_shrunk(images), fraction) for images in case.images])
    lesion = np.argwhere(case.labels > 0)
    picked = lesion[rng.integers(len(lesion), size=count // 4)] if len(lesion) else lesion
    brain = np.argwhere(case.mask)
    places = np.concatenate([picked, brain[rng.integers(len(brain), size=count - len(picked))]]).T
    at = tuple(places)
    voxels = np.stack([images[(slice(None), *at)] for images in case.images])
    return (
        coarse.astype(np.float16),
        fraction.astype(np.float16),
        voxels.astype(np.float16),
        places.astype(np.int16),
        case.labels[at] > 0,
        case.tissue,
    )


def load_pool(folder: Path, config: HarmonizerConfig, progress: Progress) -> list[Group]:
    """Read the run's pool; what is not there yet is made and kept.

    Args:
        folder: of the pool.
        config: seed and sizes.
        progress: called for every group that is made.

    Raises:
        InputError: if a file of the pool is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clear_partial_files(folder)
    groups = []
    for index in range(config.groups):
        path = folder / f"group-{index:04d}.npz"
        if not path.is_file():
            progress(f"train: synthesis of group {index + 1} of {config.groups}", index / config.groups)
            _write(make_group(config, index), path)
        try:
            with np.load(path) as stored:
                groups.append(Group(*(stored[name] for name in Group.__dataclass_fields__)))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path.name} of the run's pool is damaged", fix="delete it; it is made anew") from error
    return groups


def _write(group: Group, path: Path) -> None:
    with atomic_output(path) as stream:
        np.savez(stream, **vars(group))


def rising_curve(rng: np.random.Generator, strength: float) -> tuple[Array, Array]:
    """Where a curve bends and its values there, in units of a sequence's median: what another scanner might add.

    Args:
        rng: all randomness.
        strength: deviation of the logarithm of its slopes; none is beyond twice that.
    """
    knots = np.array([0, 0.5, 0.8, 1.0, 1.25, 1.7, 2.6, 20], np.float32)
    slopes = np.exp(np.clip(rng.normal(0, strength, len(knots) - 1), -2 * strength, 2 * strength))
    return knots, np.concatenate([[0], np.cumsum(slopes * np.diff(knots))]).astype(np.float32)


def _curves(rng: np.random.Generator, strength: float) -> list[tuple[Array, Array]]:
    return [rising_curve(rng, strength) for _ in range(4)]


def _through(images: Array, curves: Sequence[tuple[Array, Array]], scale: npt.NDArray[np.float64]) -> Array:
    out = np.zeros(images.shape, np.float32)
    for image, curve, one, curved in zip(images, curves, scale, out, strict=True):
        shown = image > 0
        curved[shown] = np.interp(image[shown] / one, *curve)
    return out


def _shading(rng: np.random.Generator, fraction: Array) -> Array:
    """Logarithm of four shadings, zero on average over the brain: nobody could tell it from the scan's scale."""
    i, j, k = fraction.shape
    fields = FieldMaker(rng, (i, j, k), 4.0)
    brain = inside(fraction)
    made = []
    for _ in range(4):
        field = fields.smooth(fields.uniform(60, 110)) * np.float32(fields.uniform(0, PAIR_FAULTS.shading))
        made.append(field - field[brain].mean())
    return np.stack(made)


def draw_pair(rng: np.random.Generator, groups: Sequence[Group], config: HarmonizerConfig) -> TrainingPair:
    """One pair; it depends on the generator's state alone.

    Args:
        rng: all randomness.
        groups: the pool.
        config: strengths and sizes.
    """
    group = groups[int(rng.integers(len(groups)))]
    own, other = rng.choice(len(group.fraction), 2, replace=False)
    first, second = rng.integers(group.coarse.shape[1], size=2)
    fraction, fraction_other = (group.fraction[n].astype(np.float32) for n in (own, other))
    chosen = rng.integers(group.places.shape[-1], size=config.voxels_per_pair)
    place = group.places[own][:, chosen].astype(np.float32)
    place = (place + 0.5) / _MODEL_STEP - 0.5

    def styled(
        anatomy: int, style: int, curves: Sequence[tuple[Array, Array]], scale: npt.NDArray[np.float64]
    ) -> Array:
        return _through(group.coarse[anatomy, style].astype(np.float32), curves, scale)

    def fine(style: int, curves: Sequence[tuple[Array, Array]], scale: npt.NDArray[np.float64]) -> Array:
        return _through(group.voxels[own, style][:, chosen].astype(np.float32), curves, scale)

    scales = [_scales(group, int(own), int(style)) for style in (first, second)]
    before, after = (_curves(rng, config.curve_strength) for _ in range(2))
    shading, shading_other = (_shading(rng, share) for share in (fraction, fraction_other))
    source = styled(own, first, before, scales[0]) * np.exp(shading)
    target = styled(other, second, after, scales[1]) * np.exp(shading_other)
    there, there_target = (_present(rng, config.drop) for _ in range(2))
    scale, scale_target = medians(source, fraction) * there, medians(target, fraction_other) * there_target
    at = np.stack([ndimage.map_coordinates(f, place, order=1, mode="nearest") for f in shading])
    x = fine(first, before, scales[0]) * np.exp(at)
    noise = rng.uniform(0, PAIR_FAULTS.noise, (4, 1)) * rng.standard_normal(x.shape)
    counts = there & there_target
    safe, safe_target = (np.where(s > 0, s, 1.0)[:, None] for s in (scale, scale_target))
    views = [
        view(source, fraction, scale, places(fraction)),
        view(target, fraction_other, scale_target, places(fraction_other)),
    ]
    return TrainingPair(
        source=views[0][0],
        target=views[1][0],
        percentiles=np.stack([percentiles for _, percentiles in views]),
        x=np.maximum(x / safe + noise, 0).astype(np.float32),
        y=(fine(second, after, scales[1]) / safe_target).astype(np.float32),
        places=place,
        lesion=group.lesion[own][chosen],
        tissue=np.stack(
            [
                _through(group.tissue[own, first], before, scales[0]) / safe,
                _through(group.tissue[other, second], after, scales[1]) / safe_target,
            ]
        ).astype(np.float32),
        shading=shading,
        counts=counts,
    )


@dataclass(frozen=True)
class VoxelSample:
    """A pair without places: single voxels of two scans, which is all that styles and curves go by.

    Attributes:
        voxels: (2, n, 12) of source and target, as in a view.
        percentiles: (2, 4, percentiles).
        tissue, x, y, lesion, counts: as in ``TrainingPair``, but with a part of the source's shading alone.
    """

    voxels: Array
    percentiles: Array
    tissue: Array
    x: Array
    y: Array
    lesion: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.bool_]


def draw_sample(rng: np.random.Generator, groups: Sequence[Group], config: HarmonizerConfig) -> VoxelSample:
    """One sample; far less work than a pair, and it depends on the generator's state alone.

    Args:
        rng: all randomness.
        groups: the pool.
        config: strengths and sizes.
    """
    group = groups[int(rng.integers(len(groups)))]
    own, other = (int(n) for n in rng.choice(len(group.fraction), 2, replace=False))
    first, second = (int(n) for n in rng.integers(group.coarse.shape[1], size=2))
    chosen = rng.integers(group.places.shape[-1], size=config.voxels_per_pair)
    left = np.float32(rng.uniform(0, 0.5))
    seen, fine = [], []
    there = [_present(rng, config.drop) for _ in range(2)]
    curves = [_curves(rng, config.curve_strength) for _ in range(2)]
    scales = [_scales(group, own, style) for style in (first, second)]
    for side, (anatomy, style) in enumerate(((own, first), (other, second))):
        fraction = group.fraction[anatomy].astype(np.float32)
        brain = np.argwhere(inside(fraction))
        some = tuple(brain[np.sort(rng.integers(len(brain), size=VOXELS))].T)
        shading = _shading(rng, fraction)
        shown = _through(
            group.coarse[anatomy, style][(slice(None), *some)].astype(np.float32), curves[side], scales[side]
        )
        shown *= np.exp(shading[(slice(None), *some)])
        unit = np.median(shown, axis=1).astype(np.float64) * there[side]
        # A block of one voxel in depth and height is enough for the view.
        where = places(fraction)[(slice(None), *some)][:, :, None, None]
        channels, percentiles = view(shown[:, :, None, None], fraction[some][:, None, None], unit, where)
        safe = np.where(unit > 0, unit, 1.0)[:, None]
        tissue = _through(group.tissue[anatomy, style], curves[side], scales[side]) / safe
        seen.append((channels[:, :, 0, 0].T, percentiles, tissue))
        values = group.voxels[own, style][:, chosen].astype(np.float32)
        fine.append(_through(values, curves[side], scales[side]) / safe)
        if side == 0:
            at = tuple(np.minimum(group.places[own][:, chosen] // _MODEL_STEP, np.array(fraction.shape)[:, None] - 1))
            fine[0] *= np.exp(left * shading[(slice(None), *at)])
    noise = rng.uniform(0, PAIR_FAULTS.noise, (4, 1)) * rng.standard_normal(fine[0].shape)
    voxels, percentiles, tissues = (np.stack(parts).astype(np.float32) for parts in zip(*seen, strict=True))
    x, y = np.maximum(fine[0] + noise, 0).astype(np.float32), fine[1].astype(np.float32)
    return VoxelSample(voxels, percentiles, tissues, x, y, group.lesion[own][chosen], there[0] & there[1])


def _scales(group: Group, anatomy: int, style: int) -> npt.NDArray[np.float64]:
    """Median of each sequence, which curves refer to."""
    return medians(group.coarse[anatomy, style].astype(np.float32), group.fraction[anatomy].astype(np.float32))


def _present(rng: np.random.Generator, drop: float) -> npt.NDArray[np.bool_]:
    """Which sequences are there: all, or with probability ``drop`` some, but never none."""
    there = np.ones(4, bool)
    if rng.random() < drop:
        there[rng.choice(4, int(rng.integers(1, 4)), replace=False)] = False
    return there
