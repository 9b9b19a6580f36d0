"""Runs one bundle on one case: resample to the model's grid, normalise, slide, bring the answer back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from torch import Tensor

from hope.domain.box import box_of
from hope.domain.case import HarmonizedCase, MRSequence, Prediction
from hope.domain.errors import BundleError, StageError
from hope.domain.expected_quality import ExpectedQuality
from hope.domain.labels import CC, ED, ET, NET, PEDS, REGIONS
from hope.domain.progress import Progress
from hope.domain.qc import QCFlag
from hope.domain.volume import Volume
from hope.models.bundle import WEIGHTS, Bundle
from hope.models.devices import choose_device as choose_device
from hope.models.missing import MeasuredDice, missing_flags
from hope.models.model_grid import from_model_grid, to_model_grid
from hope.models.networks import build_network
from hope.models.networks.mean import MeanOfUNets
from hope.models.networks.unet import UNet
from hope.models.normalise import NORMALISATION, zscore_inside
from hope.models.out_of_distribution import OutOfDistributionScore, measurements
from hope.models.quality_signs import quality_signs
from hope.models.sliding_window import sliding_window
from hope.models.tensor_files import load_tensors

OVERLAP = 0.5
"""Share of a tile that neighbours share, where the brain does not fit into one."""

MIRROR_AXES = (0,)
"""Left-right: each tile is seen mirrored too."""

_MARGIN_VOXELS = 4
_CLASSES = {"ET": (ET,), "NET": (NET,), "CC": (CC,), "ED": (ED,), "TC": REGIONS["TC"], "WT": REGIONS["WT"]}


class BundleRunner:
    """Runs a bundle in this process.

    Args:
        bundle: facts of the model; its files are checked and its weights loaded here, once.
        device: auto, cpu, cuda or mps.

    Raises:
        BundleError: if its files are damaged or do not fit.
        InputError: if a GPU is asked for and there is none.
    """

    def __init__(self, bundle: Bundle, device: str = "auto") -> None:
        self.bundle = bundle
        self._device = choose_device(device)
        self.network = self._load()
        self._out_of_distribution = OutOfDistributionScore.read(bundle.folder)
        self._measured = MeasuredDice.from_manifest(bundle.manifest)

    @property
    def device(self) -> str:
        """Where the network runs."""
        return str(self._device)

    def describe(self) -> Mapping[str, object]:
        """Nothing that the bundle does not say."""
        return {}

    def _load(self) -> torch.nn.Module:
        if self.bundle.normalisation != NORMALISATION:
            raise BundleError(f"model {self.bundle.id} wants the unknown normalisation {self.bundle.normalisation!r}")
        self.bundle.verify()
        network = build_network(self.bundle.architecture, self.bundle.arguments)
        channels = len(self.bundle.sequences)
        try:
            network.load_state_dict(load_tensors(self.bundle.folder / WEIGHTS))
            classes = _count_classes(network, channels, self.bundle.patch)
        except (RuntimeError, ValueError, SafetensorError) as error:
            first = str(error).strip().splitlines()[-1].strip()
            raise BundleError(f"the weights of model {self.bundle.id} do not fit its architecture: {first}") from error
        if classes != len(PEDS.labels) + 1:
            raise BundleError(f"model {self.bundle.id} tells {classes} classes apart, expected {len(PEDS.labels) + 1}")
        return network.to(self._device).eval()

    def predict(self, case: HarmonizedCase, progress: Progress) -> Prediction:
        """Label the case on its atlas grid.

        Args:
            case: images on one grid, in any orientation.
            progress: called for every tile.

        Raises:
            InputError: if a sequence is missing that the model cannot do without.
            StageError: if the brain mask is empty, or the GPU's memory does not suffice.
        """
        missing = self.bundle.missing(case.images.keys())
        mask = case.aligned.brain_mask.reoriented("RAS")
        if not mask.data.any():
            raise StageError("the brain mask is empty, so there is nothing to segment")
        box = box_of(np.asarray(mask.data, dtype=bool), _MARGIN_VOXELS)
        images = [
            case.images[s].reoriented("RAS").data[box]
            if s in case.images
            else np.zeros(mask.data[box].shape, np.float32)
            for s in self.bundle.sequences
        ]
        inside = np.ascontiguousarray(mask.data[box], dtype=np.float32)
        spacing = mask.grid.spacing_mm
        small = to_model_grid(
            np.stack([*(image * inside for image in images), inside]), spacing, self.bundle.spacing_mm
        )
        x = zscore_inside(small[:-1], small[-1] > 0.5)
        try:
            probability = sliding_window(
                self.network,
                torch.from_numpy(x).to(self._device),
                self.bundle.patch,
                OVERLAP,
                lambda done, total: progress(f"segment: tile {done} of {total}", done / total),
                mirror_axes=MIRROR_AXES,
            ).cpu()
        except torch.OutOfMemoryError as error:
            raise StageError("the GPU's memory does not suffice for this model; use --device cpu") from error
        shape = (inside.shape[0], inside.shape[1], inside.shape[2])
        fine = from_model_grid(probability, shape, spacing, self.bundle.spacing_mm)
        if MRSequence.T1C in missing:
            fine[NET] += fine[ET]
            fine[ET] = 0
        found = self._measure_input(x, small[-1] > 0.5, missing)
        unusual = self._out_of_distribution.flag(found) if self._out_of_distribution and found else None
        flags = (*missing_flags(missing, self._measured), *([unusual] if unusual else []))
        prediction = self._prediction(case, fine, inside > 0.5, box, missing, flags)
        expected, remarks = self._expected(probability.numpy(), found, missing)
        return replace(prediction, expected_quality=expected, flags=(*flags, *remarks))

    def _measure_input(
        self, x: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_], missing: tuple[MRSequence, ...]
    ) -> Mapping[str, float]:
        """What the bundle compares with its training; empty if it cannot tell an unusual one."""
        if self._out_of_distribution is None or not inside.any():
            return {}
        present = [s for s in self.bundle.sequences if s not in missing]
        return measurements(x, inside, self.bundle.spacing_mm, present, self.bundle.sequences)

    def _expected(
        self, probability: npt.NDArray[np.float32], found: Mapping[str, float], missing: tuple[MRSequence, ...]
    ) -> tuple[ExpectedQuality | None, tuple[QCFlag, ...]]:
        """How good the answer is expected to be, if the bundle can tell, and what else its signs say."""
        rule = self.bundle.quality
        if rule is None:
            return None, ()
        distance = self._out_of_distribution.distance(found) if self._out_of_distribution and found else None
        signs = quality_signs(probability, self.bundle.spacing_mm, missing, distance)
        expected = rule.expect(signs)
        return expected, rule.flags(signs, expected)

    def _prediction(
        self,
        case: HarmonizedCase,
        probability: Tensor,
        inside: npt.NDArray[np.bool_],
        box: tuple[slice, slice, slice],
        missing: tuple[MRSequence, ...],
        flags: tuple[QCFlag, ...],
    ) -> Prediction:
        """Put the cropped answer back on the atlas grid in its own file order."""
        grid = case.aligned.grid
        within = torch.from_numpy(inside)

        def whole(cropped: Tensor, dtype: torch.dtype) -> npt.NDArray[Any]:
            part = (cropped * within).to(dtype).numpy()
            out = np.zeros(grid.shape, dtype=part.dtype)
            # Written through a view that lists the same voxels along the axes of the network.
            Volume(out, grid).reoriented("RAS").data[box] = part
            return out

        return Prediction(
            labels=Volume(whole(_likeliest(probability), torch.uint8), grid),
            region_probability={
                # Added one by one: `sum` over the classes takes ten times as long.
                name: whole(reduce(torch.add, [probability[value] for value in values]), torch.float16)
                for name, values in _CLASSES.items()
            },
            model_id=self.bundle.id,
            model_sha256=self.bundle.sha256,
            missing=missing,
            flags=flags,
            intervals=self.bundle.intervals,
            cleanup=self.bundle.cleanup,
        )


def _count_classes(network: torch.nn.Module, channels: int, patch: tuple[int, int, int]) -> int:
    """How many classes a network tells apart on a tile that has to fit it; ours say so without a run.

    Raises:
        RuntimeError, ValueError: if the tile does not fit.
    """
    if isinstance(network, UNet | MeanOfUNets):
        return network.classes_on(channels, patch)
    with torch.inference_mode():
        return int(network(torch.zeros(1, channels, *patch)).shape[1])


def _likeliest(probability: Tensor) -> Tensor:
    """Index (uint8, i, j, k) of the largest of (class, i, j, k), the first of equals; `argmax` takes far longer."""
    best = probability[0].clone()
    labels = torch.zeros(best.shape, dtype=torch.uint8)
    for index in range(1, len(probability)):
        labels.masked_fill_(probability[index] > best, index)
        torch.maximum(best, probability[index], out=best)
    return labels
