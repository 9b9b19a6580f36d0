"""Make a bundle of checkpoints from ``train_on_gpu.py``, so that training goes on from it on a CPU, or it is used.

.venv/bin/python tools/gpu_training/to_bundle.py OUT/best.safetensors -o BUNDLE --id from-gpu

Several checkpoints are averaged; ``--weights 0.3 0.7`` says in which shares. docs/how-to/train-on-a-gpu.md says more.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hope.domain.errors import HopeError, InputError
from hope.models.bundle import Bundle, write_manifest
from hope.models.networks import build_network
from hope.models.registry import check_id
from hope.training.config import TrainingConfig, hash_of_ids
from hope.training.export import export_bundle
from hope.training.loop import TrainingState

FACTS = "hope"
"""Where a checkpoint's header keeps what the run says of itself."""


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights as float32, and the run's facts; none for the weights file of a bundle.

    Raises:
        InputError: if the file is no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as content:
            facts = json.loads((content.metadata() or {}).get(FACTS, "{}"))
            return {name: content.get_tensor(name).float() for name in content.keys()}, facts  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{path.name} cannot be read", expected="a checkpoint of train_on_gpu.py") from error


def averaged(weights: Sequence[Mapping[str, Tensor]], shares: Sequence[float]) -> dict[str, Tensor]:
    """The mean of several networks' weights by ``shares``, which need not add up to 1."""
    total = sum(shares)
    return {name: sum(w[name] * (s / total) for w, s in zip(weights, shares, strict=True)) for name in weights[0]}  # type: ignore[misc]


def config_of(facts: Mapping[str, Any]) -> TrainingConfig:
    """What ``hope train`` would say of such a run."""
    network, settings = facts["network"], facts["settings"]
    return TrainingConfig(
        steps=int(facts["step"]),
        learning_rate=float(settings["rate"]),
        seed=int(settings["seed"]),
        patch=tuple(settings["crop"]),
        widths=tuple(network["widths"]),
        blocks=tuple(network["blocks"]),
        decoder_blocks=tuple(network["decoder_blocks"]),
        first_cases=int(facts["synthetic_cases"]),
        new_cases_per_step=0.0,
        calibration_cases=0,
        recipe="gpu",
        real_cases=len(facts["real_cases"]),
        real_sha256=hash_of_ids(facts["real_cases"]),
        base=facts["base"],
        base_synthetic=bool(facts["base_synthetic"]),
    )


def make_bundle(checkpoints: Sequence[Path], shares: Sequence[float], folder: Path, model_id: str) -> Bundle:
    """Write the averaged weights of checkpoints as a bundle; the last one's facts become the bundle's.

    Args:
        checkpoints: files of one network; all but the last may be the weights file of a bundle.
        shares: of each in the mean.
        folder: made if need be; existing bundle files are replaced.
        model_id: the bundle's id.

    Raises:
        InputError: if a file is no checkpoint, or of another network.
    """
    check_id(model_id)
    if len(shares) != len(checkpoints) or min(shares) < 0 or sum(shares) <= 0:
        raise InputError(
            "the shares do not fit", expected=f"{len(checkpoints)} numbers from 0", got=" ".join(map(str, shares))
        )
    read = [read_checkpoint(path) for path in checkpoints]
    facts = read[-1][1]
    if not facts:
        raise InputError(f"{checkpoints[-1].name} does not say how it was trained", fix="name the checkpoint last")
    config = config_of(facts)
    network = build_network("UNet", config.network_arguments())
    try:
        network.load_state_dict(averaged([weights for weights, _ in read], shares))
    except (KeyError, RuntimeError) as error:
        raise InputError("the checkpoints are of different networks") from error
    optimiser = torch.optim.AdamW(network.parameters())
    state = TrainingState(network, network, optimiser, int(facts["step"]), float(facts["seconds"]))
    bundle = export_bundle(state, config, folder, model_id)
    # A source whose terms ask to be named stays with the weights.
    training = {**bundle.manifest["training"], "sources": sorted({*facts["sources"], *facts["base_sources"]})}
    training["held_out_dice"] = facts["held_out_dice"]
    kept = {name: value for name, value in bundle.manifest.items() if name != "files"}
    return write_manifest(folder, {**kept, "training": training})


def main() -> int:
    """Make the bundle that the command line describes; 2 after an error of the input."""
    parser = argparse.ArgumentParser(description="Make a bundle of checkpoints from train_on_gpu.py.")
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument("--id", dest="model_id", default="from-gpu", help="id of the bundle")
    parser.add_argument("--weights", type=float, nargs="+", help="shares in the mean of several checkpoints")
    chosen = parser.parse_args()
    try:
        shares = chosen.weights or [1.0] * len(chosen.checkpoints)
        bundle = make_bundle(chosen.checkpoints, shares, chosen.output, chosen.model_id)
    except HopeError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"bundle {bundle.id} {bundle.version}, sha256 {bundle.sha256}, in {chosen.output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
