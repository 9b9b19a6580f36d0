"""Harmonisation by our one-shot network: one look at the case at 4 mm, then bounded maps at full resolution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor

from hope.domain.box import box_of
from hope.domain.case import SEQUENCES, AlignedCase, MRSequence
from hope.domain.errors import BundleError, InputError
from hope.domain.grid import Grid
from hope.domain.progress import Progress, silent
from hope.domain.style import PERCENTILES, SequenceStyle, Style
from hope.domain.volume import Volume
from hope.models.bundle import WEIGHTS, Bundle
from hope.models.devices import choose_device
from hope.models.hail.coarse import SPACING_MM, VIEW_PERCENTILES, averaged, inside, medians, places, view
from hope.models.hail.network import KNOTS, MOST_SHADING, STEEPEST, HailNetwork, between_knots, places_on_curve
from hope.models.model_grid import from_model_grid, to_model_grid
from hope.models.networks.sane import check_arguments
from hope.models.tensor_files import load_tensors

ARCHITECTURE = "hail-maps"
NORMALISATION = "median-brain"

STRENGTHS = (1.0, 0.8, 0.6, 0.4, 0.2)
"""How much of the way to the target's contrast is tried, where the whole way would cost too much of the anatomy."""

_AT_ONCE = 2
"""Sequences that are mapped and checked at once; more would take memory that a small machine lacks."""

Mask = npt.NDArray[np.bool_]
Healthy = Callable[[AlignedCase], Mask]
Guard = Callable[[AlignedCase, Style], Callable[[MRSequence, Volume], bool]]
"""For a case and a style, whether one of its images, harmonized, still shows the case's anatomy."""


def whole_brain(case: AlignedCase) -> Mask:
    """Where a style's percentiles are measured unless somebody knows better: the brain."""
    return np.asarray(case.brain_mask.data, dtype=bool)


@dataclass(frozen=True)
class _View:
    """A case as the network sees it.

    Attributes:
        view, percentiles: batches of one.
        code: the style, (1, 4, code + percentiles).
        scale: median of the brain per channel, 0 where missing.
        box: where the brain lies on the RAS grid.
    """

    view: Tensor
    percentiles: Tensor
    code: Tensor
    scale: npt.NDArray[np.float64]
    box: tuple[slice, slice, slice]


