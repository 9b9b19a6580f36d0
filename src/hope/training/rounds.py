"""Part of a training run from given weights: what a site of a federated training does in one round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hope.domain.errors import InputError
from hope.models.bundle import Bundle
from hope.training.config import TrainingConfig
from hope.training.export import export_bundle
from hope.training.hold_out import mean_dice, predictions_of
from hope.training.loop import TrainingState, learning_rate, loss_of_step, new_state, unet_weights
from hope.training.pool import CasePool
from hope.training.steps import Loop, run_loop
from hope.training.stored import Sample

Arrays = Mapping[str, npt.NDArray[np.float32]]


def config_of_bundle(bundle: Bundle, steps: int, rate: float, seed: int, scheme: str = "peds") -> TrainingConfig:
    """The settings that a bundle was trained with, for going on with labelled cases alone.

    Args:
        bundle: made by ``hope train``.
        steps: of the whole training.
        rate: peak of the learning rate.
        seed: of patches and augmentation.
        scheme: label scheme of the cases.

    Raises:
        InputError: if the bundle does not hold such settings.
    """
    try:
        config = TrainingConfig.from_json(bundle.manifest["training"]["config"])
    except (LookupError, TypeError, ValueError):
        config = None
    if config is None or bundle.architecture != "UNet" or dict(bundle.arguments) != config.network_arguments():
        raise InputError(
            f"training cannot start from the model {bundle.id}",
            expected="a bundle of one network that `hope train` made",
            got="a bundle without the settings of such a run",
        )
    synthetic = bundle.licence == "Apache-2.0" and bundle.manifest["training"].get("only_synthetic") is True
    return replace(
        config,
        steps=steps,
        learning_rate=rate,
        seed=seed,
        scheme=scheme,
        real_share=1.0,
        transplant_share=0.0,
        tumour_free_share=0.0,
        real_copies=0,
        first_cases=0,
        new_cases_per_step=0.0,
        held_out=0,
        calibration_cases=0,
        base=f"{bundle.id} {bundle.sha256}",
        base_synthetic=synthetic,
    )


def weights_of(bundle: Bundle) -> dict[str, npt.NDArray[np.float32]]:
    """The weights of a bundle by name, float32.

    Raises:
        BundleError: if its files are damaged.
    """
    return {name: tensor.numpy() for name, tensor in unet_weights(bundle).items()}


def _state_of(weights: Arrays, config: TrainingConfig, step: int = 0) -> TrainingState:
    state = new_state(config)
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
    for network in (state.network, state.average):
        network.load_state_dict(tensors)
    state.step = step
    return state


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def train_steps(
    weights: Arrays, config: TrainingConfig, real: Mapping[str, Sequence[Path]], first: int, last: int, folder: Path
) -> tuple[dict[str, npt.NDArray[np.float32]], float]:
    """Take some steps of a run from given weights, with the loop of ``hope train`` and a fresh optimiser.

    Args:
        weights: to start from.
        config: of the whole run; it decides the learning rate and the patches of each step.
        real: files of cases per kind, as ``CasePool`` takes them.
        first: step after which to begin.
        last: step after which to end.
        folder: for files of the pool.

    Returns:
        the weights after the last step minus the given ones, and the mean loss. They may hold NaN.
    """
    state, device = _state_of(weights, config, first), _device()
    state.network.to(device).train()
    state.average.to(device)
    losses: list[float] = []
    with CasePool(config, folder, real) as pool:
        loop = Loop(
            steps=config.steps,
            last=last,
            look_every=config.steps,
            loss=lambda: loss_of_step(state, config, pool, device),
            rate=lambda step: learning_rate(config, step),
            clip=5.0,
            keep=config.keep,
            after_step=lambda loss: losses.append(float(loss)),
            message=lambda: "train",
            look=lambda: None,
            save=lambda: None,
        )
        run_loop(state, loop, lambda _message, _share: None)
    after = {name: tensor.detach().cpu().numpy() for name, tensor in state.network.state_dict().items()}
    return {name: after[name] - weights[name] for name in weights}, float(np.mean(losses))


def dice_of_cases(weights: Arrays, config: TrainingConfig, samples: Sequence[Sample]) -> list[dict[str, float]]:
    """Dice of WT, TC and ET of each case on the model's grid; a region that a case does not have is left out.

    Args:
        weights: of the network.
        config: of the network.
        samples: cases with their truth.
    """
    state, device = _state_of(weights, config), _device()
    state.network.to(device)
    return [mean_dice([sample], predictions_of(state.network, [sample], device)) for sample in samples]


def bundle_of_weights(
    weights: Arrays,
    config: TrainingConfig,
    folder: Path,
    model_id: str,
    federated: Mapping[str, Any],
    measured: Mapping[str, Any],
) -> Bundle:
    """Write weights that several sites trained as a bundle.

    Args:
        weights: of the network.
        config: of the training; ``real_cases`` is how many cases all sites together trained on.
        folder: made if need be.
        model_id: id of the bundle.
        federated: which sites took part, as plain JSON values; stands in the manifest.
        measured: figures to store with it.
    """
    state = _state_of(weights, config, config.steps)
    return export_bundle(state, config, folder, model_id, dict(measured), federated=federated)
