"""The same anatomy in several styles: paired truth for a harmonizer, which no patient's data can give.

A style says how bright fluid, grey and white matter are in each sequence, and the contrast exponent. It moves all
else along: a tumour part that lies between grey and white matter in one style lies between them in every style. What a
scan shows is thus the same in all of them, and a true map from one style to another never falls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.grid import Grid
from hope.synthesis.acquisition import Faults
from hope.synthesis.anatomy import Anatomy, brain_mask, make_anatomy
from hope.synthesis.case import BRAIN_BLOCK_2MM
from hope.synthesis.contrast import Brightness, draw_brightness, render
from hope.synthesis.fields import Field, FieldMaker, Mask, blur, thicken
from hope.synthesis.template import load_template

_STEEPEST = 1.6
"""How much the contrast between two tissues may differ between a style and the one that its group started from."""
_TRIES = 200
_BIOLOGY = 0.03
"""How much tissue differs from brain to brain under one style, as a share of its brightness."""
_SPACING_MM = 2.0
_BLOCK, _START = BRAIN_BLOCK_2MM

PAIR_FAULTS = Faults(shading=0.3, noise=0.03, thick_probability=0.5, thick_mm=6.0, shift_mm=0.6, gamma=1.2)
"""What differs between a scan and the ideal image of its style; the exponent is part of the style."""


@dataclass(frozen=True)
class ScannerStyle:
    """What one scanner and protocol make of tissue.

    Attributes:
        tissue: signal of fluid, grey and white matter per sequence.
        gamma: contrast exponent per sequence.
    """

    tissue: Mapping[MRSequence, tuple[float, float, float]]
    gamma: Mapping[MRSequence, float]


@dataclass(frozen=True)
class StyledCase:
    """One anatomy in several styles, ideal: sharp or thick as it was taken, but without shading and noise.

    Attributes:
        images: per style (4, i, j, k) float32 in channel order, zero outside the brain.
        tissue: (styles, 4, 3) signal of pure fluid, grey and white matter in them.
        mask: (i, j, k) brain as an extraction would leave it.
        labels: (i, j, k) uint8 peds labels.
        grid: RAS grid of 2 mm in the atlas frame.
    """

    images: tuple[npt.NDArray[np.float32], ...]
    tissue: npt.NDArray[np.float32]
    mask: Mask
    labels: npt.NDArray[np.uint8]
    grid: Grid


@dataclass(frozen=True)
class StylePair:
    """A harmonizer's exercise: bring ``source`` to the style of ``target``; ``truth`` is the right answer.

    Attributes:
        source: a scan of one anatomy in one style, with shading and noise.
        target: a scan of another anatomy in another style, with its own shading and noise.
        truth: (4, i, j, k) float32: the source's anatomy in the target's style, without shading and noise.
        source_case, target_case: masks and labels of the two anatomies.
    """

    source: npt.NDArray[np.float32]
    target: npt.NDArray[np.float32]
    truth: npt.NDArray[np.float32]
    source_case: StyledCase
    target_case: StyledCase


def _tissue(brightness: Mapping[MRSequence, Brightness]) -> dict[MRSequence, tuple[float, float, float]]:
    return {s: (b.csf, b.gm, b.wm) for s, b in brightness.items()}


def _order(brightness: Mapping[MRSequence, Brightness]) -> list[tuple[int, ...]]:
    """Which tissue is darkest, and so on, per sequence, and whether white matter is clearly the brighter one on T1."""
    t1n = brightness[MRSequence.T1N]
    ranks = [tuple(int(i) for i in np.argsort(values)) for values in _tissue(brightness).values()]
    return [*ranks, (int(t1n.wm > 1.08 * t1n.gm),)]


def _like(rng: np.random.Generator, base: Mapping[MRSequence, Brightness]) -> dict[MRSequence, Brightness]:
    """Contrasts of a brain of the same age: the order of its tissues is that of ``base``."""
    rim = bool(rng.random() < 0.5)
    for _ in range(_TRIES):
        drawn = draw_brightness(rng, rim)
        if _order(drawn) == _order(base):
            return drawn
    return dict(base)


def _limited(tissue: Sequence[float], base: Sequence[float]) -> tuple[float, float, float]:
    """Tissue values whose differences are those of ``base`` times at most ``_STEEPEST``, apart from overall scale."""
    order = np.argsort(base)
    scale = tissue[1] / base[1]
    wanted = np.diff(np.asarray(tissue)[order], prepend=0.0) / scale
    steps = np.diff(np.asarray(base)[order], prepend=0.0)
    limited = np.cumsum(np.clip(wanted, steps / _STEEPEST, steps * _STEEPEST)) * scale
    values = np.empty(3)
    values[order] = limited
    return float(values[0]), float(values[1]), float(values[2])


def draw_styles(
    rng: np.random.Generator, count: int, faults: Faults = PAIR_FAULTS
) -> tuple[dict[MRSequence, Brightness], tuple[ScannerStyle, ...]]:
    """Styles that scans of one age group can have.

    Args:
        rng: all randomness.
        count: how many.
        faults: has the range of the exponent.

    Returns:
        The contrasts that they started from, and the styles.
    """
    base = draw_brightness(rng, rim=False)
    start = _tissue(base)
    styles = []
    for _ in range(count):
        drawn = _tissue(_like(rng, base))
        tissue = {s: _limited(drawn[s], start[s]) for s in SEQUENCES}
        gamma = {s: float(np.exp(rng.uniform(-1, 1) * np.log(faults.gamma))) for s in SEQUENCES}
        styles.append(ScannerStyle(tissue, gamma))
    return base, tuple(styles)


def _along(value: float, start: Sequence[float], end: Sequence[float]) -> float:
    """Where a brightness goes when tissue moves from ``start`` to ``end``: linear between, in proportion above."""
    order = np.argsort(start)
    before = np.concatenate([[0.0], np.asarray(start)[order]])
    after = np.concatenate([[0.0], np.asarray(end)[order]])
    if value > before[-1]:
        return float(value * after[-1] / before[-1])
    return float(np.interp(value, before, after))


def restyled(own: Brightness, tissue: Sequence[float]) -> Brightness:
    """A brain's contrast in one sequence, moved to where a style has its tissues."""
    start = (own.csf, own.gm, own.wm)
    csf, gm, wm = tissue
    parts = {label: _along(value, start, tissue) for label, value in own.parts.items()}
    return Brightness(csf, gm, wm, parts, _along(own.vessels, start, tissue), _along(own.spots, start, tissue))


