"""Runs one bundle on one case: resample to the model's grid, normalise, slide, bring the answer back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from hope.domain.case import HarmonizedCase, MRSequence, Prediction
from hope.domain.errors import BundleError, InputError, StageError
from hope.domain.labels import CC, ED, ET, NET, REGIONS
from hope.domain.progress import Progress
from hope.domain.qc import QCFlag, Severity
from hope.domain.volume import Volume
from hope.models.bundle import WEIGHTS, Bundle
from hope.models.networks import build_network
from hope.models.normalise import NORMALISATION, zscore_inside
from hope.models.sliding_window import sliding_window

_OVERLAP = 0.5
_MARGIN_VOXELS = 4
_CLASSES = {"ET": (ET,), "NET": (NET,), "CC": (CC,), "ED": (ED,), "TC": REGIONS["TC"], "WT": REGIONS["WT"]}


def choose_device(wanted: str) -> torch.device:
    """``auto`` takes a GPU where there is one.

    Raises:
        InputError: if a GPU is asked for and there is none.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA GPU can be used here", expected="--device cpu or auto", got="--device cuda")
    return torch.device(wanted)


class BundleRunner:
    """Runs a bundle in this process.

    Args:
        bundle: checked facts of the model; weights are loaded once, at the first prediction.
        device: auto, cpu or cuda.
    """

    def __init__(self, bundle: Bundle, device: str = "auto") -> None:
        self.bundle = bundle
        self._wanted_device = device
        self._network: torch.nn.Module | None = None
        self._device: torch.device | None = None

    @property
    def device(self) -> str:
        """Where the network runs, or was asked to run if it is not loaded yet."""
        return str(self._device or self._wanted_device)

    def _load(self) -> torch.nn.Module:
        if self._network is None:
            if self.bundle.normalisation != NORMALISATION:
                raise BundleError(
                    f"model {self.bundle.id} wants the unknown normalisation {self.bundle.normalisation!r}"
                )
            self.bundle.verify()
            self._device = choose_device(self._wanted_device)
            network = build_network(self.bundle.architecture, self.bundle.arguments)
            try:
                network.load_state_dict(load_file(self.bundle.folder / WEIGHTS))
            except RuntimeError as error:
                first = str(error).strip().splitlines()[-1].strip()
                raise BundleError(
                    f"the weights of model {self.bundle.id} do not fit its architecture: {first}"
                ) from error
            self._network = network.to(self._device).eval()
        return self._network

    def predict(self, case: HarmonizedCase, progress: Progress) -> Prediction:
        """Label the case on its atlas grid.

        Args:
            case: images on one grid, in any orientation.
            progress: told of every tile.

        Raises:
            InputError: if a sequence is missing that the model cannot do without.
            BundleError: if the weights are damaged or do not fit.
            StageError: if the brain mask is empty.
        """
        missing = self.bundle.missing(case.images.keys())
        network = self._load()
        mask = case.aligned.brain_mask.reoriented("RAS")
        if not mask.data.any():
            raise StageError("the brain mask is empty, so there is nothing to segment")
        box = _box_around(np.asarray(mask.data, dtype=bool))
        images = [
            case.images[s].reoriented("RAS").data[box]
            if s in case.images
            else np.zeros(mask.data[box].shape, np.float32)
            for s in self.bundle.sequences
        ]
        inside = np.ascontiguousarray(mask.data[box], dtype=np.float32)
        spacing = mask.grid.spacing_mm
        x = self._to_model_grid(np.stack(images), inside, spacing)
        device = self._device or torch.device("cpu")
        probability = sliding_window(
            network,
            torch.from_numpy(x).to(device),
            self.bundle.patch,
            _OVERLAP,
            lambda done, total: progress(f"segment: tile {done} of {total}", done / total),
            mirror_axes=(0,),
        )
        fine = F.interpolate(probability[None], size=inside.shape, mode="trilinear", align_corners=False)[0].cpu()
        if MRSequence.T1C in missing:
            fine[NET] += fine[ET]
            fine[ET] = 0
        flags = tuple(_missing_flag(s) for s in missing)
        return self._prediction(case, fine, inside > 0.5, box, missing, flags)

    def _to_model_grid(
        self, images: npt.NDArray[np.float32], inside: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]
    ) -> npt.NDArray[np.float32]:
        """Images on the network's grid, normalised inside the brain."""
        factor = [s / self.bundle.spacing_mm for s in spacing_mm]
        size = [max(1, round(n * f)) for n, f in zip(inside.shape, factor, strict=True)]
        both = torch.from_numpy(np.concatenate([images * inside, inside[None]]))[None]
        # Averaging when shrinking, so that no voxel of the scan is skipped.
        mode = "area" if min(factor) < 0.9 else "trilinear"
        small = F.interpolate(both, size=size, mode=mode)[0].numpy()
        return zscore_inside(small[:-1], small[-1] > 0.5)

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
        ras = grid.reoriented("RAS")
        labels = np.zeros(ras.shape, dtype=np.uint8)
        labels[box] = probability.argmax(dim=0).to(torch.uint8).numpy() * inside
        regions = {}
        for name, values in _CLASSES.items():
            whole = np.zeros(ras.shape, dtype=np.float16)
            whole[box] = probability[list(values)].sum(dim=0).numpy() * inside
            regions[name] = np.ascontiguousarray(Volume(whole, ras).reoriented(grid.orientation).data)
        in_file_order = Volume(labels, ras).reoriented(grid.orientation)
        return Prediction(
            labels=Volume(np.ascontiguousarray(in_file_order.data), grid),
            region_probability=regions,
            model_id=self.bundle.id,
            model_sha256=self.bundle.sha256,
            missing=missing,
            flags=flags,
        )


def _box_around(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """Bounding box with a margin."""
    box = []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        low = max(int(used[0]) - _MARGIN_VOXELS, 0)
        box.append(slice(low, min(int(used[-1]) + 1 + _MARGIN_VOXELS, mask.shape[axis])))
    return box[0], box[1], box[2]


def _missing_flag(sequence: MRSequence) -> QCFlag:
    effect = {
        MRSequence.T1N: "blood and calcium may be taken for enhancement",
        MRSequence.T1C: "enhancing tumour (ET) cannot be told and is counted as NET",
        MRSequence.T2W: "cysts are told less reliably",
        MRSequence.T2F: "oedema is told less reliably",
    }[sequence]
    return QCFlag(
        "missing_sequence",
        Severity.WARNING,
        f"{sequence} was not given: {effect}; the result is less reliable",
        sequence,
    )
