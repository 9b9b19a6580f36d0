"""Our engine against nnU-Net's own predictor: the same random checkpoint, the same volume, the same probabilities."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.checkpoints import make_nnunet_folder
from tests.unit.models.ensemble.building import blob_images, case_of, group, write_bundle
from torch import nn

from hope.domain.progress import silent
from hope.models.ensemble import engine, members
from hope.models.ensemble.combine import Combined, ProbabilityAccumulator
from hope.models.ensemble.engine import EnsembleRunner
from hope.models.ensemble.spec import Average, Group, Method, Preprocessing, Tiling
from hope.models.execution import CompiledNetwork, Precision

for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(name, str(Path(__file__).parent))
os.environ.setdefault("nnUNet_def_n_proc", "1")

LARGEST_DIFFERENCE = 1e-3
SAME_NETWORK = 1e-6
"""With the network run by torch on both sides the engine itself adds nothing on average."""
ONE_STEP = 5e-4
"""Sums are rounded to half precision; torch's last digits vary from run to run, so a few fall on the other side."""
LEAST_DICE = 0.9999


@dataclass(frozen=True)
class Setting:
    shape: tuple[int, int, int] = (26, 23, 21)
    case_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of x, y, z."""
    plans_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of the network's axes."""
    patch: tuple[int, int, int] = (16, 16, 16)
    transpose: tuple[int, int, int] = (0, 1, 2)
    folds: int = 1
    mirroring: bool = True
    brightness: float = 1.0
    plans: dict[str, Any] = field(default_factory=dict)


SETTINGS = {
    "one-fold-mirrored": Setting(),
    "one-fold-plain": Setting(mirroring=False),
    "five-folds-mirrored": Setting(folds=5, shape=(20, 19, 17)),
    "five-folds-plain": Setting(folds=5, mirroring=False),
    "resampled": Setting(plans_mm=(1.3, 0.9, 1.1), mirroring=False),
    "resampled-five-folds-mirrored": Setting(plans_mm=(1.3, 1.2, 1.1), folds=5),
    "flat-voxels": Setting(case_mm=(1.0, 1.0, 4.0), shape=(26, 23, 9), patch=(8, 16, 16), mirroring=False),
    "flat-voxels-refined": Setting(case_mm=(1.0, 1.0, 4.0), shape=(24, 22, 9), plans_mm=(1.5, 1.1, 1.2), folds=2),
    "flat-plans": Setting(plans_mm=(4.0, 1.1, 0.9), patch=(8, 16, 16), mirroring=False),
    "smaller-than-a-patch": Setting(shape=(26, 13, 9)),
    "smaller-resampled-transposed": Setting(
        shape=(26, 13, 9), transpose=(2, 0, 1), plans_mm=(1.2, 1.0, 0.8), patch=(8, 16, 24), mirroring=False
    ),
    "transposed": Setting(transpose=(1, 2, 0), folds=2),
    "without-mask": Setting(plans={"use_mask_for_norm": [False, True, False, True]}),
    "other-normalisations": Setting(
        plans={
            "normalization_schemes": [
                "CTNormalization",
                "NoNormalization",
                "RescaleTo01Normalization",
                "ZScoreNormalization",
            ],
            "use_mask_for_norm": [False, False, False, True],
        },
        mirroring=False,
        brightness=0.01,
    ),
}


def group_of(folder: Path, setting: Setting) -> tuple[Group, dict[str, Any]]:
    """What an importer makes of the folder, by hand: the group and its members' published weights."""
    plans = json.loads((folder / "plans.json").read_text())
    plan = plans["configurations"]["3d_fullres"]
    one = group(
        "nnunet",
        setting.folds,
        architecture="nnunet",
        arguments={
            "class_name": plan["architecture"]["network_class_name"],
            "kwargs": plan["architecture"]["arch_kwargs"],
            "channels": 4,
            "classes": 5,
        },
        preprocessing=Preprocessing(
            Method.NNUNET,
            transpose=setting.transpose,
            spacing_mm=tuple(plan["spacing"]),
            schemes=tuple(plan["normalization_schemes"]),
            nonzero_only=tuple(plan["use_mask_for_norm"]),
            intensities=plans["foreground_intensity_properties_per_channel"],
        ),
        tiling=Tiling(setting.patch, mirror_axes=(0, 1, 2)),
        fold_mean=Average.LOGITS,
    )
    checkpoints = [
        torch.load(folder / f"fold_{n}" / "checkpoint_final.pth", weights_only=False) for n in range(setting.folds)
    ]
    return one, {file: c["network_weights"] for file, c in zip(one.members, checkpoints, strict=True)}