def _resolution(image: Field, fields: FieldMaker, faults: Faults, axis: int) -> Field:
    """Residual misalignment, slice thickness and sharpness: what no change of intensities can mend."""
    spacing = fields.spacing_mm
    image = ndimage.shift(image, fields.rng.normal(0, faults.shift_mm / 2, 3) / spacing, order=1, output=np.float32)
    if fields.chance(faults.thick_probability):
        thickness = fields.uniform(min(3.0, faults.thick_mm), faults.thick_mm)
        if thickness > spacing * 1.2:
            image = thicken(image, thickness / spacing, axis)
    return blur(image, fields.uniform(0, 1.3), spacing)


def _images(
    anatomy: Anatomy, brightness: Mapping[MRSequence, Brightness], style: ScannerStyle, seed: list[int], faults: Faults
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """One anatomy in one style, and its tissues; equal seeds give equal texture and resolution, whatever the style."""
    fields = FieldMaker(np.random.default_rng(np.random.SeedSequence(seed)), _BLOCK, _SPACING_MM)
    axis = int(fields.rng.choice(3, p=[0.15, 0.15, 0.7]))
    own = np.exp(fields.rng.normal(0, _BIOLOGY, (len(SEQUENCES), 3)))
    tissue = own * np.array([style.tissue[s] for s in SEQUENCES])
    given = {s: restyled(brightness[s], values) for s, values in zip(SEQUENCES, tissue.tolist(), strict=True)}
    ideal = render(anatomy, fields, given)
    gamma = np.array([style.gamma[s] for s in SEQUENCES], np.float32)
    images = np.stack([_resolution(ideal[s], fields, faults, axis) for s in SEQUENCES])
    curved = np.maximum(images, 0) ** gamma[:, None, None, None]
    return curved, (tissue ** gamma[:, None]).astype(np.float32)


def styled_cases(
    seed: int, index: int, anatomies: int = 2, styles: int = 2, kind: str | None = None, faults: Faults = PAIR_FAULTS
) -> tuple[StyledCase, ...]:
    """The ``index``-th group of a reproducible series: each of several anatomies in each of several styles.

    Args:
        seed: of the whole series.
        index: which group; groups do not depend on one another.
        anatomies: how many.
        styles: how many.
        kind: see ``tumours.plan_tumours``; None draws one for each anatomy.
        faults: upper limits.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 501, index]))
    template = load_template(2, _BLOCK, _START)
    base, drawn = draw_styles(rng, styles, faults)
    cases = []
    for number in range(anatomies):
        chosen = "none" if kind is None and rng.random() < 0.1 else kind
        anatomy = make_anatomy(template, rng, chosen)
        mask = brain_mask(anatomy, FieldMaker(rng, _BLOCK, _SPACING_MM))
        own = _like(rng, base)
        key = [seed, 502, index, number]
        rendered = [_images(anatomy, own, style, key, faults) for style in drawn]
        images = tuple((image * mask).astype(np.float32) for image, _ in rendered)
        labels = np.where(mask, anatomy.labels, 0).astype(np.uint8)
        cases.append(StyledCase(images, np.stack([t for _, t in rendered]), mask, labels, template.grid))
    return tuple(cases)


def scanned(
    ideal: npt.NDArray[np.float32], mask: Mask, rng: np.random.Generator, faults: Faults = PAIR_FAULTS
) -> npt.NDArray[np.float32]:
    """Ideal images (4, i, j, k) as a scanner would give them: with the coil's shading, noise and an arbitrary scale."""
    i, j, k = mask.shape
    fields = FieldMaker(rng, (i, j, k), _SPACING_MM)
    out = np.zeros_like(ideal)
    for channel, image in enumerate(ideal):
        shaded = image * np.exp(fields.smooth(fields.uniform(60, 110)) * np.float32(fields.uniform(0, faults.shading)))
        sigma = np.float32(np.quantile(image[mask], 0.95) * fields.uniform(0.004, faults.noise))
        noise = rng.standard_normal((2, *mask.shape), dtype=np.float32) * sigma
        scale = np.float32(np.exp(fields.uniform(-1, 1)))
        out[channel] = np.sqrt((shaded + noise[0]) ** 2 + noise[1] ** 2) * mask * scale
    return out


def style_pair(seed: int, index: int, kind: str | None = None, faults: Faults = PAIR_FAULTS) -> StylePair:
    """The ``index``-th exercise of a reproducible series at 2 mm; see ``styled_cases``."""
    first, second = styled_cases(seed, index, kind=kind, faults=faults)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 503, index]))
    source = scanned(first.images[0], first.mask, rng, faults)
    target = scanned(second.images[1], second.mask, rng, faults)
    return StylePair(source, target, first.images[1], first, second)