class HailHarmonizer:
    """A ``ports.Harmonizer`` that runs a bundle of our own network.

    Args:
        bundle: its files are checked and its weights loaded here, once.
        device: auto, cpu, cuda or mps.
        healthy: where a style's percentiles are measured, for readers and checks; the network looks at the whole brain.
        guard: asked of every image; where it says no, less of the change of contrast is tried. None asks nobody.

    Raises:
        BundleError: if the bundle is no harmonizer of this kind, or damaged.
        InputError: if a GPU is asked for and there is none.
    """

    method = "hail"

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        healthy: Healthy = whole_brain,
        guard: Guard | None = None,
    ) -> None:
        if bundle.architecture != ARCHITECTURE or bundle.normalisation != NORMALISATION:
            raise BundleError(f"model {bundle.id} is no harmonizer of this kind ({bundle.architecture})")
        self.bundle, self._healthy, self._guard = bundle, healthy, guard
        self._device = choose_device(device)
        self._network = self._load()

    def _load(self) -> HailNetwork:
        self.bundle.verify()
        try:
            check_arguments("HailNetwork", self.bundle.arguments)
            network = HailNetwork(**self.bundle.arguments)
            network.load_state_dict(load_tensors(self.bundle.folder / WEIGHTS))
        except (RuntimeError, TypeError, ValueError, SafetensorError) as error:
            first = str(error).strip().splitlines()[-1].strip()
            raise BundleError(f"the weights of model {self.bundle.id} do not fit its architecture: {first}") from error
        return network.to(self._device).eval()

    def describe(self) -> Mapping[str, object]:
        """Bundle and bounds, for result.json."""
        return {
            "method": self.method,
            "id": self.bundle.id,
            "version": self.bundle.version,
            "sha256": self.bundle.sha256,
            "device": str(self._device),
            "slopes": [1 / STEEPEST, STEEPEST],
            "most_shading": MOST_SHADING,
        }

    def learn(self, case: AlignedCase) -> Style:
        """Codes and percentiles of one case; see ``ports.Harmonizer``."""
        look = self._look(case)
        healthy = self._healthy(case)
        sequences = {}
        for index, sequence in enumerate(SEQUENCES):
            if look.scale[index] <= 0:
                continue
            values = np.asarray(case.images[sequence].data)[healthy]
            *levels, unit = (float(x) for x in np.percentile(values, [*PERCENTILES, 50.0]))
            if unit <= 0 or levels[-1] <= levels[0]:
                continue
            # The last number ties the code's unit, the median of the whole brain at 4 mm, to that of the percentiles.
            code = (*(float(x) for x in look.code[0, index]), float(look.scale[index]) / unit)
            sequences[sequence] = SequenceStyle(PERCENTILES, tuple(x / unit for x in levels), code, unit)
        if not sequences:
            raise InputError(
                "no style can be learnt from the case",
                expected="a brain with positive intensities and some contrast",
                fix="give images that were not normalised to zero mean",
            )
        return Style(case.case_id, sequences, self.bundle.sha256, "learnt from one case")

    def apply(self, case: AlignedCase, style: Style, progress: Progress = silent) -> Mapping[MRSequence, Volume]:
        """Bring every sequence that case and style share to the style; see ``ports.Harmonizer``."""
        target = self._target(style)
        progress("harmonize: look at the case", 0.0)
        with ThreadPoolExecutor(_AT_ONCE, "hope-harmonize") as pool:
            guard = pool.submit(self._guard, case, style) if self._guard else None
            look = self._look(case)
            with torch.inference_mode():
                curve, shading = self._network(look.view, look.code, target)
            shape = tuple(s.stop - s.start for s in look.box)
            spacing = case.grid.reoriented("RAS").spacing_mm
            field = from_model_grid(shading[0].float().cpu(), (shape[0], shape[1], shape[2]), spacing, SPACING_MM)
            keeps = guard.result() if guard else None

            def mapped(index: int, sequence: MRSequence) -> Volume:
                entry = style.sequences[sequence]
                even = _Even.of(case.images[sequence], np.exp(-field[index].numpy()), look.box, look.scale[index])
                unit = np.float32(entry.code[-1] * entry.unit)
                for strength in STRENGTHS:
                    image = even.through(_weaker(curve[0, index].cpu(), strength), unit)
                    if keeps is None or keeps(sequence, image):
                        break
                return image

            running = [
                (index, sequence, pool.submit(mapped, index, sequence))
                for index, sequence in enumerate(SEQUENCES)
                if look.scale[index] > 0 and sequence in style.sequences and bool(target[0, index].any())
            ]
            done: dict[MRSequence, Volume] = {}
            try:
                for index, sequence, one in running:
                    progress(f"harmonize: map {sequence}", 0.2 + 0.2 * index)
                    done[sequence] = one.result()
            finally:
                for *_, one in running:
                    one.cancel()
        return done

    def _look(self, case: AlignedCase) -> _View:
        mask = case.brain_mask.reoriented("RAS")
        brain = np.asarray(mask.data, dtype=bool)
        if not brain.any():
            raise InputError("the brain mask is empty, so there is nothing to harmonize")
        box = box_of(brain)
        share = brain[box].astype(np.float32)
        images = [
            np.maximum(np.asarray(case.images[s].reoriented("RAS").data, np.float32)[box], 0) * share
            if s in case.images
            else np.zeros_like(share)
            for s in SEQUENCES
        ]
        small = to_model_grid(np.stack([*images, share]), mask.grid.spacing_mm, SPACING_MM)
        fraction = small[-1]
        if not inside(fraction).any():
            raise InputError("the brain is too small to be harmonized", expected="some voxels of 4 mm")
        coarse = averaged(small[:-1], fraction)
        scale = medians(coarse, fraction)
        channels, percentiles = view(coarse, fraction, scale, places(fraction))
        padding = [p for n in reversed(fraction.shape) for p in (0, -n % 8)]
        seen = F.pad(torch.from_numpy(channels), padding)[None].to(self._device)
        rungs = torch.from_numpy(percentiles)[None].to(self._device)
        with torch.inference_mode():
            code = self._network.code(seen, rungs)
        return _View(seen, rungs, code, scale, box)

    def _target(self, style: Style) -> Tensor:
        """The style's codes as the network wants them; 0 for a sequence that the style does not know."""
        if style.network_sha256 != self.bundle.sha256:
            raise InputError(
                f"the style {style.name} was not learnt with the harmonizer {self.bundle.id}",
                expected=f"codes of network {self.bundle.sha256[:12]}",
                got=style.network_sha256[:12] or "no codes",
                fix="name a case with --target, or learn a style with --learn-style",
            )
        size = self._network.encoder.code + len(VIEW_PERCENTILES)
        target = torch.zeros(1, len(SEQUENCES), size, device=self._device)
        for index, sequence in enumerate(SEQUENCES):
            if sequence in style.sequences:
                code = style.sequences[sequence].code
                if len(code) != size + 1:
                    raise InputError(
                        f"the style's code of {sequence} does not fit",
                        expected=f"{size + 1} numbers",
                        got=str(len(code)),
                    )
                target[0, index] = torch.tensor(code[:-1])
        return target