def theirs(folder: Path, setting: Setting, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probabilities (5, x, y, z) of nnU-Net's own predictor."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(use_mirroring=setting.mirroring, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), tuple(range(setting.folds)))
    _, probability = predictor.predict_single_npy_array(
        np.ascontiguousarray(images.transpose(0, 3, 2, 1)),
        {"spacing": list(reversed(setting.case_mm))},
        save_or_return_probabilities=True,
    )
    return np.asarray(probability).transpose(0, 3, 2, 1)


@pytest.fixture
def full_probability(monkeypatch: pytest.MonkeyPatch) -> list[npt.NDArray[np.float32]]:
    """The engine's probabilities with background, before they are rounded to half precision for the result."""
    seen: list[npt.NDArray[np.float32]] = []

    class Watched(ProbabilityAccumulator):
        def finish(self, weight: float) -> Combined:
            seen.append((self._probability / weight).numpy())
            return super().finish(weight)

    monkeypatch.setattr(engine, "ProbabilityAccumulator", Watched)
    return seen


def as_torch(
    network: nn.Module, channels: int, patch: Sequence[int], device: torch.device, precision: Precision, *more: Any
) -> CompiledNetwork:
    """The network as nnU-Net itself runs it, so that any difference is the engine's own."""
    assert channels == 4 and len(patch) == 3
    return CompiledNetwork(network.eval(), device, precision, "torch")


def compare(setting: Setting, folder: Path, whole: list[npt.NDArray[np.float32]], exact: bool) -> float:
    """Largest difference of the probabilities, after asserting the labels."""
    published = make_nnunet_folder(
        folder / "published",
        tuple(range(setting.folds)),
        patch=setting.patch,
        spacing=setting.plans_mm,
        transpose=setting.transpose,
    )
    plans = json.loads((published / "plans.json").read_text())
    plans["configurations"]["3d_fullres"].update(setting.plans)
    (published / "plans.json").write_text(json.dumps(plans))
    images = blob_images(setting.shape) * np.float32(setting.brightness)
    expected = theirs(published, setting, images)
    wanted = expected.argmax(axis=0)
    counts = np.bincount(wanted.ravel(), minlength=5)
    assert (counts > 0).sum() >= 3, "an answer of one class would prove little"

    one, states = group_of(published, setting)
    bundle = write_bundle(folder / "ours", [one], states)
    runner = EnsembleRunner(bundle, "cpu", "fp32", setting.mirroring)
    labels = runner.predict(case_of(images, setting.case_mm), silent).labels.data
    dice = [
        2 * np.count_nonzero((wanted == c) & (labels == c)) / (counts[c] + np.count_nonzero(labels == c))
        for c in range(5)
        if counts[c]
    ]
    assert min(dice) >= LEAST_DICE
    difference = np.abs(whole[-1] - expected)
    assert difference.mean() < SAME_NETWORK or not exact
    return float(difference.max())


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_probabilities_equal_those_of_nnunet(
    setting: Setting,
    tmp_path: Path,
    full_probability: list[npt.NDArray[np.float32]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(members, "compile_network", as_torch)
    assert compare(setting, tmp_path, full_probability, exact=True) <= ONE_STEP


def test_the_shipped_way_of_running_networks_keeps_them_equal(
    tmp_path: Path, full_probability: list[npt.NDArray[np.float32]]
) -> None:
    assert compare(Setting(folds=2), tmp_path, full_probability, exact=False) <= LARGEST_DIFFERENCE
