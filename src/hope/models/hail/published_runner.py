"""Harmonisation by the published design, for who holds its weights: slices drawn anew, native T1 alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor

from hope.domain.box import bounding_box
from hope.domain.case import AlignedCase, MRSequence
from hope.domain.errors import BundleError, InputError
from hope.domain.progress import Progress, silent
from hope.domain.style import PERCENTILES, SequenceStyle, Style
from hope.domain.volume import Volume
from hope.models.bundle import WEIGHTS, Bundle
from hope.models.devices import choose_device
from hope.models.hail.released import ETA, SLICE, THETA, PublishedHail
from hope.models.hail.runner import Healthy, whole_brain
from hope.models.tensor_files import load_tensors

ARCHITECTURE = "hail-published"
NORMALISATION = "p99"
_MULTIPLE = 16
_STYLE_SLICES = 20
_AT_ONCE = 4
"""Slices that are drawn together: more would take gigabytes and no less time."""


class PublishedHarmonizer:
    """A ``ports.Harmonizer`` for bundles of an imported ``harmonization.pt``.

    The image is cut to the brain and padded with zeros to slices of 224x224, or the next multiple of 16 above a larger
    brain, and put back where it was, so that any grid will do and keeps its size.

    Args:
        bundle: its files are checked and its weights loaded here, once.
        device: auto, cpu, cuda or mps.
        healthy: where a style's percentiles are measured.

    Raises:
        BundleError: if the bundle is no harmonizer of this kind, or damaged.
        InputError: if a GPU is asked for and there is none.
    """

    method = "hail"
    _sequence = MRSequence.T1N

    def __init__(self, bundle: Bundle, device: str = "auto", healthy: Healthy = whole_brain) -> None:
        if bundle.architecture != ARCHITECTURE or bundle.normalisation != NORMALISATION:
            raise BundleError(f"model {bundle.id} is no published harmonizer ({bundle.architecture})")
        self.bundle, self._healthy = bundle, healthy
        self._device = choose_device(device)
        bundle.verify()
        network = PublishedHail()
        try:
            network.load_state_dict(load_tensors(bundle.folder / WEIGHTS))
        except (RuntimeError, ValueError, SafetensorError) as error:
            raise BundleError(f"the weights of model {bundle.id} do not fit its architecture") from error
        self._network = network.to(self._device).eval()

    def describe(self) -> Mapping[str, object]:
        """Bundle and device, for result.json."""
        facts = {"id": self.bundle.id, "version": self.bundle.version, "sha256": self.bundle.sha256}
        return {"method": self.method, **facts, "device": str(self._device)}

    def learn(self, case: AlignedCase) -> Style:
        """Mean theta and eta of the slices in the middle of the brain; see ``ports.Harmonizer``."""
        block, top, _ = self._block(case)
        middle = block.shape[0] // 2
        first = max(0, middle - _STYLE_SLICES // 2)
        rows, columns = ((n - SLICE) // 2 for n in block.shape[1:])
        some = block[first : first + _STYLE_SLICES, rows : rows + SLICE, columns : columns + SLICE]
        with torch.inference_mode():
            code = self._network.style(some[:, None].to(self._device)).cpu()
        values = np.asarray(case.images[self._sequence].data)[self._healthy(case)]
        *levels, unit = (float(x) for x in np.percentile(values, [*PERCENTILES, 50.0]))
        if unit <= 0 or levels[-1] <= levels[0]:
            raise InputError("no style can be learnt from the case", expected="a t1n with positive intensities")
        entry = SequenceStyle(
            PERCENTILES, tuple(x / unit for x in levels), (*(float(x) for x in code), float(top) / unit), unit
        )
        return Style(case.case_id, {self._sequence: entry}, self.bundle.sha256, "learnt from one case")

    def apply(self, case: AlignedCase, style: Style, progress: Progress = silent) -> Mapping[MRSequence, Volume]:
        """Draw the native T1 in the style; see ``ports.Harmonizer``. Other sequences are not changed."""
        entry = style.sequences.get(self._sequence)
        if style.network_sha256 != self.bundle.sha256 or entry is None or len(entry.code) != THETA + ETA + 1:
            raise InputError(
                f"the style {style.name} was not learnt with the harmonizer {self.bundle.id}",
                fix="name a case with --target, or learn a style with --learn-style",
            )
        if self._sequence not in case.images:
            return {}
        block, _, place = self._block(case)
        code = torch.tensor(entry.code[:-1], device=self._device)
        drawn = torch.zeros_like(block)
        with torch.inference_mode():
            for first in range(0, len(block), _AT_ONCE):
                progress(f"harmonize: slice {first + 1} of {len(block)}", first / len(block))
                some = block[first : first + _AT_ONCE, None].to(self._device)
                drawn[first : first + _AT_ONCE] = self._network(some, code).cpu()
        ras = case.images[self._sequence].reoriented("RAS")
        whole = np.zeros(ras.grid.shape, np.float32)
        box, inner = place
        whole[box] = drawn[inner].permute(1, 2, 0).numpy() * np.float32(entry.code[-1] * entry.unit)
        whole[np.asarray(ras.data) == 0] = 0
        back = Volume(whole, ras.grid).reoriented(case.grid.orientation).data
        return {self._sequence: Volume(np.ascontiguousarray(back, dtype=np.float32), case.grid)}

    def _block(self, case: AlignedCase) -> tuple[Tensor, float, tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """Axial slices (k, i, j) of the brain from 0 to 1, padded; their unit; and where they belong."""
        if self._sequence not in case.images:
            raise InputError("this harmonizer needs the native T1", expected="t1n", got="a case without it")
        image = np.asarray(case.images[self._sequence].reoriented("RAS").data, np.float32)
        brain = np.asarray(case.brain_mask.reoriented("RAS").data, dtype=bool)
        box = bounding_box(brain)
        if box is None:
            raise InputError("the brain mask is empty, so there is nothing to harmonize")
        data = np.where(brain[box], image[box], 0)
        top = float(np.percentile(data[brain[box]], 99))
        if top <= 0:
            raise InputError("the native T1 holds nothing to harmonize", expected="positive intensities in the brain")
        slices = torch.from_numpy(np.clip(data / top, 0, 1).astype(np.float32)).permute(2, 0, 1)
        padding, inner = [], [slice(None)]
        for n in slices.shape[1:]:
            size = max(SLICE, -(-n // _MULTIPLE) * _MULTIPLE)
            before = (size - n) // 2
            padding.append((before, size - n - before))
            inner.append(slice(before, before + n))
        return F.pad(slices, [*padding[1], *padding[0]]), top, (box, tuple(inner))