@dataclass(frozen=True)
class _Even:
    """An image without shading, in units of its median, in the box outside of which it is 0.

    Attributes:
        grid: of the image, to whose order `through` goes back.
        box: part of the grid in RAS order.
        data: voxels in the box.
        positive: where they are above 0.
        place, share: where those lie between the knots of any curve.
    """

    grid: Grid
    box: tuple[slice, slice, slice]
    data: npt.NDArray[np.float32]
    positive: Mask
    place: Tensor
    share: Tensor

    @classmethod
    def of(
        cls,
        volume: Volume,
        gain: npt.NDArray[np.float32],
        known: tuple[slice, slice, slice],
        scale: np.float64,
    ) -> _Even:
        """Divide the shading out: ``gain`` is known in a box, and goes on unchanged beyond its sides."""
        image = np.asarray(volume.reoriented("RAS").data, np.float32)
        there = image != 0
        box = box_of(there) if there.any() else known
        nearest = [
            np.clip(np.arange(b.start, b.stop) - k.start, 0, k.stop - k.start - 1)
            for b, k in zip(box, known, strict=True)
        ]
        data = image[box] * gain[np.ix_(*nearest)]
        data /= np.float32(scale)
        positive = data > 0
        place, share = places_on_curve(torch.from_numpy(data[positive])[None, None])
        return cls(volume.grid, box, data, positive, place, share)

    def through(self, curve: Tensor, unit: np.float32) -> Volume:
        """The image through a curve (knots); below 0 it is only scaled."""
        mapped = self.data * unit
        mapped[self.positive] = between_knots(curve[None, None], self.place, self.share)[0, 0].numpy() * unit
        upright = self.grid.reoriented("RAS")
        whole = np.zeros(upright.shape, np.float32)
        whole[self.box] = mapped
        data = Volume(whole, upright).reoriented(self.grid.orientation).data
        return Volume(np.ascontiguousarray(data, dtype=np.float32), self.grid)


def _weaker(curve: Tensor, strength: float) -> Tensor:
    """The curve with its slopes drawn toward one slope for all, which leaves contrast as it is; 1 changes nothing."""
    if strength == 1.0:
        return curve
    knots = torch.tensor(KNOTS, dtype=curve.dtype)
    slopes = curve.diff() / knots.diff()
    one = float(curve[KNOTS.index(1.0)])
    weaker = one * (slopes / one) ** strength
    steps = weaker * knots.diff()
    return F.pad(steps.cumsum(-1), (1, 0))
